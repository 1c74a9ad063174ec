"""What a comparison found: its lines, its findings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plait.comparison.statistics import Difference

LOOKS = "looks at "
"""Before an input's name: whether a model loses by another record's."""


@dataclass(frozen=True)
class Line:
    """One variant of a comparison.

    Attributes:
        name: of the variant.
        role: see `Variant`; ``classical`` for the baseline.
        about: the input that is alone or left out, the number of training rows; else empty.
        seeds: the seeds whose runs are finished.
        records: how many were answered, of those that all with every input answered.
        score: mean over the seeds of the score that is compared; None where no run is finished.
        interval: its 95 % bootstrap interval over records and seeds.
        each: seed -> score.
        scores: mean over the seeds of all scores.
        behind: how far it is behind the best; None for the best itself.
        learned: how many training records it learned from; the mean over the seeds.
        parameters: all; trained: those that learn.
        seconds: of training, cached features given; the mean over the seeds.
        milliseconds: of one answer from files; the mean over the seeds; None for the baseline.
        memory: MiB, the most that a run took.
        failed: why it has no score; empty where it has one.
    """

    name: str
    role: str
    about: str
    seeds: list[int]
    records: int = 0
    score: float | None = None
    interval: tuple[float, float] | None = None
    each: dict[int, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    behind: Difference | None = None
    learned: int = 0
    parameters: int = 0
    trained: int = 0
    seconds: float = 0.0
    milliseconds: float | None = None
    memory: float = 0.0
    failed: str = ""


@dataclass(frozen=True)
class Finding:
    """A question that the comparison answers.

    Attributes:
        about: ``fusion``, ``classical``, ``rows``, the input whose worth is asked, or one behind
            `LOOKS`.
        first: the variant with it; second: the one without, or with another record's.
        difference: the first's score less the second's.
    """

    about: str
    first: str
    second: str
    difference: Difference


@dataclass(frozen=True)
class Comparison:
    """What was found.

    Attributes:
        output: whose answers are scored; metric: the score; title: what people call it.
        split: the rows that it is of.
        lines: a variant each, the best first, the others by their distance to it.
        winner: the best one's name, of those that answered the most records.
        findings: what fusion, each input and more rows are worth.
        others: the recipe's other outputs, whose answers are not looked at.
        test: the same winner and the same findings on the test rows; None where that was not
            asked for.
        unfinished: runs that the budget had no time for.
        left_out: variants that were asked for and not tried, and why.
        folder: where everything lies.
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

    def line(self, name: str) -> Line:
        """The variant of that name."""
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
