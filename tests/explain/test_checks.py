"""Rank correlation against scipy, areas and interactions against calculations by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from plait.evaluation.predictions import interactions, subsets
from plait.explain.explainer import POINTS, _sizes, heaviest_first, rank_correlation
from plait.explain.explanation import Curve


@pytest.mark.parametrize("seed", range(3))
def test_rank_correlation_is_spearmans(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.integers(0, 6, (2, 20)).astype(float)  # with ties
    assert rank_correlation(one, other) == pytest.approx(spearmanr(one, other).statistic)


def test_weights_that_are_all_alike_have_no_ranks() -> None:
    assert rank_correlation(np.ones(4), np.arange(4.0)) is None


def test_the_area_is_the_mean_height() -> None:
    even, uneven = np.array([0, 0.5, 1]), np.array([0, 0.25, 0.75, 1])
    assert Curve(np.array([1.0, 0.5, 0.0]), even).area == pytest.approx(0.5)
    assert Curve(np.array([1.0, 0.0, 0.0]), even).area == pytest.approx(0.25)
    assert Curve(1 - uneven, uneven).area == pytest.approx(0.5)
    assert Curve(np.array([1.0, 1.0, 0.0, 0.0]), uneven).area == pytest.approx(0.25 + 0.5 / 2)


def test_the_heaviest_part_is_first() -> None:
    assert heaviest_first(np.array([0.1, -2.0, 3.0])).tolist() == [2, 0, 1]


def test_gloves_need_each_other_and_stand_for_each_other() -> None:
    """A left glove and two right ones, a pair is worth 1: left with either right
    1/2 · (1 + 0) = 1/2; the two right ones 1/2 · (0 - 1) = -1/2."""
    names = ["left", "right", "other"]
    worth = {s: np.array([float("left" in s and len(s) > 1)]) for s in subsets(names)}
    found = {pair: float(value[0]) for pair, value in interactions(names, worth).items()}
    assert found == pytest.approx(
        {("left", "right"): 0.5, ("left", "other"): 0.5, ("right", "other"): -0.5}
    )


def test_inputs_that_add_up_have_no_interaction() -> None:
    names = ["a", "b", "c"]
    worth = {s: np.array([sum([0.0, *({"a": 1.0, "b": 2.0, "c": -3.0}[n] for n in s)])])
             for s in subsets(names)}  # fmt: skip
    assert all(float(v[0]) == pytest.approx(0) for v in interactions(names, worth).values())


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6, 7, 36, 64])
def test_the_points_of_a_curve_are_the_same_from_both_ends(count: int) -> None:
    sizes = _sizes(count)
    assert sizes[0] == 0
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == count
    inner = sizes[: min(count, POINTS) // 2]
    assert sizes[::-1][: len(inner)] == [count - size for size in inner]
    assert len(sizes) == min(count, POINTS) + 1
