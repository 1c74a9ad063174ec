"""Shapley values, against their definition."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from plait.evaluation.predictions import shapley, subsets


def test_all_subsets_the_empty_one_first() -> None:
    found = subsets(["a", "b", "c"])
    assert len(set(found)) == 8
    assert found[0] == frozenset()


def test_the_glove_game() -> None:
    """One left glove, two right ones; a pair is worth 1: 2/3, 1/6, 1/6 (Shapley 1953)."""
    names = ["left", "right", "other"]
    worth = {s: np.array([float("left" in s and len(s) > 1)]) for s in subsets(names)}
    np.testing.assert_allclose(shapley(names, worth), [[2 / 3, 1 / 6, 1 / 6]])


def test_it_is_the_mean_over_all_orders_and_sums_to_the_whole() -> None:
    names = ["a", "b", "c", "d"]
    rng = np.random.default_rng(0)
    worth = {subset: rng.normal(size=5) for subset in subsets(names)}
    found = shapley(names, worth)
    expected = np.zeros((5, 4))
    orders = list(permutations(range(4)))
    for order in orders:
        so_far: frozenset[str] = frozenset()
        for number in order:
            more = so_far | {names[number]}
            expected[:, number] += (worth[more] - worth[so_far]) / len(orders)
            so_far = more
    np.testing.assert_allclose(found, expected)
    whole = worth[frozenset(names)] - worth[frozenset()]
    np.testing.assert_allclose(found.sum(axis=1), whole)
