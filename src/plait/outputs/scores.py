"""Scores of an output, and their bootstrap percentile intervals over records (Efron, 1979)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.types import PlaitError

COVERAGE = 95.0  # per cent
RESAMPLES = 1000
Intervals = dict[str, tuple[float, float]]
Scorer = Callable[[NDArray[np.int64]], dict[str, float]]
"""Numbers of records (n,), some of them several times -> their scores by name."""


def resamples(size: int, count: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """``count`` times as many record numbers (size,) as there are, drawn with replacement.

    One seed draws the same records whatever is scored, so that scores stay comparable.
    """
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield rng.integers(size, size=size)


def interval(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % percentile interval of a score's values over the resamples."""
    outside = (100.0 - COVERAGE) / 2
    low, high = np.percentile(values, [outside, 100.0 - outside])
    return float(low), float(high)


def with_intervals(score: Scorer, size: int, seed: int = 0) -> tuple[dict[str, float], Intervals]:
    """Scores of all records, and the 95 % interval of each over 1,000 resamples.

    Args:
        score: what scores any choice of the records.
        size: how many records there are.
        seed: of the resamples.
    """
    points = score(np.arange(size))
    drawn = [score(rows) for rows in resamples(size, RESAMPLES, seed)]
    return points, {n: _around(points[n], [scores[n] for scores in drawn]) for n in points}


def _around(point: float, values: Sequence[float]) -> tuple[float, float]:
    """The interval of a score's values, as far as the score itself: drawing records moves some
    scores, as macro F1 where many classes have a record or two, which then are often not drawn."""
    low, high = interval(values)
    return (min(low, point), max(high, point)) if math.isfinite(point) else (low, high)


@dataclass(frozen=True)
class Scores:
    """How good the predictions of one output are.

    Attributes:
        records: how many were scored.
        points: score by name, in the order in which they are shown.
        intervals: the 95 % interval of those that have one.
        extras: what else is known (a confusion matrix, scores of each label), as plain JSON.
        counted: what JSON calls the number of records.
    """

    records: int
    points: Mapping[str, float]
    intervals: Intervals
    extras: Mapping[str, Any] = field(default_factory=dict)
    counted: str = "records"

    @classmethod
    def of(
        cls, scorer: Scorer, records: int, extras: Mapping[str, Any] | None = None, seed: int = 0
    ) -> Scores:
        """The scores of all records, each with its interval over 1,000 resamples."""
        points, intervals = with_intervals(scorer, records, seed)
        return cls(records, points, intervals, extras or {})

    def __getitem__(self, name: str) -> float:
        """A score by its name."""
        return self.points[name]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: the number of records, every score and extra by name, and ``intervals``."""
        intervals = {name: list(ends) for name, ends in self.intervals.items()}
        return {self.counted: self.records, **self.points, **self.extras, "intervals": intervals}


def check_paired(answers: Sequence[Any], references: Sequence[Any]) -> None:
    """Raises PlaitError unless there is an answer for each record, and at least one record."""
    if len(answers) != len(references) or not answers:
        raise PlaitError(
            f"{len(answers)} answers for {len(references)} records",
            expected="one answer a record, and at least one record",
        )
