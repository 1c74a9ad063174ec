"""`mfcc`: mel-frequency cepstral coefficients through a small network of convolutions and a GRU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
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
    Token,
    Trim,
    Views,
)
from plait.modalities.audio.layers import ConvLayer, zero_behind
from plait.modalities.audio.mel import (
    FLOOR,
    RANGE,
    MelPower,
    frame_of,
    hop_seconds,
    standardise,
)
from plait.modalities.base import Classical, Encoder
from plait.nn.blocks import GruReader, length_mask, strided
from plait.types import State, Tokens, UsageError

REACH = 2  # frames on either side that a difference is made of
LEAST = 0.1  # deviation in decibels that counts as one
PARTS = 5  # of a sound, for its vector
STRIDES = {20: (1, 2), 40: (2, 2)}  # milliseconds of a token -> of the convolutions


@register("audio", "mfcc")
class Mfcc(Sound, Classical):
    """Mel-frequency cepstral coefficients through a small network of convolutions and a GRU."""

    def __init__(
        self,
        *,
        rate: Rate = 16000,
        longest: Longest = 10.0,
        trim: Trim = False,
        bands: Annotated[int, Field(ge=16, le=256, description="mel bands")] = 40,
        coefficients: Annotated[
            int, Field(ge=2, le=256, description="how many of them, from the 0th; at most bands")
        ] = 20,
        differences: Annotated[
            int, Field(ge=0, le=2, description="0, 1: with first, 2: and second differences")
        ] = 2,
        normalise: Annotated[
            bool, Field(description="bring each number to mean 0 and deviation 1 in each sound")
        ] = True,
        token: Token = 40,
        channels: Annotated[int, Field(ge=8, le=1024, description="of the convolutions")] = 96,
        layers: Annotated[int, Field(ge=1, le=4, description="layers of the GRU")] = 1,
        width: Annotated[int, Field(ge=8, le=2048, description="width of a token")] = 128,
        dropout: Annotated[float, Field(ge=0, lt=1, description="dropout")] = 0.2,
        views: Views = 1,
        speed: Speed = SPEED,
        noise: Noise = NOISE,
    ) -> None:
        super().__init__(rate, longest, trim, views, speed, noise)
        if coefficients > bands:
            raise UsageError(
                f"{coefficients} coefficients can't be made of {bands} mel bands",
                expected="as many coefficients as bands at the most",
            )
        self.bands, self.coefficients = bands, coefficients
        self.differences, self.normalise = differences, normalise
        self.channels, self.layers, self.width, self.dropout = channels, layers, width, dropout
        self.token = token
        self.least = frame_of(rate) + 1

    def vectors(self, rows: Sequence[NDArray[Any]], state: State) -> NDArray[np.float32]:
        """(N, 2 · PARTS · coefficients): mean and deviation in each of a few equal parts."""
        return np.stack([_in_parts(row.astype(np.float32)) for row in rows])

    def pace(self, state: State) -> float:
        """As many frames as the strides make one of."""
        return math.prod(STRIDES[self.token]) * hop_seconds(self.rate)

    def encoder(self, state: State, pretrained: bool) -> Encoder:
        """The network; it has no pretrained weights."""
        return MfccEncoder(self)


def _in_parts(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """(L, D) -> (PARTS · 2 · D); parts overlap where there are fewer frames than parts."""
    ends = np.linspace(0, len(frames), PARTS + 1)
    parts = [
        frames[int(first) : max(int(first) + 1, int(last))]
        for first, last in pairwise(ends.tolist())
    ]
    return np.concatenate(
        [part.mean(axis=0) for part in parts] + [part.std(axis=0) for part in parts]
    )


class Cepstrum(nn.Module):
    """(N,) samples -> (L, C · (1 + differences)).

    Davis and Mermelstein 1980 (IEEE TASSP 28): mel bands in decibels, at most 80 below the
    loudest, and the first C numbers of their orthonormal DCT-II. These are librosa's numbers
    (``librosa.feature.mfcc``) for the same frames.
    """

    def __init__(
        self, rate: int, bands: int, coefficients: int, differences: int, normalise: bool
    ) -> None:
        super().__init__()
        self.power = MelPower(rate, bands)
        self.differences, self.normalise = differences, normalise
        self.coefficients = coefficients
        self.cosines: Tensor
        self.register_buffer("cosines", dct_matrix(bands, coefficients), persistent=False)

    def extra_repr(self) -> str:
        """What the numbers depend on; part of the cache's key."""
        return f"{self.coefficients}, differences={self.differences}, normalise={self.normalise}"

    def forward(self, sound: Tensor) -> Tensor:
        """(N,) -> (L, C · (1 + differences))."""
        decibels = 10 * self.power(sound).clamp(min=FLOOR).log10()
        parts = [torch.maximum(decibels, decibels.max() - 10 * RANGE) @ self.cosines]
        for _ in range(self.differences):
            parts.append(slope(parts[-1]))
        frames = torch.cat(parts, dim=1)
        return standardise(frames, LEAST) if self.normalise else frames


