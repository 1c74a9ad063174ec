"""`waveform`: the samples themselves through a stack of strided convolutions.

As the feature encoders of wav2vec 2.0 (Baevski et al. 2020, arXiv:2006.11477), smaller, and with
norms over the channels alone, so that a record doesn't feel its batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from plait.config.registry import register
from plait.modalities.audio.base import (
    NOISE,
    SPEED,
    Longest,
    Noise,
    Rate,
    Sound,
    Speed,
    Trim,
    Views,
)
from plait.modalities.audio.layers import ConvLayer, zero_behind
from plait.modalities.base import Encoder
from plait.nn.blocks import length_mask, strided
from plait.types import State, Tokens

TOKEN = 0.04  # seconds of a token at the most; at least half of it
LEAST = 1e-4  # deviation of the samples that counts as one: silence stays silent


@register("audio", "waveform")
class Waveform(Sound):
    """The samples themselves through a stack of strided convolutions."""

    def __init__(
        self,
        *,
        rate: Rate = 16000,
        longest: Longest = 10.0,
        trim: Trim = False,
        channels: Annotated[int, Field(ge=8, le=1024, description="of the last layer")] = 128,
        layers: Annotated[
            int, Field(ge=0, le=12, description="layers after the strided ones, each over 3 tokens")
        ] = 2,
        width: Annotated[int, Field(ge=8, le=2048, description="width of a token")] = 128,
        dropout: Annotated[float, Field(ge=0, lt=1, description="dropout")] = 0.1,
        normalise: Annotated[
            bool, Field(description="bring the samples of each sound to mean 0 and deviation 1")
        ] = True,
        views: Views = 1,
        speed: Speed = SPEED,
        noise: Noise = NOISE,
    ) -> None:
        super().__init__(rate, longest, trim, views, speed, noise)
        self.channels, self.layers, self.width = channels, layers, width
        self.dropout, self.normalise = dropout, normalise

    def pace(self, state: State) -> float:
        """The product of the strides."""
        return math.prod(token_strides(self.rate)) / self.rate

    def encoder(self, state: State, pretrained: bool) -> Encoder:
        """The network; it has no pretrained weights."""
        return WaveformEncoder(self)


class Level(nn.Module):
    """(N,) samples -> (N,), with mean 0 and deviation 1."""

    def forward(self, sound: Tensor) -> Tensor:
        """(N,) -> (N,)."""
        centred = sound - sound.mean()
        return centred / centred.square().mean().sqrt().clamp(min=LEAST)


class WaveformEncoder(Encoder):
    """(N,) samples -> Tokens (B, T, width) of 20 to 40 ms each."""

    def __init__(self, sound: Waveform) -> None:
        super().__init__()
        self.trunk = Level() if sound.normalise else nn.Identity()
        self.strides = token_strides(sound.rate)
        halvings = range(len(self.strides) - 1, -1, -1)
        widths = [1, *(max(8, sound.channels >> shift) for shift in halvings)]
        self.layers = nn.ModuleList(map(ConvLayer, widths, widths[1:], self.strides))
        self.context = nn.ModuleList(ConvLayer(widths[-1], widths[-1]) for _ in range(sound.layers))
        self.drop = nn.Dropout(sound.dropout)
        self.project = nn.Linear(widths[-1], sound.width)
        self.length, self.width = _tokens(sound.most, self.strides), sound.width

    def prepare(self, items: Sequence[Tensor]) -> list[Tensor]:
        """(N,) samples each -> (N, 1) samples each."""
        with torch.no_grad():
            return [self.trunk(item)[:, None] for item in items]

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, N, 1) -> Tokens (B, T, width)."""
        x = zero_behind(prepared, lengths)
        for layer in self.layers:
            x, lengths = layer(x, lengths)
        for layer in self.context:
            x = x + self.drop(layer(x, lengths)[0])
        mask = length_mask(lengths, x.shape[1])
        return Tokens(zero_behind(self.project(x), lengths), mask)


def token_strides(rate: int) -> list[int]:
    """Strides of 4, and one of 2 if need be, whose product is 20 to 40 ms of samples."""
    halvings = int(math.log2(TOKEN * rate))
    return [4] * (halvings // 2) + [2] * (halvings % 2)


def _tokens(samples: int, strides: Sequence[int]) -> int:
    lengths = torch.tensor([samples])
    for stride in strides:
        lengths = strided(lengths, stride)
    return int(lengths)
