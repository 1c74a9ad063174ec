"""Frames of a sound that nothing is learned for: mel power, log-mel, cepstral coefficients.

Shapes: N samples, L frames, F frequencies, M mel bands, C coefficients.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from plait.modalities.audio.mel import HOPS, frame_samples, mel_filters

FLOOR = 1e-10  # of a band's power
RANGE = 8.0  # powers of ten below the loudest band that are kept
LEAST = 0.0025  # deviation of log-mel frames that counts as one: a tenth of a decibel
LEAST_DECIBELS = 0.1  # the same of cepstral coefficients
LEAST_SAMPLE = 1e-4  # the same of samples: silence stays silent
REACH = 2  # frames on either side that a difference is made of


def standardise(frames: Tensor, least: float) -> Tensor:
    """(L, C) -> (L, C), each column with mean 0 and deviation 1 over the frames.

    Known as cepstral mean and variance normalisation: what is the same throughout a sound, such
    as its loudness or the microphone's colouring, is taken away. A deviation below ``least``
    counts as that, so that a constant column becomes zeros.
    """
    centred = frames - frames.mean(dim=0)
    return centred / centred.square().mean(dim=0).sqrt().clamp(min=least)


class Level(nn.Module):
    """(N,) samples -> (N,), with mean 0 and deviation 1."""

    def forward(self, sound: Tensor) -> Tensor:
        """(N,) -> (N,)."""
        return standardise(sound, LEAST_SAMPLE)


class MelPower(nn.Module):
    """(N,) samples -> (L, M) power of mel bands; L = N // hop + 1.

    Hann windows of 25 ms, one each 10 ms, the sound reflected at its ends.
    """

    def __init__(self, rate: int, bands: int) -> None:
        super().__init__()
        self.rate, self.bands = rate, bands
        self.size, self.hop = frame_samples(rate), rate // HOPS
        self.window: Tensor
        self.filters: Tensor
        self.register_buffer("window", torch.hann_window(self.size), persistent=False)
        filters = torch.from_numpy(mel_filters(rate, self.size, bands)).float()
        self.register_buffer("filters", filters, persistent=False)

    def extra_repr(self) -> str:
        """What the frames depend on; part of the cache's key."""
        return f"rate={self.rate}, bands={self.bands}"

    def frames(self, samples: int) -> int:
        """L of so many samples."""
        return max(samples, self.size + 1) // self.hop + 1

    def forward(self, sound: Tensor) -> Tensor:
        """(N,) -> (L, M)."""
        if sound.shape[0] <= self.size:  # the window's reflection needs that many samples
            sound = nn.functional.pad(sound, (0, self.size + 1 - sound.shape[0]))
        power = self._by_convolution if torch.onnx.is_in_onnx_export() else self._power
        return power(sound).T @ self.filters  # (L, M)

    def _power(self, sound: Tensor) -> Tensor:
        """(N,) -> (F, L)."""
        spectrum = torch.stft(sound, self.size, self.hop, window=self.window, return_complex=True)
        return spectrum.abs().square()

    def _by_convolution(self, sound: Tensor) -> Tensor:
        """As `_power`, without complex numbers, which exported graphs lack: the cosines and sines
        of every frequency are the kernels."""
        turns = torch.arange(self.size // 2 + 1)[:, None] * torch.arange(self.size) % self.size
        angles = turns * (2 * torch.pi / self.size)  # (F, size)
        kernels = torch.cat([angles.cos(), angles.sin()]) * self.window  # (2F, size)
        edge = self.size // 2
        around = nn.functional.pad(sound[None, None], (edge, edge), mode="reflect")
        waves = nn.functional.conv1d(around, kernels[:, None], stride=self.hop)[0]  # (2F, L)
        cosines, sines = waves.square().chunk(2)
        return cosines + sines


class LogMel(MelPower):
    """(N,) samples -> (L, M) log-mel frames, about -1 to 1, or standardised.

    Power of mel bands, logarithm, at most 8 powers of ten below the loudest, scaled as Whisper
    does (Radford et al. 2022, arXiv:2212.04356).
    """

    def __init__(self, rate: int, bands: int, normalise: bool = False) -> None:
        super().__init__(rate, bands)
        self.normalise = normalise

    def extra_repr(self) -> str:
        """As of `MelPower`, and whether each band is standardised."""
        return f"{super().extra_repr()}, normalise={self.normalise}"

    def forward(self, sound: Tensor) -> Tensor:
        """(N,) -> (L, M)."""
        logs = super().forward(sound).clamp(min=FLOOR).log10()
        frames = (torch.maximum(logs, logs.max() - RANGE) + 4) / 4
        return standardise(frames, LEAST) if self.normalise else frames


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
        return standardise(frames, LEAST_DECIBELS) if self.normalise else frames


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
