"""A sensor series on an even grid, standardised. Knows no torch.

Shapes: T rows as recorded, L steps as read, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.data.series import Channel, Series, open_series, resample
from plait.types import BadCell, State

FARTHEST = 1e4  # deviations from the mean; what lies farther is cut to it


def open_even(
    cell: Any, root: Path, time: Channel | None, rate: float | None, centre: Sequence[Channel]
) -> Series:
    """The series, resampled where it has a time channel, and `centred` where it has a centre."""
    series = open_series(cell, root)
    if time is not None and rate is not None:
        series = resample(series, time, rate)
    return centred(series, list(centre)) if centre else series


def standardised(series: Series, state: State, longest: int) -> NDArray[np.float32]:
    """(L, 2, C): standardised values with gaps filled, and 1 where measured.

    ``state`` has each channel's name, or none, its mean and its deviation.
    """
    series = with_channels(series, state)
    values = (series.values[:longest] - state["mean"]) / state["deviation"]
    measured = np.isfinite(values)
    filled = fill_gaps(values).clip(-FARTHEST, FARTHEST)
    return np.stack([filled, measured], axis=1).astype(np.float32)


def with_channels(series: Series, state: State) -> Series:
    """The series with the channels that were learned, by name where both have names.

    Raises:
        BadCell: it lacks one, or has another number of them.
    """
    wanted, count = state["names"], series.values.shape[1]
    if wanted and series.names:
        return series.take([series.place(name) for name in wanted])
    if count != len(state["mean"]):
        raise BadCell(
            f"{series.name} has {count} channels", expected=f"{len(state['mean'])} as in training"
        )
    return series


def centred(series: Series, centre: list[Channel]) -> Series:
    """The series with a point taken from all points, whose coordinates lie side by side; the
    point's own channels stay as they are.

    Raises:
        BadCell: it has no such channels, or its channels are no points of so many coordinates.
    """
    places, count = [series.place(channel) for channel in centre], series.values.shape[1]
    if count % len(places):
        raise BadCell(
            f"{series.name} has {count} channels", expected=f"points of {len(places)} channels each"
        )
    point = series.values[:, places]  # (T, coordinates)
    values = series.values - np.tile(point, count // len(places))
    values[:, places] = point
    return Series(values, series.names, series.name)


def fill_gaps(values: np.ndarray) -> np.ndarray:
    """(L, C) with NaN -> (L, C) without: interpolated within a gap, 0 at both ends."""
    filled = np.nan_to_num(values, nan=0.0)
    steps = np.arange(len(values))
    for column in np.flatnonzero(np.isnan(values).any(axis=0)):
        known = np.flatnonzero(np.isfinite(values[:, column]))
        if len(known):
            here = values[known, column]
            filled[:, column] = np.interp(steps, known, here, left=0.0, right=0.0)
    return filled
