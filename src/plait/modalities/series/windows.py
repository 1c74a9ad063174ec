"""`windows`: statistics of a few windows of each channel.

Shapes: L steps, C channels, W windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from plait.config.registry import register
from plait.modalities.base import Classical, Encoder
from plait.modalities.segments import spread
from plait.modalities.series import base as sensor
from plait.modalities.series.reading import STATISTICS, window_statistics
from plait.nn.blocks import length_mask, make_reader
from plait.types import State, Tokens


@register("series", "windows")
class Windows(sensor.Sensor, Classical):
    """Mean, deviation, extremes, slope and roughness of each channel in a few windows."""

    reads_prepared = True

    def __init__(
        self,
        *,
        time: sensor.Time = None,
        rate: sensor.Rate = None,
        centre: sensor.Centre = None,
        longest: sensor.Longest = 1024,
        windows: Annotated[
            int, Field(ge=1, le=512, description="windows a series, each overlapping half the next")
        ] = 8,
        width: Annotated[int, Field(ge=8, le=2048, description="width of a token")] = 128,
        dropout: Annotated[float, Field(ge=0, lt=1, description="dropout")] = 0.2,
        jitter: sensor.Jitter = 0.05,
        scale: sensor.Scale = 0.1,
        warp: sensor.Warp = 0.2,
        views: sensor.Views = 1,
    ) -> None:
        super().__init__(time, rate, centre, longest, jitter, scale, warp, views)
        self.windows, self.width, self.dropout = windows, width, dropout

    def spans(self, tokens: int, moments: int) -> NDArray[np.float64]:
        """Each window overlaps half the next."""
        starts = np.arange(tokens) / (tokens + 1)
        return spread(starts, starts + 2 / (tokens + 1), moments)

    def vectors(self, rows: Sequence[NDArray[Any]], state: State) -> NDArray[np.float32]:
        """(N, W · 7 · C): the windows side by side."""
        return np.stack([row.reshape(-1) for row in rows]).astype(np.float32)

    def reading(self, state: State) -> State:
        """As any series', with the windows and what their changes are multiplied by."""
        own = {"kind": "windows", "windows": self.windows, "factor": self.factor(state)}
        return super().reading(state) | own

    def factor(self, state: State) -> list[float]:
        """Of each channel, its deviation in deviations of its change from step to step."""
        return [d / c for d, c in zip(state["deviation"], state["change"], strict=True)]

    def encoder(self, state: State, pretrained: bool) -> Encoder:
        """The network; nothing is pretrained."""
        return WindowsEncoder(state, self)


class Statistics(nn.Module):
    """(L, 2, C) -> (W, 7 · C), see `window_statistics`: the frozen part, which is numpy's work."""

    def __init__(self, factor: Sequence[float], windows: int) -> None:
        super().__init__()
        self.factor, self.windows = factor, windows

    def extra_repr(self) -> str:
        """What the statistics depend on beside the state; part of the cache's key."""
        return f"windows={self.windows}"

    def forward(self, item: Tensor) -> Tensor:
        """(L, 2, C) -> (W, 7 · C)."""
        found = window_statistics(item.cpu().numpy(), self.factor, self.windows)
        return torch.from_numpy(found).to(item.device)


class WindowsEncoder(Encoder):
    """(L, 2, C) -> Tokens (B, W, width), one a window."""

    trunk: Statistics

    def __init__(self, state: State, series: Windows) -> None:
        super().__init__()
        self.trunk = Statistics(series.factor(state), series.windows)
        self.length, self.width = series.windows, series.width
        self.project = nn.Linear(STATISTICS * len(state["mean"]), series.width)
        self.norm, self.drop = nn.LayerNorm(series.width), nn.Dropout(series.dropout)
        self.reader = make_reader("gru", series.width, 1, series.dropout, series.windows)

    def prepare(self, items: Sequence[Tensor]) -> list[Tensor]:
        """(L, 2, C) each -> (W, 7 · C) each."""
        with torch.no_grad():
            return [self.trunk(item) for item in items]

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, W, 7 · C) -> Tokens (B, W, width)."""
        mask = length_mask(lengths, prepared.shape[1])
        x = torch.where(mask[..., None], prepared, 0.0)
        x = self.drop(nn.functional.gelu(self.norm(self.project(x))))
        values = self.reader(x, mask)
        return Tokens(torch.where(mask[..., None], values, 0.0), mask)
