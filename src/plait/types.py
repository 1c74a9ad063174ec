"""The types that carry everything: what encoders, fusion and outputs hand to each other.

This module imports nothing of plait, and torch only for its type annotations, so that
``plait --help`` starts without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

State = dict[str, Any]
"""What a modality or an output learned from its column: plain JSON (a vocabulary, means...)."""

ColumnName: TypeAlias = str | list[str]
"""A column of the user's table, or several that are read as one input."""
Overlap: TypeAlias = Literal["stop", "drop", "keep"]
"""What happens where a photo or group is in two splits, see `split_rows`."""


def column_names(column: ColumnName) -> list[str]:
    """One name or several, as a list."""
    return [column] if isinstance(column, str) else column


def column_text(column: ColumnName) -> str:
    """How people are shown it: ``speed``, or ``throttle, speed``."""
    return ", ".join(column_names(column))


class PlaitError(Exception):
    """A mistake that the user can fix: what happened, what was expected, how to fix it.

    The command line prints it as one line and exits with 1; no traceback.
    """

    def __init__(self, what: str, *, expected: str = "", hint: str = "") -> None:
        self.what, self.expected, self.hint = what, expected, hint
        parts = [what]
        if expected:
            parts.append(f"expected {expected}")
        if hint:
            parts.append(hint)
        super().__init__("; ".join(parts))


class BadCell(PlaitError):
    """A cell of a table that cannot be used (a truncated photo, an empty caption).

    Tables meet it with the policy ``on_bad``: ``stop``, ``skip`` or ``missing``.
    """


class UnseenLabel(BadCell):
    """A right answer that no training row has, so that the model can't give it.

    A record to learn from has a bad cell then. One to be scored stays, and whatever the model
    answers is wrong: to leave it out would flatter the score.

    Attributes:
        target: what stands for it among the targets.
    """

    def __init__(self, what: str, *, target: Any, expected: str = "", hint: str = "") -> None:
        super().__init__(what, expected=expected, hint=hint)
        self.target = target


class UsageError(PlaitError):
    """A wrong command line or recipe: the command exits with 2."""


@dataclass(frozen=True)
class Tokens:
    """What every encoder returns: a sequence of vectors for each record.

    Attributes:
        values: (B, T, D) float.
        mask: (B, T) bool, True where there is a token. **A missing input is a row whose mask
            is all False**; there is no other convention.
    """

    values: Tensor
    mask: Tensor

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or self.mask.shape != self.values.shape[:2]:
            raise ValueError(
                f"Tokens want values (B, T, D) and mask (B, T), "
                f"got {tuple(self.values.shape)} and {tuple(self.mask.shape)}"
            )

    @property
    def present(self) -> Tensor:
        """(B,) bool: which records have this input at all."""
        return self.mask.any(dim=1)


@dataclass(frozen=True)
class Fused:
    """What every output gets.

    Attributes:
        pooled: (B, D) one vector a record.
        tokens: all tokens that the output may attend to, (B, T, D) with their mask.
        parts: the tokens of each input by its name, each projected to width D.
        branches: what each branch of a late or hybrid fusion made of its inputs; empty where the
            fusion has none.
        weights: (B, branches) float, how much each branch's answer counts; a record's sum to 1.
    """

    pooled: Tensor
    tokens: Tokens
    parts: Mapping[str, Tokens]
    branches: Mapping[str, Fused] = field(default_factory=dict)
    weights: Tensor | None = None


@dataclass(frozen=True)
class Branches:
    """The branches of a fusion, each of which answers alone.

    Attributes:
        names: of the branches; an input's branch has the input's name.
        branch_loss_weight: weight of each branch's own loss.
        detached: each branch learns from its own loss only; the combination learns from the
            branches' answers without changing the branches.
        stacked: the combination has a weight for every number of every branch's answer.
    """

    names: tuple[str, ...]
    branch_loss_weight: float
    detached: bool
    stacked: bool


@dataclass(frozen=True)
class Alternative:
    """Another answer that the model considered, with its score (mean log-probability)."""

    value: Any
    score: float


@dataclass(frozen=True)
class Prediction:
    """One record's answer for one output.

    Attributes:
        value: the answer (for text: the sentence).
        score: its mean log-probability a step by the input alone, in nats (text); its probability
            (category); the geometric mean of the probabilities of its yeses and noes (labels);
            minus its interval's width, 0 where there is none (number).
        alternatives: other answers, best first; the answer itself is not among them.
        words: the steps of the answer, for outputs that are made step by step.
        moments: for each of ``words`` the first token of the input that says it and the one behind
            the last, for texts that go along with their input in time.
        attention: for each input, (words, tokens) float: where each step looked.
        detected: the words that the inputs call for, those that stand out most first, with how
            probable each is; for models that detect words.
        shares: for models with several inputs, each input's share of the answer.
        details: what else the output says of its answer, in a dataclass of its own: `Probabilities`
            (category, labels), `Interval` (number), `TextDetails` (text).
    """

    value: Any
    score: float
    alternatives: tuple[Alternative, ...] = ()
    words: tuple[str, ...] = ()
    moments: tuple[tuple[int, int], ...] = ()
    attention: Mapping[str, np.ndarray] = field(default_factory=dict)
    detected: Mapping[str, float] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)
    details: Any = None


@dataclass(frozen=True)
class Geometry:
    """How an item as it was read and augmented lies over its original.

    A point of the original is at ``scale * point + shift`` of the item, axis by axis: x and y in
    pixels for pictures, seconds for sounds, clips and series. A mirrored axis has a negative scale.

    Attributes:
        scale: one factor an axis.
        shift: one offset an axis, in the item's units.
        size: the item's extent an axis; a target outside of it is not in view.
    """

    scale: tuple[float, ...]
    shift: tuple[float, ...]
    size: tuple[float, ...]
