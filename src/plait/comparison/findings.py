"""The result of a comparison: a line for each variant, and the findings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plait.comparison.statistics import Difference

LOOKS = "looks at "
"""Before an input's name, in a finding about whether the model uses that input at all."""


@dataclass(frozen=True)
class Line:
    """One variant of a comparison.

    Attributes:
        name, role, about: as in `Variant`.
        seeds: the seeds whose runs are finished.
        records: how many of the records that all variants with every input answered it answered.
        score: mean of the compared score over the seeds; None where no run is finished.
        interval: the 95 % interval of that mean, over records and seeds.
        each: seed -> score.
        scores: name -> mean over the seeds, for all scores.
        behind: the score minus the winner's; None for the winner itself.
        learned: number of training records; mean over the seeds.
        parameters: number of weights; trained: of those that learn.
        seconds: of training, with cached features; mean over the seeds.
        milliseconds: of one answer from files; mean over the seeds; None for the baseline.
        memory: MiB, the peak over the seeds.
        failed: why there is no score; empty where there is one.
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
    """An answer to one of the comparison's questions.

    Attributes:
        about: ``fusion``, ``classical``, ``rows``, an input whose worth is in question, or an input
            behind `LOOKS`.
        first: the variant with it; second: the one without it, or with another record's.
        difference: the first's score minus the second's.
    """

    about: str
    first: str
    second: str
    difference: Difference


@dataclass(frozen=True)
class Comparison:
    """What `plait.compare` returns.

    Attributes:
        output: whose answers are scored; metric: the score; title: its name for people.
        split: the rows that were answered.
        lines: one for each variant, the winner first, the others by their difference from it.
        winner: name of the best variant among those that answered the most records.
        findings: what fusion, each input and more rows are worth.
        others: the recipe's other outputs, whose answers are not scored.
        test: the same winner and the same findings on the test rows; None unless asked for.
        unfinished: runs that the budget left no time for.
        left_out: variants that were asked for but not tried, and why.
        folder: where everything is written.
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
