"""Intervals: of a mean against the normal one, and of a score that drawing records moves."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from plait.outputs.scores import interval, resamples, with_intervals


def test_of_a_mean_it_is_as_wide_as_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(size=400)
    points, found = with_intervals(lambda rows: {"mean": float(values[rows].mean())}, 400)
    wide = 2 * 1.96 * values.std() / np.sqrt(400)
    low, high = found["mean"]
    assert points["mean"] == pytest.approx(values.mean())
    assert low < points["mean"] < high
    assert high - low == pytest.approx(wide, rel=0.1)


def test_of_a_score_that_drawing_moves_it_reaches_to_the_score() -> None:
    """The share of 200 different values that are among the records: all of them, and of those that
    are drawn with replacement 1 - 1/e."""
    size = 200

    def score(rows: NDArray[np.int64]) -> dict[str, float]:
        return {"different": len(np.unique(rows)) / size}

    drawn = [score(rows)["different"] for rows in resamples(size, 1000, 0)]
    assert np.mean(drawn) == pytest.approx(1 - np.exp(-1), abs=0.01)
    assert with_intervals(score, size)[1]["different"] == (interval(drawn)[0], 1.0)
