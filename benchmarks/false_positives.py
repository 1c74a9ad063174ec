"""How often a comparison calls two variants different that are equal, and finds those that differ.

Records are right with a chance of their own, a little other for each variant; each seed moves all
of a variant's chances. Equal variants are drawn alike: p is below 0.05 in one of 20 trials where it
means what it says.
"""

from __future__ import annotations

import argparse

import numpy as np
from machine import describe

from plait.comparison import statistics
from plait.comparison.statistics import PairedBootstrap, Scored

LEVEL = 0.05
RESAMPLES = 400  # p then goes by steps of 0.005, which is enough to tell whether it is below 0.05


def runs_of(
    rng: np.random.Generator, chances: np.ndarray, seeds: int, spread: float
) -> list[Scored]:
    """One run a seed, of a variant whose mean accuracy has this standard deviation over seeds."""
    own = chances + rng.normal(0, 0.1, len(chances))
    found = []
    for shift in rng.normal(0, spread, seeds):
        hits = rng.random(len(own)) < own + shift
        found.append(
            Scored(range(len(own)), lambda rows, hits=hits: {"accuracy": float(hits[rows].mean())})
        )
    return found


def found_different(
    records: int, seeds: int, spreads: tuple[float, float], gain: float, trials: int
) -> float:
    """The share of trials in which p, before Holm's correction, is below 0.05."""
    count = 0
    for trial in range(trials):
        rng = np.random.default_rng([trial, records, seeds])
        chances = rng.uniform(0.4, 0.8, records)
        runs = {
            "one": runs_of(rng, chances + gain, seeds, spreads[0]),
            "other": runs_of(rng, chances, seeds, spreads[1]),
        }
        difference = PairedBootstrap(runs, "accuracy").difference("one", "other")
        assert difference is not None
        count += difference.p < LEVEL
    return count / trials


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=300)
    trials = parser.parse_args().trials
    statistics.RESAMPLES = RESAMPLES
    print(describe())
    print("records, seeds, standard deviations over seeds, difference: share with p < 0.05")
    for records, spreads, gain in (
        (4000, (0.03, 0.03), 0.0),
        (4000, (0.05, 0.01), 0.0),
        (400, (0.01, 0.01), 0.0),
        (400, (0.0, 0.0), 0.0),
        (1000, (0.01, 0.01), 0.05),
        (400, (0.01, 0.01), 0.1),
    ):
        for seeds in (2, 3, 5):
            share = found_different(records, seeds, spreads, gain, trials)
            print(f"{records:5d}, {seeds}, {spreads}, {gain}: {share:.3f}", flush=True)


if __name__ == "__main__":
    main()
