"""The shared types: what encoders, fusion and outputs pass to each other, and the errors.

This module imports nothing else of plait, and torch only for type annotations, so that
``plait --help`` starts without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

State = dict[str, Any]
"""What a modality or an output has fitted to its column: plain JSON (a vocabulary, means...)."""

ColumnName: TypeAlias = str | list[str]
"""A column of the table, or several that are read as one input."""
Storage: TypeAlias = Literal["float32", "float16", "int8"]
"""The type in which a package stores weights."""
Overlap: TypeAlias = Literal["stop", "drop", "keep"]
"""What to do if a photo or group is in two splits, see `split_rows`."""


def column_names(column: ColumnName) -> list[str]:
    """One name or several, as a list."""
    return [column] if isinstance(column, str) else column


def column_text(column: ColumnName) -> str:
    """As messages show it: ``speed``, or ``throttle, speed``."""
    return ", ".join(column_names(column))


class PlaitError(Exception):
    """An error that the user can fix. The command line prints it as one line and exits with 1.

    Args:
        what: what happened.
        expected: what was expected instead.
        hint: what to do about it.

    The arguments are kept as attributes of the same names.

    Examples:
        >>> str(plait.PlaitError("the file is empty", expected="a table", hint="save it again"))
        'the file is empty; expected a table; save it again'
    """

    def __init__(self, what: str, *, expected: str = "", hint: str = "") -> None:
        self.what, self.expected, self.hint = what, expected, hint
        parts = [what, expected and f"expected {expected}", hint]
        super().__init__("; ".join(filter(None, parts)))


class BadCell(PlaitError):
    """A cell of a table that can't be used: a truncated photo, an empty caption.

    For tables the policy ``on_bad`` says what happens then: ``stop``, ``skip`` or ``missing``.

    Args:
        what: what happened; like ``expected`` and ``hint`` as of `PlaitError`.

    Examples:
        >>> try:
        ...     plait.load("captioner").predict("gone.jpg")
        ... except plait.BadCell as error:
        ...     print(error.what)
        gone.jpg is missing
    """


class EmptyTarget(BadCell):
    """A record has no right answer: it is neither learned from nor scored, and counted."""


class UnseenLabel(BadCell):
    """A target that occurs in no training row, so that the model can't predict it.

    In training it is a bad cell. In evaluation the record stays and counts as wrong: leaving it
    out would flatter the score.

    Attributes:
        target: the value that stands for it among the targets.
    """

    def __init__(self, what: str, *, target: Any, expected: str = "", hint: str = "") -> None:
        super().__init__(what, expected=expected, hint=hint)
        self.target = target


class UsageError(PlaitError):
    """A wrong argument, option or recipe. The command line exits with 2.

    Args:
        what: what happened; like ``expected`` and ``hint`` as of `PlaitError`.

    Examples:
        >>> try:
        ...     plait.load("captoiner")
        ... except plait.UsageError as error:
        ...     print(error.what)
        there is no model 'captoiner'
    """


@dataclass(frozen=True)
class Tags:
    """Words that an input gives to the outputs: the names of what is seen in a photo, a text's own.

    The words are `Modality.tag_names` of the input, numbered from 0.
    """

    ids: Tensor  # (B, K) int64, into the input's tag names
    weights: Tensor  # (B, K) float, 0 to 1, how sure the input is; 0 where there is no tag

    def expand(self, count: int) -> Tags:
        """Those of a single record for ``count`` records."""
        return Tags(self.ids.expand(count, -1), self.weights.expand(count, -1))


@dataclass(frozen=True)
class Tokens:
    """What every encoder returns: a sequence of vectors for each record.

    **A missing input is a row whose mask is all False**; nothing else marks it.
    """

    values: Tensor  # (B, T, D) float
    mask: Tensor  # (B, T) bool, True where there is a token
    tags: Tags | None = None  # of an input that has `Modality.tag_names`
    loss: Tensor | None = None  # in training: a scalar that the encoder adds to the loss

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or self.mask.shape != self.values.shape[:2]:
            raise ValueError(
                f"tokens need values (B, T, D) and a mask (B, T), "
                f"got {tuple(self.values.shape)} and {tuple(self.mask.shape)}"
            )

    @property
    def present(self) -> Tensor:
        """(B,) bool: the records that have this input."""
        return self.mask.any(dim=1)


@dataclass(frozen=True)
class Fused:
    """What fusion passes to every output."""

    pooled: Tensor  # (B, D) float, one vector per record
    tokens: Tokens  # (B, T, D), all that the output may attend to
    parts: Mapping[str, Tokens]  # each input's tokens by its name, projected to width D
    # The result of each branch of a late or hybrid fusion; empty for other fusions.
    branches: Mapping[str, Fused] = field(default_factory=dict)
    # (B, branches) float, the weight of each branch's answer; they sum to 1 per record.
    weights: Tensor | None = None
    # Each input as its encoder prepared it: (B, L, ...), and (B,) how much of each row is real. For
    # whole models, which do their own encoding.
    prepared: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class Branches:
    """The branches of a fusion, each of which answers alone."""

    names: tuple[str, ...]  # an input's branch has the input's name
    branch_loss_weight: float  # weight of each branch's own loss
    # Each branch learns from its own loss only; the combination learns from the branches' answers
    # without changing the branches.
    detached: bool
    stacked: bool  # the combination has a weight for every number of every branch's answer


@dataclass(frozen=True)
class Alternative:
    """Another answer that the model considered, its score and its details (see `Prediction`)."""

    value: Any
    score: float
    details: Any = None


@dataclass(frozen=True)
class Prediction:
    """A model's answer for one output of one record.

    Attributes:
        value: the answer (for text, the sentence).
        score: text: mean log-probability per step given the inputs, in nats. Category: the
            probability. Labels: the geometric mean of the probabilities of each yes and no.
            Number: minus the width of the interval, or 0 without one.
        alternatives: other answers, best first, without ``value`` itself.
        shares: input -> its share of the answer, a float, where shares were asked for; their sum
            is the support with all inputs minus the support with none.
        details: what else the output reports, in a dataclass of its own: for a category or labels
            ``probabilities``, each of the classes -> its probability, the likeliest first; for a
            number ``interval``, (low, high); for text ``words``, W of them, and ``attention``,
            input -> (W, T) how much each word looked at each of the input's T tokens.

    Examples:
        >>> request = "what is in the photo?"
        >>> plait.load("intents").predict({"words": request, "letters": request}).value
        'caption'
    """

    value: Any
    score: float
    alternatives: tuple[Alternative, ...] = ()
    shares: Mapping[str, float] = field(default_factory=dict)
    details: Any = None


@dataclass(frozen=True)
class Geometry:
    """How an item that was read and augmented lies over the original.

    A point of the original is at ``scale * point + shift`` in the item, axis by axis: x and y in
    pixels for images, seconds for audio, video and series. A mirrored axis has a negative scale.
    """

    scale: tuple[float, ...]  # one factor per axis
    shift: tuple[float, ...]  # one offset per axis, in the item's units
    size: tuple[float, ...]  # the item's size along each axis; a target outside is not in view
