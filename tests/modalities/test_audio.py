from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tensors import as_row, pad_rows

from plait.config import registry
from plait.config.recipe import check_recipe
from plait.modalities.audio.base import Sound
from plait.modalities.audio.mfcc import Mfcc
from plait.modalities.audio.spectrogram import Spectrogram
from plait.modalities.audio.waveform import Waveform, token_strides
from plait.modalities.base import Modality
from plait.nn.base import Encoder
from plait.types import UsageError

soxr = pytest.importorskip("soxr", reason="needs the extra plait[audio]")

TINY: dict[str, dict[str, Any]] = {
    "spectrogram": {"bands": 20, "channels": 8, "width": 8},
    "waveform": {"channels": 8, "width": 8},
    "mfcc": {"bands": 20, "coefficients": 12, "channels": 8, "width": 8},
}


def tone(seconds: float, rate: int = 8000, frequency: float = 500) -> torch.Tensor:
    angles = 2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate
    return torch.from_numpy(0.5 * np.sin(angles)).float()


def pitch(sound: torch.Tensor, rate: int = 8000) -> float:
    spectrum = np.abs(np.fft.rfft(sound.numpy() * np.hanning(len(sound))))
    return float(spectrum.argmax() * rate / len(sound))


def encoded(encoder: Encoder, items: list[torch.Tensor]) -> Any:
    rows = [as_row(features) for features in encoder.prepare(items)]
    return encoder(*pad_rows(rows, rows[0]))