def dct_matrix(bands: int, coefficients: int) -> Tensor:
    """(M, C) of the orthonormal DCT-II: √(2/M) cos(π c (m + ½) / M), its first column √(1/M)."""
    places = (torch.arange(bands, dtype=torch.float64) + 0.5) / bands
    angles = math.pi * places[:, None] * torch.arange(coefficients, dtype=torch.float64)
    matrix = math.sqrt(2 / bands) * angles.cos()
    matrix[:, 0] = math.sqrt(1 / bands)
    return matrix.float()


def slope(frames: Tensor) -> Tensor:
    """(L, C) -> (L, C), the slope of the regression line through each frame and two either side.

    Σ n (x[t+n] - x[t-n]) / (2 Σ n²) over n = 1, 2 (Furui 1986, IEEE TASSP 34; the HTK book's
    formula); before the first and after the last frame stand copies of them.
    """
    count = frames.shape[0]
    index = torch.arange(count, device=frames.device)
    steps = range(1, REACH + 1)
    total = sum(
        n * (frames[(index + n).clamp(max=count - 1)] - frames[(index - n).clamp(min=0)])
        for n in steps
    )
    return torch.as_tensor(total) / (2 * sum(n * n for n in steps))


class MfccEncoder(Encoder):
    """(N,) samples -> Tokens (B, L / 4, width) of 40 ms each, or of 20."""

    trunk: Cepstrum

    def __init__(self, sound: Mfcc) -> None:
        super().__init__()
        self.trunk = Cepstrum(
            sound.rate, sound.bands, sound.coefficients, sound.differences, sound.normalise
        )
        # Decibels times √M at the most, the 0th; as bels the others are about -1 to 1.
        self.scale = 1.0 if sound.normalise else 10 * math.sqrt(sound.bands)
        ins = sound.coefficients * (1 + sound.differences)
        strides = STRIDES[sound.token]
        widths = [ins] + [sound.channels] * len(strides)
        self.layers = nn.ModuleList(map(ConvLayer, widths, widths[1:], strides))
        self.drop = nn.Dropout(sound.dropout)
        self.project = nn.Linear(sound.channels, sound.width)
        self.reader = GruReader(sound.width, sound.layers, sound.dropout, 0)
        lengths = torch.tensor([self.trunk.power.frames(sound.most)])
        for stride in strides:
            lengths = strided(lengths, stride)
        self.length, self.width = int(lengths), sound.width

    def prepare(self, items: Sequence[Tensor]) -> list[Tensor]:
        """(N,) samples each -> (L, C · (1 + differences)) frames each."""
        with torch.no_grad():
            return [self.trunk(item) for item in items]

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, L, C · (1 + differences)) -> Tokens (B, L / 4, width)."""
        x = zero_behind(prepared / self.scale, lengths)
        for layer in self.layers:
            x, lengths = layer(x, lengths)
        mask = length_mask(lengths, x.shape[1])
        values = self.reader(self.project(self.drop(x)), mask)
        return Tokens(zero_behind(values, lengths), mask)
