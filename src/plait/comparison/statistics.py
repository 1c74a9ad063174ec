"""Which differences are real: the paired bootstrap over records, and Student's t over seeds.

Each resample draws the records again, the same for everything that is compared. What other seeds
would give is added: the mean of S seeds with the standard deviation s lies s / √S · t from that of
all seeds, where t is Student's with S - 1 degrees of freedom (1908, Biometrika 6). A difference of
two means has both parts, with one variance pooled from all seeds of the two. Drawing the few seeds
too, as the records are, would give (S - 1) / S of their variance and no heavy tails: the bootstrap
over few clusters rejects too often (Cameron, Gelbach and Miller, 2008, Review of Economics and
Statistics 90). So an interval covers both sources of chance: the records that happened to be in the
table, and the initial weights that happened to be drawn.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from plait.outputs.scores import Scorer, interval, resamples

RESAMPLES = 2000  # so that p can be small enough for some dozens of differences
SEED = 0  # of the resamples
LEVEL = 0.05  # a difference is real if its adjusted p is below


@dataclass(frozen=True)
class Scored:
    """One run's answers: the records' numbers (N,), and what scores any choice of the N."""

    records: Sequence[int]
    score: Scorer


@dataclass(frozen=True)
class Difference:
    """How much better one variant is than another, on the records that both answered."""

    mean: float  # the one's mean score over its seeds minus the other's
    interval: tuple[float, float]  # 95 %, over records and seeds
    p: float  # two-sided: twice the share of resamples on the other side of 0
    records: int  # how many both answered
    adjusted: float = 1.0  # p after Holm's correction for all differences reported together

    @property
    def real(self) -> bool:
        """Whether the chance of records and seeds hardly explains it."""
        return self.adjusted < LEVEL


class PairedBootstrap:
    """One set of resamples for all variants, so that differences are paired.

    Args:
        runs: a variant's name -> its runs, one for each seed.
        metric: the score that is compared.
        seedless: variants that draw nothing at random.
        limits: the lowest and the highest possible score.
    """

    def __init__(
        self, runs: Mapping[str, Sequence[Scored]], metric: str, seedless: Collection[str] = (),
        limits: tuple[float, float] = (-math.inf, math.inf),
    ) -> None:  # fmt: skip
        self.runs, self.metric, self.seedless, self.limits = runs, metric, seedless, limits
        numbers = sorted({n for each in runs.values() for run in each for n in run.records})

        def places(run: Scored) -> NDArray[np.int64]:
            """(all records,) where in the run each is; -1 where it was not answered."""
            of_number = {number: at for at, number in enumerate(run.records)}
            return np.array([of_number.get(number, -1) for number in numbers])

        self.places = {name: list(map(places, each)) for name, each in runs.items()}
        self._drawn: dict[tuple[str, bytes], NDArray[np.float64]] = {}

    def mean(self, name: str) -> tuple[float, tuple[float, float]]:
        """A variant's mean score over its seeds, and its 95 % interval, cut off at the limits."""
        answered = self._answered(name)
        resampled = self._resampled(name, answered).mean(axis=1)
        ends = interval(self._with_seeds(resampled, answered, name))
        low, high = np.clip(ends, *self.limits).tolist()
        return float(self._points(name, answered).mean()), (low, high)

    def difference(self, name: str, other: str) -> Difference | None:
        """A variant's mean score minus another's; None where they have fewer than two records in
        common, or one has no run."""
        if name not in self.runs or other not in self.runs:
            return None
        both = self._answered(name) & self._answered(other)
        if both.sum() < 2:
            return None
        one, two = (self._resampled(each, both).mean(axis=1) for each in (name, other))
        resampled = self._with_seeds(one - two, both, name, other)
        beyond = min(int((resampled <= 0).sum()), int((resampled >= 0).sum()))
        p = min(1.0, 2 * (beyond + 1) / (len(resampled) + 1))
        mean = float(self._points(name, both).mean() - self._points(other, both).mean())
        return Difference(mean, interval(resampled), p, int(both.sum()))

    def _answered(self, name: str) -> NDArray[np.bool_]:
        """(all records,) those that all of a variant's runs answered."""
        return np.all([places >= 0 for places in self.places[name]], axis=0)

    def _points(self, name: str, kept: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(seeds,) a variant's scores on the kept records."""
        runs = zip(self.runs[name], self.places[name], strict=True)
        return np.array([run.score(places[kept])[self.metric] for run, places in runs])

    def _with_seeds(
        self, resampled: NDArray[np.float64], kept: NDArray[np.bool_], *names: str
    ) -> NDArray[np.float64]:
        """(resamples,) a mean or a difference over resampled records -> over seeds too; unchanged
        where no variant has two seeds to tell their variance by."""
        seeded = [name for name in names if name not in self.seedless]
        points = [self._points(name, kept) for name in seeded]
        freedom = sum(len(each) - 1 for each in points)
        if not freedom:
            return resampled
        variance = sum(_squares(each) for each in points) / freedom
        of_records = sum(_squares(self._resampled(n, kept)).mean() for n in seeded) / freedom
        runs = sum(1 / len(each) for each in points)
        # The seeds' variance already has the part that comes from their being right in different
        # records. It must not count twice, so the resamples are drawn closer to their mean.
        twice, spread = max(0.0, of_records - variance) * runs, resampled.var()
        share = max(0.0, 1 - twice / spread) if spread else 0.0
        mean = resampled.mean()
        records = mean + np.sqrt(share) * (resampled - mean)
        rng = np.random.default_rng([SEED, *" ".join(names).encode()])
        return records + np.sqrt(variance * runs) * rng.standard_t(freedom, len(resampled))

    def _resampled(self, name: str, kept: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(resamples, seeds) scores on the kept records, in each resample; computed once."""
        key = name, kept.tobytes()
        if key not in self._drawn:
            chosen = np.flatnonzero(kept)
            runs = list(zip(self.runs[name], self.places[name], strict=True))
            self._drawn[key] = np.array([
                [run.score(places[chosen[rows]])[self.metric] for run, places in runs]
                for rows in resamples(len(chosen), RESAMPLES, SEED)
            ])  # fmt: skip
        return self._drawn[key]


def _squares(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., seeds) -> (...,) the sum of squared distances from the mean."""
    return ((values - values.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1)


def adjust(differences: Sequence[Difference]) -> list[Difference]:
    """Holm's correction for all of them: the chance that any is called real by accident is at most
    `LEVEL` (Holm, 1979, Scandinavian Journal of Statistics 6)."""
    order = sorted(range(len(differences)), key=lambda at: differences[at].p)
    adjusted, highest = list(differences), 0.0
    for rank, at in enumerate(order):
        highest = max(highest, min(1.0, differences[at].p * (len(order) - rank)))
        adjusted[at] = replace(differences[at], adjusted=highest)
    return adjusted
