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

from plait.blocks import length_mask, make_reader
from plait.components import Classical, Encoder
from plait.layouts import spread
from plait.modalities.series import sensor
from plait.registry import register
from plait.types import State, Tokens

STATISTICS = 7  # of a channel in a window


@register("series", "windows")
class Windows(sensor.Sensor, Classical):
    """Mean, deviation, extremes, slope and roughness of each channel in a few windows."""

    exported = False

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

    def encoder(self, state: State, pretrained: bool) -> Encoder:
        """The network; nothing is pretrained."""
        return WindowsEncoder(state, self)


class Statistics(nn.Module):
    """(L, 2, C) -> (W, 7 · C): for each window and channel the mean, the standard deviation, the
    least, the largest, the slope of the straight line through the measurements (its rise over the
    window), the root mean square change from step to step (in the training rows' deviations of
    change), and the share of steps that were measured.

    The windows have one length, 2 / (W + 1) of the series, and each begins in the middle of the
    one before. Only measurements count; a window without any has zeros.
    """

    def __init__(self, state: State, windows: int) -> None:
        super().__init__()
        self.windows = windows
        self.factor: Tensor
        factor = torch.tensor(state["deviation"]) / torch.tensor(state["change"])
        self.register_buffer("factor", factor, persistent=False)

    def extra_repr(self) -> str:
        """What the statistics depend on beside the state; part of the cache's key."""
        return f"windows={self.windows}"

    def forward(self, item: Tensor) -> Tensor:
        """(L, 2, C) -> (W, 7 · C)."""
        parts = [self._of_window(item[start:end]) for start, end in self.spans(len(item))]
        return torch.stack(parts)

    def spans(self, length: int) -> list[tuple[int, int]]:
        """First step of each window, and the step behind its last; every window has a step."""
        share = length / (self.windows + 1)
        starts = [min(round(number * share), length - 1) for number in range(self.windows)]
        return [
            (start, max(start + 1, round((number + 2) * share)))
            for number, start in enumerate(starts)
        ]

    def _of_window(self, window: Tensor) -> Tensor:
        values, measured = window.unbind(dim=1)  # (n, C) each
        count = measured.sum(dim=0).clamp(min=1)
        mean = (values * measured).sum(dim=0) / count
        apart = (values - mean) * measured
        least, largest = ((apart * sign).amax(dim=0) * sign for sign in (-1, 1))
        time = torch.linspace(-0.5, 0.5, len(window), device=window.device)[:, None]
        time = (time - (time * measured).sum(dim=0) / count) * measured
        slope = (time * apart).sum(dim=0) / time.square().sum(dim=0).clamp(min=1e-6)
        both = measured[1:] * measured[:-1]
        changes = (values.diff(dim=0) * self.factor).square() * both
        rough = (changes.sum(dim=0) / both.sum(dim=0).clamp(min=1)).sqrt()
        deviation = (apart.square().sum(dim=0) / count).sqrt()
        share = measured.mean(dim=0)
        return torch.cat([mean, deviation, mean + least, mean + largest, slope, rough, share])


class WindowsEncoder(Encoder):
    """(L, 2, C) -> Tokens (B, W, width), one a window."""

    trunk: Statistics

    def __init__(self, state: State, series: Windows) -> None:
        super().__init__()
        self.trunk = Statistics(state, series.windows)
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
