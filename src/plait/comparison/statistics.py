"""Which differences are real: the paired bootstrap over records, and Student's t over seeds.

In each resample the records are drawn anew, the same for all that is compared. What other seeds
would give is added: the mean of S seeds with the standard deviation s lies s / √S · t from that of
all seeds, where t is Student's with S - 1 degrees of freedom (1908, Biometrika 6). A difference of
two means has both parts, with one variance pooled from all seeds of the two. To draw the few seeds
anew, as the records are, would give (S - 1) / S of their variance and no heavy tails: the bootstrap
over few clusters rejects too often (Cameron, Gelbach and Miller, 2008, Review of Economics and
Statistics 90). So an interval holds what comes from these records rather than others, and what
comes from the draw of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plait.outputs.scores import Scorer, interval, resamples

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
        interval: its 95 % interval over records and seeds.
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

    def __init__(
        self, runs: Mapping[str, Sequence[Scored]], metric: str, seedless: Collection[str] = (),
        seed: int = 0, ends: tuple[float, float] = (-math.inf, math.inf),
    ) -> None:  # fmt: skip
        """``runs``: a variant's name -> its runs, one a seed; ``metric``: one of their scores,
        between its ``ends``; ``seedless``: variants of which nothing is drawn."""
        self.runs, self.metric, self.seedless, self.seed = runs, metric, seedless, seed
        self.ends = ends
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
        """A variant's mean score over its seeds, and its 95 % interval; what seeds are drawn from
        knows no end, the scores do."""
        there = self._there(name)
        drawn = self._with_seeds(self._drawn(name, there).mean(axis=1), there, name)
        low, high = np.clip(interval(drawn), *self.ends).tolist()
        return float(self._points(name, there).mean()), (low, high)

    def difference(self, name: str, other: str) -> Difference | None:
        """A variant's mean less another's; None where they have no two records in common, or one
        has no run at all."""
        if name not in self.runs or other not in self.runs:
            return None
        both = self._there(name) & self._there(other)
        if both.sum() < 2:
            return None
        drawn = self._drawn(name, both).mean(axis=1) - self._drawn(other, both).mean(axis=1)
        drawn = self._with_seeds(drawn, both, name, other)
        other_side = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
        p = min(1.0, 2 * (other_side + 1) / (len(drawn) + 1))
        mean = float(self._points(name, both).mean() - self._points(other, both).mean())
        return Difference(mean, interval(drawn), p, int(both.sum()))

    def _points(self, name: str, kept: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(seeds,) a variant's scores of the records that are kept."""
        runs = zip(self.runs[name], self.places[name], strict=True)
        return np.array([run.score(places[kept])[self.metric] for run, places in runs])

    def _with_seeds(
        self, drawn: NDArray[np.float64], kept: NDArray[np.bool_], *names: str
    ) -> NDArray[np.float64]:
        """(resamples,) a mean or a difference over resampled records, and over seeds too; as it is
        where no variant has two seeds to tell that by."""
        seeded = [name for name in names if name not in self.seedless]
        points = [self._points(name, kept) for name in seeded]
        free = sum(len(each) - 1 for each in points)
        if not free:
            return drawn
        variance = sum(_squares(each) for each in points) / free
        resampled = sum(_squares(self._drawn(name, kept)).mean() for name in seeded) / free
        runs = sum(1 / len(each) for each in points)
        # That seeds differ in which records they get right is in their variance already.
        records = _less_variance(drawn, max(0.0, resampled - variance) * runs)
        rng = np.random.default_rng([self.seed, *" ".join(names).encode()])
        return records + np.sqrt(variance * runs) * rng.standard_t(free, len(drawn))

    def _drawn(self, name: str, kept: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(resamples, seeds) scores of the records that are kept, in each resample."""
        key = name, kept.tobytes()
        if key not in self.known:
            self.known[key] = self._draw(name, kept)
        return self.known[key]

    def _draw(self, name: str, kept: NDArray[np.bool_]) -> NDArray[np.float64]:
        chosen = np.flatnonzero(kept)
        runs = list(zip(self.runs[name], self.places[name], strict=True))
        found = [
            [run.score(places[chosen[rows]])[self.metric] for run, places in runs]
            for rows in resamples(len(chosen), RESAMPLES, self.seed)
        ]
        return np.array(found)


def _squares(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., seeds) -> (...,) the sum of squared distances from the mean."""
    return ((values - values.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1)


def _less_variance(values: NDArray[np.float64], part: float) -> NDArray[np.float64]:
    """(N,) values drawn closer to their mean, so that their variance is less by ``part``, but not
    below 0."""
    mean, variance = values.mean(), values.var()
    share = max(0.0, 1 - part / variance) if variance else 0.0
    return mean + np.sqrt(share) * (values - mean)


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
