"""Mel filters and log-mel frames against transformers' audio functions (librosa's numbers)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from plait.modalities.audio.base import mel_filters
from plait.modalities.audio.networks import LogMel

audio = pytest.importorskip("transformers.audio_utils", reason="needs the extra plait[hub]")


@pytest.mark.parametrize(("rate", "size", "bands"), [(16000, 400, 80), (8000, 200, 40)])
def test_mel_filters(rate: int, size: int, bands: int) -> None:
    expected = audio.mel_filter_bank(
        size // 2 + 1, bands, 0.0, rate / 2, rate, norm="slaney", mel_scale="slaney"
    )
    np.testing.assert_allclose(mel_filters(rate, size, bands), expected, atol=1e-7)


def test_log_mel_frames() -> None:
    rng = np.random.default_rng(0)
    sound = (rng.normal(0, 0.1, 8000) * np.linspace(0, 1, 8000)).astype(np.float32)
    power = audio.spectrogram(
        sound, audio.window_function(400, "hann"), 400, 160, power=2.0, center=True,
        mel_filters=mel_filters(16000, 400, 80),
    )  # fmt: skip
    logs = np.log10(np.maximum(power, 1e-10))
    expected = (np.maximum(logs, logs.max() - 8) + 4) / 4
    found = LogMel(16000, 80)(torch.from_numpy(sound))
    assert found.shape == (51, 80)
    np.testing.assert_allclose(found.numpy().T, expected, atol=1e-4)


def test_a_sound_shorter_than_a_window_has_frames() -> None:
    assert LogMel(16000, 80)(torch.zeros(1)).shape == (3, 80)