@pytest.mark.parametrize("name", TINY)
def test_a_blink_and_nine_seconds_in_one_batch(name: str) -> None:
    modality: Modality = registry.build("audio", {"kind": name, "rate": 8000, **TINY[name]})
    torch.manual_seed(0)
    encoder = modality.encoder(True).eval()
    sounds = [tone(0.02), tone(9)]
    together = encoded(encoder, sounds)
    counts = together.mask.sum(1).tolist()
    assert 1 <= counts[0] <= 2
    assert 9 / 0.041 <= counts[1] <= encoder.length
    for sound, count, values in zip(sounds, counts, together.values, strict=True):
        alone = encoded(encoder, [sound])
        assert alone.values.shape[1] == count
        torch.testing.assert_close(alone.values[0], values[:count], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rate", [4000, 8000, 11025, 16000, 22050, 44100, 48000])
def test_a_token_of_a_waveform_is_20_to_40_ms(rate: int) -> None:
    assert 0.02 <= np.prod(token_strides(rate)) / rate <= 0.04


@pytest.mark.parametrize("kind", ["spectrogram", "mfcc"])
def test_a_token_is_20_or_40_ms(kind: str) -> None:
    for token in (20, 40):
        modality = registry.build("audio", {"kind": kind, "rate": 8000, "token": token})
        encoder = modality.encoder(True).eval()
        mask = encoded(encoder, [tone(2.0)]).mask
        assert int(mask.sum()) == pytest.approx(2000 / token, abs=1)


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("rate", [8000, 11025])
def test_the_pace_is_that_of_the_tokens(name: str, rate: int) -> None:
    modality = registry.build("audio", {"kind": name, "rate": rate, **TINY[name]})
    assert isinstance(modality, Sound)
    encoder = modality.encoder(True).eval()
    counts = [int(encoded(encoder, [tone(seconds, rate)]).mask.sum()) for seconds in (1, 9)]
    pace = modality.pace()
    assert abs((counts[1] - counts[0]) - 8 / pace) <= 1  # of hundreds


def test_a_waveform_is_the_same_however_loud() -> None:
    sound = torch.randn(4000, generator=torch.Generator().manual_seed(0)) * 0.1 + 0.02
    for normalise in (True, False):
        encoder = Waveform(rate=8000, normalise=normalise).encoder(True).eval()
        soft, loud = (encoded(encoder, [sound * gain]).values for gain in (0.2, 2.0))
        assert torch.allclose(soft, loud, atol=1e-2) == normalise


def test_standardised_frames_are_the_same_whatever_the_microphone() -> None:
    sound = torch.randn(8000, generator=torch.Generator().manual_seed(0))
    encoder = Spectrogram(rate=8000, normalise=True).encoder(True)
    first, second = encoder.prepare([sound, sound * 0.1])
    torch.testing.assert_close(first, second, atol=1e-3, rtol=0)
    torch.testing.assert_close(first.mean(0), torch.zeros(64), atol=1e-4, rtol=0)
    torch.testing.assert_close(first.std(0, unbiased=False), torch.ones(64), atol=1e-3, rtol=0)


# Views ----------------------------------------------------------------------------------------


def views(sound: Sound, item: torch.Tensor, count: int = 30) -> list[torch.Tensor]:
    changed = [sound.augment(item.numpy(), view, 7) for view in range(1, count + 1)]
    return [torch.from_numpy(view) for view in changed]


def test_pitch_and_pace_change_together() -> None:
    item = tone(1)
    found = views(Spectrogram(rate=8000, max_seconds=2, speed=0.2, noise=(60, 60)), item)
    factors = [len(item) / len(view) for view in found]
    assert 0.8 <= min(factors) < 0.9 < 1.1 < max(factors) <= 1.2
    for view, factor in zip(found, factors, strict=True):
        assert pitch(view) == pytest.approx(500 * factor, abs=2)


def test_a_slower_view_is_cut_to_the_longest() -> None:
    found = views(Spectrogram(rate=8000, max_seconds=1, speed=0.2), tone(1))
    assert max(map(len, found)) == 8000
    assert min(map(len, found)) < 7500


def test_without_speed_a_view_is_as_long_as_the_sound() -> None:
    assert {len(view) for view in views(Mfcc(rate=8000, speed=0), tone(0.1))} == {800}


def test_noise_keeps_to_its_range() -> None:
    item = tone(1)
    for view in views(Mfcc(rate=8000, speed=0, noise=(10, 20)), item):
        gain = float(view @ item / (item @ item))
        noise = view - gain * item
        ratio = 10 * np.log10(float((gain * item).square().mean() / noise.square().mean()))
        assert 9.5 <= ratio <= 20.5
        assert 0.49 <= gain <= 2.01  # 6 dB


@pytest.mark.parametrize("samples", [1, 2, 7])
def test_views_of_next_to_nothing(samples: int) -> None:
    for view in views(Waveform(rate=8000, speed=0.5), torch.ones(samples)):
        assert len(view) >= 1
        assert bool(torch.isfinite(view).all())


def test_what_the_views_are_names_the_cache() -> None:
    names = {
        Mfcc(**settings).fingerprint()
        for settings in ({}, {"speed": 0.2}, {"noise": (0, 10)}, {"rate": 8000}, {"trim": True})
    }
    assert len(names) == 5


# The recipe -----------------------------------------------------------------------------------


def recipe(**representation: Any) -> dict[str, Any]:
    return {
        "name": "test",
        "inputs": {"audio": {"modality": "audio", "representation": representation}},
        "outputs": {"digit": {"kind": "category"}},
    }


def test_settings_in_a_recipe() -> None:
    checked = check_recipe(recipe(kind="waveform", speed=0.2, noise=[0, 20]))
    assert check_recipe(checked.model_dump(mode="json")) == checked
    built = registry.build("audio", checked.inputs["audio"].representation)
    assert (built.speed, built.noise) == (0.2, (0, 20))
    with pytest.raises(UsageError, match="speed"):
        check_recipe(recipe(kind="mfcc", speed=0.9))
    with pytest.raises(UsageError, match="noise"):
        check_recipe(recipe(kind="spectrogram", noise=[5]))


def test_more_coefficients_than_bands_are_refused() -> None:
    with pytest.raises(ValidationError, match="30 coefficients can't be made of 20 mel bands"):
        Mfcc(bands=20, coefficients=30)
    with pytest.raises(UsageError, match="representation: 30 coefficients can't be made"):
        check_recipe(recipe(kind="mfcc", bands=20, coefficients=30))


def test_a_sound_is_cut_to_the_longest(tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "a.wav", tone(1).numpy(), 8000)
    assert len(Mfcc(rate=8000, max_seconds=0.25).read("a.wav", tmp_path)) == 2000
