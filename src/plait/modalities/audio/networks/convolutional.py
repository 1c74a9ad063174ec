"""The networks that learn from scratch: of `spectrogram`, `mfcc` and `waveform`.

Shapes: B records, N samples, L frames, M mel bands, T tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from plait.modalities.audio.mfcc import STRIDES, Mfcc
from plait.modalities.audio.networks.features import Cepstrum, Level, LogMel
from plait.modalities.audio.networks.layers import ConvLayer, zero_behind
from plait.modalities.audio.spectrogram import TIME_STRIDES, Spectrogram
from plait.modalities.audio.waveform import Waveform, token_strides
from plait.nn.base import Encoder
from plait.nn.blocks import GruReader, length_mask, make_reader, strided
from plait.types import Tokens

BAND_STRIDES = (2, 2, 2, 2)


def tokens_of(count: int, strides: Sequence[int]) -> int:
    """How many tokens convolutions of these strides make of so many frames or samples."""
    for stride in strides:
        count = -(-count // stride)
    return count


class SpectrogramEncoder(Encoder):
    """(N,) samples -> Tokens (B, L / 4, width) of 40 ms each, or of 20."""

    trunk: LogMel

    def __init__(self, sound: Spectrogram, pretrained: bool) -> None:
        super().__init__()
        self.trunk = LogMel(sound.rate, sound.bands, sound.normalise)
        self.mask_bands, self.mask_frames = sound.mask_bands, sound.mask_frames
        self.strides = TIME_STRIDES[sound.token]
        widths = [1, *(max(4, sound.channels >> shift) for shift in (2, 1, 1, 0))]
        self.layers = nn.ModuleList(
            nn.Conv2d(ins, outs, 3, strides, padding=1)
            for ins, outs, strides in zip(
                widths, widths[1:], zip(self.strides, BAND_STRIDES, strict=True), strict=False
            )
        )
        self.norms = nn.ModuleList(nn.LayerNorm(outs) for outs in widths[1:])
        self.length = tokens_of(self.trunk.frames(sound.max_samples), self.strides)
        self.width = sound.width
        self.project = nn.Linear(widths[-1] * tokens_of(sound.bands, BAND_STRIDES), sound.width)
        self.drop = nn.Dropout(sound.dropout)
        self.reader = make_reader(
            sound.sequence_encoder, sound.width, sound.layers, sound.dropout, self.length
        )

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, L, M) -> Tokens (B, L / 4, width)."""
        x = self._masked(prepared)[:, None]  # (B, 1, L, M)
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

    def _masked(self, frames: Tensor) -> Tensor:
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


class MfccEncoder(Encoder):
    """(N,) samples -> Tokens (B, L / 4, width) of 40 ms each, or of 20."""

    trunk: Cepstrum

    def __init__(self, sound: Mfcc, pretrained: bool) -> None:
        super().__init__()
        self.trunk = Cepstrum(
            sound.rate, sound.bands, sound.coefficients, sound.differences, sound.normalise
        )
        # The 0th coefficient may reach decibels times √M; as bels the others are about -1 to 1.
        self.scale = 1.0 if sound.normalise else 10 * math.sqrt(sound.bands)
        strides = STRIDES[sound.token]
        ins = sound.coefficients * (1 + sound.differences)
        widths = [ins] + [sound.channels] * len(strides)
        self.layers = nn.ModuleList(map(ConvLayer, widths, widths[1:], strides))
        self.drop = nn.Dropout(sound.dropout)
        self.project = nn.Linear(sound.channels, sound.width)
        self.reader = GruReader(sound.width, sound.layers, sound.dropout, 0)
        self.length = tokens_of(self.trunk.power.frames(sound.max_samples), strides)
        self.width = sound.width

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, L, C · (1 + differences)) -> Tokens (B, L / 4, width)."""
        x = zero_behind(prepared / self.scale, lengths)
        for layer in self.layers:
            x, lengths = layer(x, lengths)
        mask = length_mask(lengths, x.shape[1])
        values = self.reader(self.project(self.drop(x)), mask)
        return Tokens(zero_behind(values, lengths), mask)


class WaveformEncoder(Encoder):
    """(N,) samples -> Tokens (B, T, width) of 20 to 40 ms each."""

    def __init__(self, sound: Waveform, pretrained: bool) -> None:
        super().__init__()
        self.trunk = Level() if sound.normalise else nn.Identity()
        self.strides = token_strides(sound.rate)
        halvings = range(len(self.strides) - 1, -1, -1)
        widths = [1, *(max(8, sound.channels >> shift) for shift in halvings)]
        self.layers = nn.ModuleList(map(ConvLayer, widths, widths[1:], self.strides))
        self.context = nn.ModuleList(ConvLayer(widths[-1], widths[-1]) for _ in range(sound.layers))
        self.drop = nn.Dropout(sound.dropout)
        self.project = nn.Linear(widths[-1], sound.width)
        self.length, self.width = tokens_of(sound.max_samples, self.strides), sound.width

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
