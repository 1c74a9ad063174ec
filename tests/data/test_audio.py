from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plait.data.audio import count_seconds, open_sound
from plait.data.recordings import SOUND
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


def test_channels_that_cancel_each_other_are_heard() -> None:
    both = tone(8000, channels=2) * [0.9, -1]  # a wire the wrong way round
    both += np.random.default_rng(0).normal(size=both.shape) * 1e-3
    found = open_sound(encode(both, 8000), Path(), 8000)
    np.testing.assert_allclose(found, both[:, 1], atol=1e-3)
    with np.errstate(all="raise"):
        silence = open_sound(encode(np.zeros((800, 2)), 8000), Path(), 8000)
    assert not silence.any()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"no sound at all", "damaged or not audio"),
        (encode(tone(8000), 8000)[:20], "damaged or not audio"),
        (encode(np.zeros((0, 1)), 8000), "no samples"),
        (encode(tone(8000, 0.1, channels=32), 8000), "32 channels"),
        (encode(tone(8000, 36_000 / 100)[:1], 8000), None),
        (encode(np.full((80, 1), np.nan), 8000, subtype="FLOAT"), "samples that are NaN"),
        (encode(np.zeros((2_000_000, 1)), 1000), "2,000 seconds long"),
        (encode(np.zeros((10, 1)), 100), "100 samples per second"),
        (encode(np.full((80, 1), 1e30), 8000, subtype="FLOAT"), "far too large"),
        (encode(tone(48000)[:1], 48000), "is too short: 1 samples"),
        (encode(tone(8000), 8000, format="MP3")[:40], "damaged or not audio"),
    ],
    ids=["empty", "text", "cut", "nothing", "channels", "one", "nan", "long", "slow", "loud", "few",
         "mp3"],
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


TEN_HOURS = 36_000


def flac_of_ten_hours() -> bytes:
    """A tenth of a second whose header claims ten hours; the count is 36 bits after the rate."""
    data = bytearray(encode(tone(8000, 0.1), 8000, format="FLAC"))
    count = TEN_HOURS * 8000
    data[21] = data[21] & 0xF0 | count >> 32
    data[22:26] = (count & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(data)


def mp3_of_ten_hours() -> bytes:
    """The same; the Xing header counts frames, here of 576 samples each."""
    data = bytearray(encode(tone(8000), 8000, format="MP3"))
    at = max(data.find(b"Xing"), data.find(b"Info")) + 8
    data[at : at + 4] = (TEN_HOURS * 8000 // 576 + 1).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize("make", [flac_of_ten_hours, mp3_of_ten_hours])
def test_a_header_of_ten_hours_is_refused_without_decoding(
    make: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: Any, **__: Any) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(soundfile.SoundFile, "read", read)
    with pytest.raises(BadCell, match=r"is 36,0\d\d seconds long; expected at most 1,800"):
        open_sound(make(), Path(), 8000)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_an_mp3_is_known_by_its_start(rate: int) -> None:
    assert SOUND.is_certain(encode(tone(rate), rate, format="MP3"))


@pytest.mark.parametrize(
    "start",
    [b"", b"\xff", b"\xff\xd8\xff\xe0", "text".encode("utf-16"), b"\x89PNG", b"RIFF1234AVI "],
)
def test_what_is_no_sound_is_not_taken_for_one(start: bytes) -> None:
    assert not SOUND.is_certain(start)


def test_a_sound_that_stops_in_the_middle_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = encode(tone(8000), 8000)
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    assert 1500 < len(open_sound("cut.wav", tmp_path, 8000)) < 2500


def test_seconds_are_counted_by_the_header_alone() -> None:
    assert count_seconds(encode(tone(16000, 1.5), 16000), Path()) == 1.5
    with pytest.raises(BadCell, match=r"36,0\d\d seconds"):
        count_seconds(flac_of_ten_hours(), Path())
    with pytest.raises(BadCell, match="damaged or not audio"):
        count_seconds(b"none", Path())


def test_many_channels_of_silence_take_no_more_memory_than_one() -> None:
    """A FLAC file of 8 channels: 20 kB that would be 128 MB of floats at once."""
    data = encode(np.zeros((4_000_000, 8), np.int16), 48000, format="FLAC")
    assert len(data) < 500_000
    open_sound(b"" + data, Path(), 48000)  # libraries are loaded before it counts
    tracemalloc.start()
    found = open_sound(data, Path(), 48000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 4_000_000
    assert peak < 60e6


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    with pytest.raises(PlaitError, match=r"pip install 'plait\[audio\]'"):
        open_sound(b"x", Path(), 8000)
