"""`spectrogram`: log-mel frames through a small convolutional network, then read in order."""

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
    ReaderDropout,
    ReaderLayers,
    Sound,
    Speed,
    Token,
    Trim,
    Views,
)
from plait.modalities.audio.mel import LogMel, frame_of, hop_seconds
from plait.modalities.base import Encoder
from plait.nn.blocks import Reader, length_mask, make_reader, strided
from plait.types import State, Tokens

TIME_STRIDES = {20: (1, 2, 1, 1), 40: (1, 2, 1, 2)}  # milliseconds of a token -> of the layers
BAND_STRIDES = (2, 2, 2, 2)


@register("audio", "spectrogram")
class Spectrogram(Sound):
    """Log-mel frames through convolutions, then read in order (GRU, CNN or transformer).

    A frame is 25 ms long, one begins each 10 ms."""

    def __init__(
        self,
        *,
        rate: Rate = 16000,
        longest: Longest = 10.0,
        trim: Trim = False,
        bands: Annotated[int, Field(ge=16, le=256, description="mel bands")] = 64,
        channels: Annotated[int, Field(ge=4, le=512, description="of the last layer")] = 64,
        token: Token = 40,
        width: Annotated[int, Field(ge=8, le=2048, description="width of a token")] = 128,
        reader: Annotated[Reader, Field(description="gru, cnn or transformer")] = "gru",
        layers: ReaderLayers = 1,
        dropout: ReaderDropout = 0.0,
        normalise: Annotated[
            bool, Field(description="bring each band to mean 0 and deviation 1 in each sound")
        ] = True,
        mask_bands: Annotated[
            int, Field(ge=0, description="bands hidden at the most while learning (SpecAugment)")
        ] = 8,
        mask_frames: Annotated[
            int, Field(ge=0, description="frames hidden at the most while learning (SpecAugment)")
        ] = 10,
        views: Views = 1,
        speed: Speed = SPEED,
        noise: Noise = NOISE,
    ) -> None:
        super().__init__(rate, longest, trim, views, speed, noise)
        self.bands, self.channels, self.width = bands, channels, width
        self.mask_bands, self.mask_frames = mask_bands, mask_frames
        self.normalise, self.token = normalise, token
        self.least = frame_of(rate) + 1
        self.reader, self.layers, self.dropout = reader, layers, dropout

    def pace(self, state: State) -> float:
        """As many frames as the strides make one of."""
        return math.prod(TIME_STRIDES[self.token]) * hop_seconds(self.rate)

    def encoder(self, state: State, pretrained: bool) -> Encoder:
        """The network; it has no pretrained weights."""
        return SpectrogramEncoder(self)


class SpectrogramEncoder(Encoder):
    """(N,) samples -> Tokens (B, L / 4, width) of 40 ms each, or of 20."""

    trunk: LogMel

    def __init__(self, sound: Spectrogram) -> None:
        super().__init__()
        self.trunk = LogMel(sound.rate, sound.bands, sound.normalise)
        self.mask_bands, self.mask_frames = sound.mask_bands, sound.mask_frames
        frames, bands = self.trunk.frames(sound.most), sound.bands
        self.strides = TIME_STRIDES[sound.token]
        widths = [1, *(max(4, sound.channels >> shift) for shift in (2, 1, 1, 0))]
        self.layers = nn.ModuleList(
            nn.Conv2d(ins, outs, 3, strides, padding=1)
            for ins, outs, strides in zip(
                widths, widths[1:], zip(self.strides, BAND_STRIDES, strict=True), strict=False
            )
        )
        self.norms = nn.ModuleList(nn.LayerNorm(outs) for outs in widths[1:])
        for time, band in zip(self.strides, BAND_STRIDES, strict=True):
            frames, bands = -(-frames // time), -(-bands // band)
        self.length, self.width = frames, sound.width
        self.project = nn.Linear(widths[-1] * bands, sound.width)
        self.drop = nn.Dropout(sound.dropout)
        self.reader = make_reader(
            sound.reader, sound.width, sound.layers, sound.dropout, self.length
        )

    def prepare(self, items: Sequence[Tensor]) -> list[Tensor]:
        """(N,) samples each -> (L, M) log-mel frames each."""
        with torch.no_grad():
            return [self.trunk(item) for item in items]

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, L, M) -> Tokens (B, L / 4, width)."""
        x = self._hidden_in_part(prepared)[:, None]  # (B, 1, L, M)
        mask = length_mask(lengths, x.shape[2])
        x = torch.where(mask[:, None, :, None], x, 0.0)
        for layer, norm, stride in zip(self.layers, self.norms, self.strides, strict=True):
            x = norm(layer(x).transpose(1, 3)).transpose(1, 3)  # over the channels
            lengths = strided(lengths, stride)
            mask = length_mask(lengths, x.shape[2])
            # Zeros behind each record, so that its end looks the same in any batch.
            x = torch.where(mask[:, None, :, None], nn.functional.gelu(x), 0.0)
        values = self.drop(self.project(x.transpose(1, 2).flatten(2)))  # (B, L', C · M')
        values = self.reader(values, mask)
        return Tokens(torch.where(mask[..., None], values, 0.0), mask)

    def _hidden_in_part(self, frames: Tensor) -> Tensor:
        """While learning, some bands and some frames in a row are hidden (Park et al. 2019,
        SpecAugment, arXiv:1904.08779)."""
        if not self.training:
            return frames
        hidden = _stretch(frames.shape[:2], self.mask_frames, frames.device)[..., None]
        hidden = hidden | _stretch(frames.shape[::2], self.mask_bands, frames.device)[:, None]
        return frames.masked_fill(hidden, 0.0)


def _stretch(shape: Sequence[int], most: int, device: torch.device) -> Tensor:
    """(B, L) bool, True in a stretch of 0 to ``most`` places of each row."""
    rows, places = shape
    size = torch.randint(0, most + 1, (rows, 1), device=device)
    start = (torch.rand(rows, 1, device=device) * (places - size).clamp(min=0)).long()
    at = torch.arange(places, device=device)
    return (at >= start) & (at < start + size)
