"""What a comparison finds: the result of each run, a line for each variant, and the findings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plait.comparison.statistics import Difference
from plait.outputs.base import Output
from plait.types import Prediction

LOOKS = "looks at "
"""Before an input's name, in a finding about whether the model uses that input at all."""


@dataclass(frozen=True)
class Result:
    """The result of a run: of a model, or of the classical baseline."""

    rows: list[int] = field(default_factory=list)  # numbers of the answered records, from 1
    predictions: dict[str, list[Prediction]] = field(default_factory=dict)  # by output
    references: dict[str, list[Any]] = field(default_factory=dict)  # what they are scored against
    learned: int = 0  # how many records it learned from
    parameters: int = 0  # how many weights it has
    trained: int = 0  # how many of them learned
    seconds: float = 0.0  # of training, without media and frozen encoders, which are cached
    milliseconds: float | None = None  # median of one answer from files
    memory: float = 0.0  # MiB, the peak of the process
    failed: str = ""  # why there is no result
    # By input, the predictions with another record's; for several inputs.
    swapped: dict[str, dict[str, list[Prediction]]] = field(default_factory=dict)

    def to_json(self, outputs: Mapping[str, Output]) -> dict[str, Any]:
        """As plain JSON, with what scores need of the outputs' predictions."""
        return _converted(vars(self), {name: output.store for name, output in outputs.items()})

    @classmethod
    def from_json(cls, raw: Mapping[str, Any], outputs: Mapping[str, Output]) -> Result:
        """From `to_json`."""
        return cls(**_converted(raw, {name: output.restore for name, output in outputs.items()}))


def _converted(result: Mapping[str, Any], by: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    """A result's fields, every prediction converted by its output's function."""

    def convert(predictions: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        return {name: list(map(by[name], each)) for name, each in predictions.items()}

    # Results of an earlier plait have no swapped ones.
    swapped = {name: convert(found) for name, found in result.get("swapped", {}).items()}
    return {**result, "predictions": convert(result["predictions"]), "swapped": swapped}


@dataclass(frozen=True)
class Line:
    """One variant of a comparison: its name, role and what it is about as in `Variant`, its scores,
    and what its runs cost."""

    name: str
    role: str
    about: str
    seeds: list[int]  # whose runs are finished
    records: int = 0  # how many it answered of those that all variants with every input answered
    score: float | None = None  # mean of the compared score over the seeds; None without any run
    interval: tuple[float, float] | None = None  # 95 %, of that mean, over records and seeds
    each: dict[int, float] = field(default_factory=dict)  # seed -> score
    scores: dict[str, float] = field(default_factory=dict)  # of all scores, the means over seeds
    behind: Difference | None = None  # the score minus the winner's; None for the winner
    learned: int = 0  # records learned from; mean over the seeds
    parameters: int = 0  # how many weights it has
    trained: int = 0  # how many of them learn
    seconds: float = 0.0  # of training, with cached features; mean over the seeds
    milliseconds: float | None = None  # of one answer from files; mean
    memory: float = 0.0  # MiB, the peak over the seeds
    failed: str = ""  # why there is no score


@dataclass(frozen=True)
class Finding:
    """An answer to one of the comparison's questions, which is about ``fusion``, ``classical``,
    ``rows``, an input whose worth is in question, or an input behind `LOOKS`."""

    about: str
    first: str  # the variant with it
    second: str  # the variant without it, or with another record's
    difference: Difference  # the first's score minus the second's


@dataclass(frozen=True)
class Comparison:
    """What `plait.compare` returns: the scores of every variant, and what they say.

    Attributes:
        output: whose answers are scored.
        metric: the score.
        title: its name for people.
        split: the rows that were answered.
        lines: one per variant: the winner, the others by their difference from it.
        winner: name of the best variant among those that answered the most records.
        findings: what fusion, each input and more rows are worth.
        others: the recipe's other outputs, whose answers are not scored.
        test: the same winner and findings on the test rows, if asked for.
        unfinished: runs that the budget left no time for.
        left_out: variants that were asked for but not tried, and why.
        folder: where everything is written.
        kept: of the package that is kept, if any: how many records its memory holds, as "training"
            and "validation".
    """

    output: str
    metric: str
    title: str
    split: str
    lines: list[Line]
    winner: str
    findings: list[Finding]
    others: list[str]
    test: Comparison | None
    unfinished: list[str]
    left_out: list[str]
    folder: Path
    kept: Mapping[str, int] | None = None

    def line(self, name: str) -> Line:
        """The line of the variant with this name."""
        return next(line for line in self.lines if line.name == name)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            **vars(self),
            "lines": [_json(line) for line in self.lines],
            "findings": [_json(finding) for finding in self.findings],
            "test": None if self.test is None else self.test.to_json(),
            "folder": str(self.folder),
        }


def _json(value: Line | Finding) -> dict[str, Any]:
    return {
        name: vars(item) | {"real": item.real} if isinstance(item, Difference) else item
        for name, item in vars(value).items()
    }
