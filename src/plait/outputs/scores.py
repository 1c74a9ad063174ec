"""How answers are scored, and the bootstrap percentile intervals of scores over records (Efron,
1979)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from plait.types import PlaitError

COVERAGE = 95.0  # per cent
RESAMPLES = 1000
Floats: TypeAlias = NDArray[np.float64]
Intervals: TypeAlias = dict[str, tuple[float, float]]
Scorer: TypeAlias = Callable[[NDArray[np.int64]], dict[str, float]]
"""Numbers of records (n,), some of them several times -> their scores by name."""


def resamples(size: int, count: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """``count`` times as many record numbers (size,) as there are, drawn with replacement.

    One seed draws the same records whatever is scored, so that scores stay comparable.
    """
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield rng.integers(size, size=size)


def interval(values: Sequence[float] | Floats) -> tuple[float, float]:
    """The 95 % percentile interval of a score's values over the resamples."""
    outside = (100.0 - COVERAGE) / 2
    low, high = np.percentile(values, [outside, 100.0 - outside])
    return float(low), float(high)


def with_intervals(score: Scorer, size: int, seed: int = 0) -> tuple[dict[str, float], Intervals]:
    """Scores of all records, and the 95 % interval of each over 1,000 resamples.

    An interval always holds its score. Drawing records moves some scores, such as macro F1 where
    many classes have a record or two, which then are often not drawn.
    """
    points = score(np.arange(size))
    drawn = [score(rows) for rows in resamples(size, RESAMPLES, seed)]
    intervals = {}
    for name, point in points.items():
        low, high = interval([scores[name] for scores in drawn])
        finite = math.isfinite(point)
        intervals[name] = (min(low, point), max(high, point)) if finite else (low, high)
    return points, intervals


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

    def __getitem__(self, name: str) -> float:
        """A score by its name."""
        return self.points[name]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: the number of records, every score and extra by name, and ``intervals``."""
        intervals = {name: list(ends) for name, ends in self.intervals.items()}
        return {self.counted: self.records, **self.points, **self.extras, "intervals": intervals}


class Metrics(ABC):
    """Scores answers, one per record, against the right ones; an instance is a `Scorer`.

    A subclass counts what it needs of every record once, in ``__init__``. The scores of any choice
    of records follow from these counts, so that a thousand bootstrap resamples are cheap.

    Args:
        answers: one per record; what they are (predictions, texts) `Output.scorer` says.
        references: the right answers, as of `Output.reference`.

    Raises:
        PlaitError: there are no records, or not as many answers as references.
    """

    titles: ClassVar[Mapping[str, str]]
    """Every metric that people are shown -> its title, in the order to show."""
    best_metrics: ClassVar[Sequence[str]]
    """What early stopping maximises, and what progress shows. The first decides; the next ones
    break ties. The first is 1 for perfect answers and about 0 for answers that know nothing, so
    that outputs of different kinds can be weighed against each other."""
    lowest: ClassVar[float] = -math.inf
    highest: ClassVar[float] = 1.0
    """No value of the first of the best metrics is lower, or higher."""
    set_metrics: ClassVar[Collection[str]] = ()
    """Metrics that compare records with each other, and are undefined for a single one."""
    ranked_as: ClassVar[str] = ""
    """What the answers are called on the page of the best and the worst (``captions``); empty for
    those that have no such page."""

    def __init__(self, answers: Sequence[Any], references: Sequence[Any]) -> None:
        if len(answers) != len(references) or not answers:
            raise PlaitError(
                f"{len(answers)} answers for {len(references)} records",
                expected="one answer for each record, and at least one record",
            )
        self.answers, self.references = answers, references

    @abstractmethod
    def __call__(self, rows: NDArray[np.int64]) -> dict[str, float]:
        """The scores of these records (n,), some of which may appear several times; the
        `best_metrics` are among them."""

    def extras(self) -> dict[str, Any]:
        """What else is known of all records, see `Scores.extras`."""
        return {}

    def scores(self, seed: int = 0, slow: bool = False) -> Scores:
        """The scores of all records, each with its interval over 1,000 resamples; with ``slow``
        also those that take another program, which a subclass may have."""
        points, intervals = with_intervals(self, len(self.answers), seed)
        return Scores(len(self.answers), points, intervals, self.extras())

    def rightness(self) -> tuple[str, Floats]:
        """How right each single answer is, (N,), larger is better, and the title of that number: to
        show the best records and the worst. By default the first of the best metrics."""
        name = self.best_metrics[0]
        each = [self(np.array([row]))[name] for row in range(len(self.answers))]
        return self.titles[name], np.array(each)

    def ranked(self) -> list[int]:
        """The records' places, the best answer first; among equals in their order."""
        return np.argsort(-self.rightness()[1], kind="stable").tolist()

    def errors(self) -> list[tuple[int, str]] | None:
        """The wrong answers, the most wrong first: the record's place, and the answer beside the
        right one with its errors marked; None for metrics that don't mark errors."""
        return None
