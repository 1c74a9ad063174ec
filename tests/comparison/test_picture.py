"""A comparison as a picture."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from plait.comparison.report import NUMBER, OFFSETS, beside


def test_numbers_lie_on_nothing() -> None:
    """Six variants at one point, and two far from it."""
    places = np.array([[100.0, 50.0]] * 6 + [[10.0, 10.0], [200.0, 80.0]])
    offsets = beside(places)
    numbers = places + np.array(offsets)
    for first, second in combinations(numbers, 2):
        assert (np.abs(first - second) >= NUMBER).any()
    for number in numbers:
        assert all((np.abs(number - place) >= NUMBER).any() for place in places)
    assert offsets[-2:] == [OFFSETS[0]] * 2  # where there is room it is right above
