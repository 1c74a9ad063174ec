"""`sequence`: the steps through a small network, read in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from plait.config.registry import register
from plait.modalities.base import Encoder
from plait.modalities.series import base as sensor
from plait.nn.blocks import Reader, length_mask, make_reader, strided
from plait.types import State, Tokens

KERNEL = 5  # steps that a convolution sees at a time
Stride = Annotated[int, Field(ge=1, le=16)]


@register("series", "sequence")
class SeriesSequence(sensor.Sensor):
    """Strided convolutions over the steps, then a GRU, a CNN or a transformer in order."""

    def __init__(
        self,
        *,
        time: sensor.Time = None,
        rate: sensor.Rate = None,
        centre: sensor.Centre = None,
        differences: Annotated[
            bool, Field(description="each channel's change from the step before, as a channel too")
        ] = True,
        longest: sensor.Longest = 1024,
        strides: Annotated[
            tuple[Stride, ...],
            Field(min_length=1, max_length=8, description="of the convolutions, one layer each"),
        ] = (2, 2),
        reader: Annotated[Reader, Field(description="gru, cnn or transformer")] = "gru",
        layers: Annotated[int, Field(ge=1, le=12, description="layers of the reader")] = 1,
        width: Annotated[int, Field(ge=8, le=2048, description="width of a token")] = 128,
        dropout: Annotated[float, Field(ge=0, lt=1, description="dropout")] = 0.2,
        hide: Annotated[
            float, Field(ge=0, lt=1, description="share of the channels hidden while learning")
        ] = 0.1,
        jitter: sensor.Jitter = 0.05,
        scale: sensor.Scale = 0.1,
        warp: sensor.Warp = 0.2,
        views: sensor.Views = 1,
    ) -> None:
        super().__init__(time, rate, centre, longest, jitter, scale, warp, views)
        self.differences, self.strides, self.hide = differences, tuple(strides), hide
        self.reader, self.layers, self.width, self.dropout = reader, layers, width, dropout

    def encoder(self, state: State, pretrained: bool) -> Encoder:
        """The network; nothing is pretrained."""
        return SequenceEncoder(state, self)


class Channels(nn.Module):
    """(L, 2, C) -> (L, C'): the values; their changes, in deviations of change, if asked for; and
    where each channel was measured, for the G channels that had gaps in training.

    A change from or into a gap is 0.
    """

    def __init__(self, state: State, differences: bool) -> None:
        super().__init__()
        self.differences = differences
        self.gaps = [place for place, gaps in enumerate(state["gaps"]) if gaps]
        self.count = len(state["gaps"]) * (1 + differences) + len(self.gaps)
        self.factor: Tensor
        factor = torch.tensor(state["deviation"]) / torch.tensor(state["change"])
        self.register_buffer("factor", factor, persistent=False)

    def extra_repr(self) -> str:
        """What the channels depend on beside the state; part of the cache's key."""
        return f"differences={self.differences}"

    def forward(self, item: Tensor) -> Tensor:
        """(L, 2, C) -> (L, C')."""
        values, measured = item.unbind(dim=1)
        parts = [values]
        if self.differences:
            both = measured[1:] * measured[:-1]
            changes = (values[1:] - values[:-1]) * self.factor * both
            parts.append(nn.functional.pad(changes, (0, 0, 1, 0)))
        return torch.cat([*parts, measured[:, self.gaps]], dim=1)


class SequenceEncoder(Encoder):
    """(L, 2, C) -> Tokens (B, L / product of the strides, width)."""

    trunk: Channels

    def __init__(self, state: State, series: SeriesSequence) -> None:
        super().__init__()
        self.trunk = Channels(state, series.differences)
        self.strides, self.hide = series.strides, series.hide
        widths = [self.trunk.count, *[series.width] * len(series.strides)]
        self.layers = nn.ModuleList(
            nn.Conv1d(ins, outs, KERNEL, stride, padding=KERNEL // 2)
            for ins, outs, stride in zip(widths, widths[1:], series.strides, strict=False)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(outs) for outs in widths[1:])
        self.drop = nn.Dropout(series.dropout)
        self.length, self.width = series.longest, series.width
        for stride in series.strides:
            self.length = -(-self.length // stride)
        self.reader = make_reader(
            series.reader, series.width, series.layers, series.dropout, self.length
        )

    def prepare(self, items: Sequence[Tensor]) -> list[Tensor]:
        """(L, 2, C) each -> (L, C') each."""
        with torch.no_grad():
            return [self.trunk(item) for item in items]

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, L, C') -> Tokens (B, L', width)."""
        mask = length_mask(lengths, prepared.shape[1])
        x = torch.where(mask[..., None], prepared, 0.0)
        x = self._hidden_in_part(x)
        for layer, norm, stride in zip(self.layers, self.norms, self.strides, strict=True):
            x = self.drop(nn.functional.gelu(norm(layer(x.transpose(1, 2)).transpose(1, 2))))
            lengths = strided(lengths, stride)
            mask = length_mask(lengths, x.shape[1])
            # Zeros behind each record, so that its end looks the same in any batch.
            x = torch.where(mask[..., None], x, 0.0)
        values = self.reader(x, mask)
        return Tokens(torch.where(mask[..., None], values, 0.0), mask)

    def _hidden_in_part(self, x: Tensor) -> Tensor:
        """While learning, some channels of each record are hidden, so that no one is relied on."""
        if not (self.training and self.hide):
            return x
        kept = torch.rand(x.shape[0], 1, x.shape[2], device=x.device) >= self.hide
        return x * kept
