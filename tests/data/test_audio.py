from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plait.data.audio import open_sound
from plait.types import BadCell, PlaitError

soundfile = pytest.importorskip("soundfile", reason="needs the extra plait[audio]")


def tone(rate: int, seconds: float = 0.5, channels: int = 1, frequency: float = 400) -> Any:
    angles = 2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate
    return np.repeat(0.5 * np.sin(angles)[:, None], channels, axis=1)


def encode(samples: Any, rate: int, **options: Any) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, **{"format": "WAV"} | options)
    return stream.getvalue()


@pytest.mark.parametrize(
    "options",
    [
        {"subtype": "PCM_U8"}, {"subtype": "PCM_16"}, {"subtype": "PCM_24"}, {"subtype": "FLOAT"},
        {"format": "FLAC"}, {"format": "OGG"}, {"format": "MP3"},
    ],
)  # fmt: skip
def test_every_kind_gives_the_same_tone(options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(encode(tone(16000), 16000, **options))
    found = open_sound("a", tmp_path, 16000)
    assert found.dtype == np.float32
    assert len(found) == pytest.approx(8000, abs=1200)  # MP3 pads
    spectrum = np.abs(np.fft.rfft(found))
    assert spectrum.argmax() * 16000 / len(found) == pytest.approx(400, abs=4)
    assert np.abs(found[2000:6000]).max() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("rate", [6000, 8000, 44100, 96000])
def test_other_rates_are_resampled(rate: int) -> None:
    found = open_sound(encode(tone(rate), rate), Path(), 16000)
    assert len(found) == 8000
    middle = slice(1000, -1000)
    np.testing.assert_allclose(found[middle], tone(16000)[middle, 0], atol=0.02)


def test_channels_are_averaged() -> None:
    both = tone(8000, channels=2)
    both[:, 1] = 0  # a dead one
    found = open_sound(encode(both, 8000), Path(), 8000)
    np.testing.assert_allclose(found, tone(8000)[:, 0] / 2, atol=1e-3)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"no sound at all", "damaged or no sound"),
        (encode(tone(8000), 8000)[:20], "damaged or no sound"),
        (encode(np.zeros((0, 1)), 8000), "no samples"),
        (encode(tone(8000, 0.1, channels=32), 8000), "32 channels"),
        (encode(tone(8000, 36_000 / 100)[:1], 8000), None),
        (encode(np.full((80, 1), np.nan), 8000, subtype="FLOAT"), "no numbers"),
        (encode(np.zeros((2_000_000, 1)), 1000), "2,000 seconds long"),
        (encode(np.zeros((10, 1)), 100), "100 samples a second"),
    ],
    ids=["empty", "text", "cut", "nothing", "channels", "one", "nan", "long", "slow"],
)  # fmt: skip
def test_a_bad_sound_is_one_clear_line(data: bytes, words: str | None, tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(data)
    if words is None:
        assert len(open_sound("bad.wav", tmp_path, 8000)) == 1
        return
    with pytest.raises(BadCell, match=words) as error:
        open_sound("bad.wav", tmp_path, 8000)
    assert "bad.wav" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_sound_that_stops_in_the_middle_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = encode(tone(8000), 8000)
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    assert 1500 < len(open_sound("cut.wav", tmp_path, 8000)) < 2500


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    with pytest.raises(PlaitError, match=r"pip install 'plait\[audio\]'"):
        open_sound(b"x", Path(), 8000)
