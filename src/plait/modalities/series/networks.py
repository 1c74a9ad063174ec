"""The networks of the series representations.

Shapes: B records, L steps, C channels, W windows.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from plait.modalities.series.sequence import SeriesSequence
from plait.modalities.series.windows import STATISTICS, Windows
from plait.nn.base import Encoder, VectorEncoder
from plait.nn.blocks import (
    FrozenPart,
    GruEncoder,
    NumpyPart,
    encode_sequence,
    make_sequence_encoder,
    strided,
    strided_count,
    zero_after,
)
from plait.types import State, Tokens

KERNEL = 5  # steps that a convolution sees at a time


class Channels(FrozenPart):
    """(L, 2, C) -> (L, C'): the values; their changes, in deviations of change, if asked for; and
    where each channel was measured, for the G channels that had gaps in training.

    A change from or into a gap is 0.
    """

    def __init__(self, state: State, differences: bool) -> None:
        super().__init__(f"differences={differences}")
        self.differences = differences
        self.gaps = [place for place, gaps in enumerate(state["gaps"]) if gaps]
        self.count = len(state["gaps"]) * (1 + differences) + len(self.gaps)
        self.factor: Tensor
        factor = torch.tensor(state["deviation"]) / torch.tensor(state["change"])
        self.register_buffer("factor", factor, persistent=False)

    def forward(self, item: Tensor) -> Tensor:
        """(L, 2, C) -> (L, C')."""
        values, measured = item.unbind(dim=1)
        parts = [values]
        if self.differences:
            both = measured[1:] * measured[:-1]
            changes = (values[1:] - values[:-1]) * self.factor * both
            parts.append(nn.functional.pad(changes, (0, 0, 1, 0)))
        return torch.cat([*parts, measured[:, self.gaps]], dim=1)


class SeriesEncoder(Encoder):
    """(L, 2, C) -> Tokens (B, L / product of the strides, width)."""

    trunk: Channels

    def __init__(self, series: SeriesSequence, pretrained: bool) -> None:
        super().__init__()
        self.trunk = Channels(series.state, series.differences)
        self.strides, self.channel_dropout = series.strides, series.channel_dropout
        widths = [self.trunk.count, *[series.width] * len(series.strides)]
        self.layers = nn.ModuleList(
            nn.Conv1d(ins, outs, KERNEL, stride, padding=KERNEL // 2)
            for ins, outs, stride in zip(widths, widths[1:], series.strides, strict=False)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(outs) for outs in widths[1:])
        self.drop = nn.Dropout(series.dropout)
        self.length = strided_count(series.max_steps, series.strides)
        self.width = series.width
        self.sequence = make_sequence_encoder(series, self.length)

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, L, C') -> Tokens (B, L', width)."""
        x = self._masked(zero_after(prepared, lengths))
        for layer, norm, stride in zip(self.layers, self.norms, self.strides, strict=True):
            x = self.drop(nn.functional.gelu(norm(layer(x.transpose(1, 2)).transpose(1, 2))))
            lengths = strided(lengths, stride)
            x = zero_after(x, lengths)
        return encode_sequence(self.sequence, x, lengths)

    def _masked(self, x: Tensor) -> Tensor:
        """While learning, some channels of each record are hidden, so that none is relied on."""
        if not (self.training and self.channel_dropout):
            return x
        kept = torch.rand(x.shape[0], 1, x.shape[2], device=x.device) >= self.channel_dropout
        return x * kept


class WindowsEncoder(Encoder):
    """(L, 2, C) -> Tokens (B, W, width), one a window."""

    def __init__(self, series: Windows, pretrained: bool) -> None:
        super().__init__()
        self.trunk = NumpyPart(series.prepare, f"windows={series.windows}")
        self.length, self.width = series.windows, series.width
        self.project = nn.Linear(STATISTICS * len(series.factor), series.width)
        self.norm, self.drop = nn.LayerNorm(series.width), nn.Dropout(series.dropout)
        self.sequence = GruEncoder(series.width, 1, series.dropout, series.windows)

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, W, 7 · C) -> Tokens (B, W, width)."""
        x = self.project(zero_after(prepared, lengths))
        x = self.drop(nn.functional.gelu(self.norm(x)))
        return encode_sequence(self.sequence, x, lengths)


class WindowsVectors(VectorEncoder):
    """(L, 2, C) -> Tokens (B, 1, W · 7 · C): the windows side by side."""

    def __init__(self, series: Windows, pretrained: bool) -> None:
        super().__init__(series, pretrained)
        self.width = series.windows * STATISTICS * len(series.factor)

    def vectors(self, prepared: Tensor, lengths: Tensor) -> Tensor:
        """(B, W, 7 · C) -> (B, W · 7 · C)."""
        return prepared.flatten(1)
