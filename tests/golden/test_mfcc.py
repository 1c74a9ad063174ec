"""MFCCs against transformers' spectrogram in decibels, SciPy's DCT and its Savitzky-Golay filter.

Together these are librosa's ``feature.mfcc`` (Slaney's mel scale, ``power_to_db`` with a range of
80 dB, orthonormal DCT-II) over frames that are reflected at the ends.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.signal import savgol_filter

from plait.modalities.audio.networks import Cepstrum, dct_matrix, slope, standardise

audio = pytest.importorskip("transformers.audio_utils", reason="needs the extra plait[hub]")


def cepstrum(sound: NDArray[np.float32], rate: int, bands: int, count: int) -> NDArray[np.float64]:
    size, hop = rate // 40, rate // 100
    filters = audio.mel_filter_bank(
        size // 2 + 1, bands, 0.0, rate / 2, rate, norm="slaney", mel_scale="slaney"
    )
    decibels = audio.spectrogram(
        sound, audio.window_function(size, "hann"), size, hop, power=2.0, mel_filters=filters,
        log_mel="dB", db_range=80.0,
    )  # fmt: skip
    return dct(decibels.T, type=2, norm="ortho", axis=1)[:, :count]


def noise(rate: int) -> NDArray[np.float32]:
    fading = np.linspace(0, 1, rate // 2) ** 8  # more than 80 dB
    return (np.random.default_rng(0).normal(0, 0.1, rate // 2) * fading).astype(np.float32)


@pytest.mark.parametrize(("rate", "bands", "count"), [(16000, 40, 20), (8000, 32, 13)])
def test_mfcc(rate: int, bands: int, count: int) -> None:
    expected = cepstrum(noise(rate), rate, bands, count)
    found = Cepstrum(rate, bands, count, 0, False)(torch.from_numpy(noise(rate)))
    assert found.shape == (51, count)
    np.testing.assert_allclose(found.numpy(), expected, atol=5e-3)  # of numbers up to 500


def test_differences_and_normalisation() -> None:
    plain = cepstrum(noise(8000), 8000, 32, 13)
    # A line through five frames: its slope is the regression formula over two either side.
    first = savgol_filter(plain, 5, 1, deriv=1, axis=0, mode="nearest")
    second = savgol_filter(first, 5, 1, deriv=1, axis=0, mode="nearest")
    expected = np.concatenate([plain, first, second], axis=1)
    sound = torch.from_numpy(noise(8000))
    found = Cepstrum(8000, 32, 13, 2, False)(sound)
    np.testing.assert_allclose(found.numpy(), expected, atol=5e-3)
    expected = (expected - expected.mean(axis=0)) / expected.std(axis=0)
    found = Cepstrum(8000, 32, 13, 2, True)(sound)
    np.testing.assert_allclose(found.numpy(), expected, atol=5e-3)


def test_the_matrix_is_scipy_s() -> None:
    expected = dct(np.eye(40), type=2, norm="ortho", axis=1)[:, :13]
    np.testing.assert_allclose(dct_matrix(40, 13).numpy(), expected, atol=1e-6)


def test_slopes_by_hand() -> None:
    found = slope(torch.tensor([[0.0], [1.0], [4.0], [9.0]]))
    # Frame 1, with the first and the last frame copied: (1 · (4 - 0) + 2 · (9 - 0)) / 10.
    assert found[1].item() == pytest.approx(2.2)
    assert found[0].item() == pytest.approx((1 * (1 - 0) + 2 * (4 - 0)) / 10)
    assert slope(torch.ones(1, 3)).tolist() == [[0, 0, 0]]


def test_what_never_changes_becomes_zeros() -> None:
    assert standardise(torch.full((4, 2), 7.0), 0.1).tolist() == [[0, 0]] * 4
    assert Cepstrum(8000, 32, 13, 2, True)(torch.zeros(1)).abs().max() < 1e-3
