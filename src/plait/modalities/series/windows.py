"""`windows`: statistics of a few windows of each channel.

Shapes: N records, L steps, C channels, W windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from plait.config.registry import register
from plait.modalities.base import Classical, Dropout, Item, Width
from plait.modalities.segments import spread
from plait.modalities.series.base import Sensor
from plait.modalities.series.reading import window_statistics


@register("series", "windows")
class Windows(Sensor, Classical):
    """Mean, deviation, extremes, slope and roughness of each channel in a few windows."""

    encoder_class = "plait.modalities.series.networks.WindowsEncoder"
    reads_prepared = True

    windows: int = Field(8, ge=1, le=512, description="windows; each overlaps half the next")
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

    def vectors(self, rows: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """(N, W · 7 · C): the windows side by side."""
        return np.stack([row.reshape(-1) for row in rows]).astype(np.float32)
