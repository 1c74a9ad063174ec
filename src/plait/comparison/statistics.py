"""Which differences are real: the paired bootstrap over records and seeds.

In each resample the records are drawn anew, the same for all that is compared, and so are the
seeds, of each variant apart. So an interval holds what comes from these records rather than
others and what comes from the draw of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plait.bootstrap import Scorer, interval, resamples

RESAMPLES = 2000  # so that p can be small enough for some dozens of differences
LEVEL = 0.05  # a difference is real where its adjusted p is below


@dataclass(frozen=True)
class Scored:
    """One run's answers: the records' numbers (N,), and what scores any choice of the N."""

    records: Sequence[int]
    score: Scorer


@dataclass(frozen=True)
class Difference:
    """How much better one variant is than another, on the records that both answered.

    Attributes:
        mean: of the seeds' scores, the one less the other.
        interval: its 95 % bootstrap percentile interval.
        p: two-sided, how often a resample has the difference on the other side of 0, doubled.
        records: how many both answered.
        adjusted: p after Holm's correction (1979) for all the differences that are told together.
    """

    mean: float
    interval: tuple[float, float]
    p: float
    records: int
    adjusted: float = 1.0

    @property
    def real(self) -> bool:
        """Whether noise of records and seeds would hardly explain it."""
        return self.adjusted < LEVEL


class PairedBootstrap:
    """One set of resamples for all variants, so that differences are paired."""

    def __init__(self, runs: Mapping[str, Sequence[Scored]], metric: str, seed: int = 0) -> None:
        """``runs``: a variant's name -> its runs, one a seed; ``metric``: one of their scores."""
        self.runs, self.metric, self.seed = runs, metric, seed
        every = sorted({number for each in runs.values() for run in each for number in run.records})
        self.place = {number: at for at, number in enumerate(every)}
        self.places = {name: [self._places(run) for run in each] for name, each in runs.items()}
        self.known: dict[tuple[str, bytes], NDArray[np.float64]] = {}

    def _places(self, run: Scored) -> NDArray[np.int64]:
        """(all records,) where in the run each is; -1 where it was not answered."""
        found = np.full(len(self.place), -1)
        found[[self.place[number] for number in run.records]] = np.arange(len(run.records))
        return found

    def _there(self, name: str) -> NDArray[np.bool_]:
        """Records that all of a variant's runs answered."""
        return np.all([places >= 0 for places in self.places[name]], axis=0)

    def mean(self, name: str) -> tuple[float, tuple[float, float]]:
        """A variant's mean score over its seeds, and its 95 % interval."""
        there = self._there(name)
        return self._point(name, there), interval(self._drawn(name, there))

    def difference(self, name: str, other: str) -> Difference | None:
        """A variant's mean less another's; None where they have no two records in common, or one
        has no run at all."""
        if name not in self.runs or other not in self.runs:
            return None
        both = self._there(name) & self._there(other)
        if both.sum() < 2:
            return None
        drawn = self._drawn(name, both) - self._drawn(other, both)
        other_side = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
        p = min(1.0, 2 * (other_side + 1) / (len(drawn) + 1))
        mean = self._point(name, both) - self._point(other, both)
        return Difference(mean, interval(drawn), p, int(both.sum()))

    def _point(self, name: str, kept: NDArray[np.bool_]) -> float:
        runs = zip(self.runs[name], self.places[name], strict=True)
        return float(np.mean([run.score(places[kept])[self.metric] for run, places in runs]))

    def _drawn(self, name: str, kept: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(resamples,) a variant's mean score of the records that are kept, in each resample."""
        key = name, kept.tobytes()
        if key not in self.known:
            self.known[key] = self._draw(name, kept)
        return self.known[key]

    def _draw(self, name: str, kept: NDArray[np.bool_]) -> NDArray[np.float64]:
        runs, chosen = self.runs[name], np.flatnonzero(kept)
        # The name decides the draw of seeds: two variants' draws have nothing to do with another.
        rng = np.random.default_rng([self.seed, *name.encode()])
        found = np.empty(RESAMPLES)
        for at, rows in enumerate(resamples(len(chosen), RESAMPLES, self.seed)):
            seeds, counts = np.unique(rng.integers(len(runs), size=len(runs)), return_counts=True)
            scores = [runs[s].score(self.places[name][s][chosen[rows]])[self.metric] for s in seeds]
            found[at] = np.average(scores, weights=counts)
        return found


def adjust(differences: Sequence[Difference]) -> list[Difference]:
    """With Holm's correction for all of them: the chance that any is called real by accident is
    at most `LEVEL` (Holm, 1979, Scandinavian Journal of Statistics 6)."""
    order = sorted(range(len(differences)), key=lambda at: differences[at].p)
    found, highest = list(differences), 0.0
    for rank, at in enumerate(order):
        one = differences[at]
        highest = max(highest, min(1.0, one.p * (len(order) - rank)))
        found[at] = Difference(one.mean, one.interval, one.p, one.records, highest)
    return found
