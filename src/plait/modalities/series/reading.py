"""A sensor series on an even grid, standardised, and the statistics of its windows.

Shapes: T rows as recorded, L steps as read, C channels, W windows.
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
STATISTICS = 7  # of a channel in a window


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


def window_statistics(
    item: NDArray[np.float32], factor: Sequence[float], windows: int
) -> NDArray[np.float32]:
    """(L, 2, C) -> (W, 7 · C): for each window and channel the mean, the standard deviation, the
    least, the largest, the slope of the straight line through the measurements (its rise over the
    window), the root mean square change from step to step (times ``factor`` of the channel), and
    the share of steps that were measured.

    The windows have one length, 2 / (W + 1) of the series, and each begins in the middle of the
    one before. Only measurements count; a window without any has zeros.
    """
    factors = np.asarray(factor, np.float32)
    spans = window_spans(len(item), windows)
    return np.stack([_of_window(item[start:end], factors) for start, end in spans])


def window_spans(length: int, windows: int) -> list[tuple[int, int]]:
    """First step of each window, and the step behind its last; every window has a step."""
    share = length / (windows + 1)
    starts = [min(round(number * share), length - 1) for number in range(windows)]
    return [
        (start, max(start + 1, round((number + 2) * share))) for number, start in enumerate(starts)
    ]


def _of_window(window: NDArray[np.float32], factor: NDArray[np.float32]) -> NDArray[np.float32]:
    values, measured = window[:, 0], window[:, 1]  # (n, C) each
    count = measured.sum(axis=0).clip(min=1)
    mean = (values * measured).sum(axis=0) / count
    apart = (values - mean) * measured
    time = np.linspace(-0.5, 0.5, len(window), dtype=np.float32)[:, None]
    time = (time - (time * measured).sum(axis=0) / count) * measured
    slope = (time * apart).sum(axis=0) / np.square(time).sum(axis=0).clip(min=1e-6)
    both = measured[1:] * measured[:-1]
    changes = np.square(np.diff(values, axis=0) * factor) * both
    rough = np.sqrt(changes.sum(axis=0) / both.sum(axis=0).clip(min=1))
    deviation = np.sqrt(np.square(apart).sum(axis=0) / count)
    least, largest = mean + apart.min(axis=0), mean + apart.max(axis=0)
    share = measured.mean(axis=0)
    return np.concatenate([mean, deviation, least, largest, slope, rough, share])
