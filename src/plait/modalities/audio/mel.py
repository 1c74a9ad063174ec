"""Log-mel frames of a sound.

Shapes: N samples, L frames, F frequencies, M mel bands.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

FLOOR = 1e-10  # of a band's power
RANGE = 8.0  # powers of ten below the loudest band that are kept
LEAST = 0.0025  # deviation of log-mel frames that counts as one: a tenth of a decibel
LINEAR_TO, STEP = 1000.0, 200 / 3  # Slaney's scale: hertz a mel below 1 kHz, logarithmic above
HOPS = 100  # a second
RATIO = np.log(6.4) / 27


def hertz_to_mel(hertz: np.ndarray) -> np.ndarray:
    """Slaney's Auditory Toolbox (1998), the scale of librosa and Whisper."""
    linear = hertz / STEP
    with np.errstate(divide="ignore"):
        above = LINEAR_TO / STEP + np.log(np.maximum(hertz, 1e-9) / LINEAR_TO) / RATIO
    return np.where(hertz < LINEAR_TO, linear, above)


def mel_to_hertz(mels: np.ndarray) -> np.ndarray:
    """The inverse of `hertz_to_mel`."""
    above = LINEAR_TO * np.exp(RATIO * (mels - LINEAR_TO / STEP))
    return np.where(mels < LINEAR_TO / STEP, mels * STEP, above)


def hop_seconds(rate: int) -> float:
    """From one frame of `MelPower` to the next: 10 ms, in whole samples."""
    return rate // HOPS / rate


def mel_filters(rate: int, size: int, bands: int) -> np.ndarray:
    """(F, M) triangles from 0 to half the rate, each of area 1 over the hertz it spans.

    Args:
        rate: samples a second.
        size: samples of a frame; F = size // 2 + 1.
        bands: M.
    """
    frequencies = np.linspace(0, rate / 2, size // 2 + 1)
    corners = mel_to_hertz(np.linspace(0, hertz_to_mel(np.array(rate / 2)), bands + 2))
    rising = (frequencies[:, None] - corners[:-2]) / np.diff(corners)[:-1]
    falling = (corners[2:] - frequencies[:, None]) / np.diff(corners)[1:]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return triangles * (2 / (corners[2:] - corners[:-2]))


def standardise(frames: Tensor, least: float) -> Tensor:
    """(L, C) -> (L, C), each column with mean 0 and deviation 1 over the frames.

    Known as cepstral mean and variance normalisation: what is the same throughout a sound, such
    as its loudness or the microphone's colouring, is taken away. A deviation below ``least``
    counts as that, so that a constant column becomes zeros.
    """
    centred = frames - frames.mean(dim=0)
    return centred / centred.square().mean(dim=0).sqrt().clamp(min=least)


def frame_of(rate: int) -> int:
    """Samples of a frame of 25 ms."""
    return rate // 40


class MelPower(nn.Module):
    """(N,) samples -> (L, M) power of mel bands; L = N // hop + 1.

    Hann windows of 25 ms, one each 10 ms, the sound reflected at its ends.
    """

    def __init__(self, rate: int, bands: int) -> None:
        super().__init__()
        self.rate, self.bands = rate, bands
        self.size, self.hop = frame_of(rate), rate // HOPS
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
        """As `_power`, without complex numbers, for which exported graphs have none: the cosines
        and sines of every frequency are the kernels."""
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
