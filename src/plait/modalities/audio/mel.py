"""Mel scale and filters, and spectrograms of a sound in numpy.

Shapes: N samples, L frames, F frequencies, M mel bands.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

LINEAR_TO, STEP = 1000.0, 200 / 3  # Slaney's scale: hertz a mel below 1 kHz, logarithmic above
RATIO = np.log(6.4) / 27
HOPS = 100  # frames a second


def mel_edges(rate: int, bands: int) -> Floats:
    """(bands + 1,) hertz between bands that are equally wide in mel, from 0 to half the rate, which
    is above 1 kHz: the scale of Slaney's Auditory Toolbox (1998), librosa and Whisper."""
    corner = LINEAR_TO / STEP
    mels = np.linspace(0, corner + np.log(rate / 2 / LINEAR_TO) / RATIO, bands + 1)
    return np.where(mels < corner, mels * STEP, LINEAR_TO * np.exp(RATIO * (mels - corner)))


def mel_filters(rate: int, size: int, bands: int) -> Floats:
    """(F, M) triangles from 0 to half the rate, each of area 1 over the hertz it spans.

    Args:
        rate: samples a second.
        size: samples of a frame; F = size // 2 + 1.
        bands: M.
    """
    frequencies = np.linspace(0, rate / 2, size // 2 + 1)
    corners = mel_edges(rate, bands + 1)
    rising = (frequencies[:, None] - corners[:-2]) / np.diff(corners)[:-1]
    falling = (corners[2:] - frequencies[:, None]) / np.diff(corners)[1:]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return triangles * (2 / (corners[2:] - corners[:-2]))


def frame_samples(rate: int) -> int:
    """Samples of a frame of 25 ms."""
    return rate // 40


def hop_seconds(rate: int) -> float:
    """From one frame to the next: 10 ms, in whole samples."""
    return rate // HOPS / rate


def spectrum(sound: Floats, window: int, hop: int) -> NDArray[np.complex128]:
    """(N,) -> (F, L) by short-time Fourier transform: Hann windows, silence at both ends."""
    padded = np.pad(sound, (window // 2, window // 2 + hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    return np.fft.rfft(frames * _hann(window), axis=1).T


def sound_of(values: NDArray[np.complex128], window: int, hop: int, samples: int) -> Floats:
    """The inverse of `spectrum`: (F, L) -> (N,), N ``samples``, frames overlapped and added
    (Griffin and Lim 1984, IEEE TASSP 32)."""
    frames = np.fft.irfft(values.T, n=window, axis=1) * _hann(window)
    sound = np.zeros(window + hop * (len(frames) - 1))
    weight = np.zeros_like(sound)
    for start, frame in zip(range(0, len(sound), hop), frames, strict=False):
        sound[start : start + window] += frame
        weight[start : start + window] += _hann(window) ** 2
    whole: Floats = sound / np.maximum(weight, 1e-9)
    return whole[window // 2 : window // 2 + samples]


def _hann(window: int) -> Floats:
    """Periodic, as `torch.hann_window`."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
