"""`windows`: statistics of a few windows of each channel.

Shapes: N records, L steps, n steps of a window, C channels, W windows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from plait.config.registry import register
from plait.modalities.base import Dropout, Item, Width
from plait.modalities.segments import spread
from plait.modalities.series.base import Sensor

STATISTICS = 7  # of a channel in a window


@register("series", "windows")
class Windows(Sensor):
    """Mean, deviation, extremes, slope and roughness of each channel in a few windows."""

    encoder_class = "plait.modalities.series.networks.WindowsEncoder"
    vector_class = "plait.modalities.series.networks.WindowsVectors"
    classical = True
    reads_prepared = True

    windows: int = Field(8, ge=1, le=512, description="number; each overlaps half of the next")
    width: Width = 128
    dropout: Dropout = 0.2

    def spans(self, tokens: int, moments: int) -> NDArray[np.float64]:
        """Each window overlaps half the next."""
        starts = np.arange(tokens) / (tokens + 1)
        return spread(starts, starts + 2 / (tokens + 1), moments)

    def prepare(self, item: Item) -> Item:
        """(W, 7 · C): the statistics, which are all of the frozen part."""
        return window_statistics(item, self.factor, self.windows)

    @property
    def factor(self) -> list[float]:
        """Of each channel, its deviation in deviations of its change from step to step."""
        pairs = zip(self.state["deviation"], self.state["change"], strict=True)
        return [deviation / change for deviation, change in pairs]


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
    found = []
    for start, end in window_spans(len(item), windows):
        values, measured = item[start:end, 0], item[start:end, 1]  # (n, C) each
        count = measured.sum(axis=0).clip(min=1)
        mean = (values * measured).sum(axis=0) / count
        apart = (values - mean) * measured
        time = np.linspace(-0.5, 0.5, end - start, dtype=np.float32)[:, None]
        time = (time - (time * measured).sum(axis=0) / count) * measured
        slope = (time * apart).sum(axis=0) / np.square(time).sum(axis=0).clip(min=1e-6)
        both = measured[1:] * measured[:-1]
        changes = np.square(np.diff(values, axis=0) * factors) * both
        rough = np.sqrt(changes.sum(axis=0) / both.sum(axis=0).clip(min=1))
        deviation = np.sqrt(np.square(apart).sum(axis=0) / count)
        least, largest = mean + apart.min(axis=0), mean + apart.max(axis=0)
        share = measured.mean(axis=0)
        found.append(np.concatenate([mean, deviation, least, largest, slope, rough, share]))
    return np.stack(found)


def window_spans(length: int, windows: int) -> list[tuple[int, int]]:
    """The first step of each window and its end, exclusive; every window has a step."""
    share = length / (windows + 1)
    starts = [min(round(number * share), length - 1) for number in range(windows)]
    return [
        (start, max(start + 1, round((number + 2) * share))) for number, start in enumerate(starts)
    ]
