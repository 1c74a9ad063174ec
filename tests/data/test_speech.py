"""Recordings cut at their pauses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from plait.data import speech
from plait.data.speech import pieces
from plait.types import BadCell

RATE = 8000


def recording(*parts: tuple[float, float], seed: int = 0) -> np.ndarray:
    """(seconds, loudness) after each other: a tone with a little noise."""
    rng = np.random.default_rng(seed)
    tones = [
        loud * np.sin(2 * np.pi * 300 * np.arange(round(seconds * RATE)) / RATE)
        for seconds, loud in parts
    ]
    sound = np.concatenate(tones)
    return (sound + rng.normal(size=len(sound)) * 1e-3).astype(np.float32)


def spans(path: Path, longest: float = 10.0) -> list[tuple[float, float]]:
    return [(p.start, p.start + len(p.samples) / RATE) for p in pieces(path, RATE, longest)]


@pytest.mark.parametrize("block", [60.0, 1.7, 0.9])
def test_pauses_part_it_whatever_the_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: float
) -> None:
    monkeypatch.setattr(speech, "BLOCK", block)
    path = tmp_path / "three.wav"
    sound = recording((1, 0), (1, 0.5), (0.2, 0), (0.5, 0.3), (1, 0), (0.8, 0.5), (0.7, 0))
    soundfile.write(path, sound, RATE)
    found = spans(path)
    # A fifth of a second is no pause; 0.15 s of quiet stay on either side.
    assert len(found) == 2
    np.testing.assert_allclose(found, [(0.85, 2.85), (3.55, 4.65)], atol=0.05)
    for piece in pieces(path, RATE, 10.0):
        first = round(piece.start * RATE)
        np.testing.assert_allclose(
            piece.samples, sound[first : first + len(piece.samples)], atol=3e-4
        )


def test_what_has_no_pause_is_cut_where_it_is_softest(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, recording((1.5, 0.5), (0.1, 0.05), (2.9, 0.5)), RATE)
    found = spans(path, 2.0)
    assert found[0][0] == 0
    assert found[-1][1] == pytest.approx(4.5, abs=0.03)
    assert all(end - start <= 2.0 + 1e-6 for start, end in found)
    np.testing.assert_allclose([end for _, end in found[:-1]], [start for start, _ in found[1:]])
    assert 1.49 < found[0][1] < 1.61


def test_silence_has_no_pieces(tmp_path: Path) -> None:
    path = tmp_path / "silence.flac"
    soundfile.write(path, np.zeros(2 * RATE, np.float32), RATE)
    assert spans(path) == []
    empty = tmp_path / "empty.wav"
    soundfile.write(empty, np.zeros(0, np.float32), RATE)
    assert spans(empty) == []


def test_channels_are_averaged_and_rates_changed(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    sound = recording((0.5, 0), (1, 0.5), (0.5, 0))
    soundfile.write(path, np.stack([sound, np.zeros_like(sound)], axis=1), RATE, "PCM_24")
    (found,) = pieces(path, 4000, 10.0)
    assert found.start == pytest.approx(0.35, abs=0.03)
    assert len(found.samples) / 4000 == pytest.approx(1.3, abs=0.05)
    assert np.abs(found.samples).max() == pytest.approx(0.25, abs=0.03)


def test_channels_that_cancel_each_other_are_heard(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    sound = recording((0.5, 0), (1, 0.5), (0.5, 0))
    soundfile.write(path, np.stack([sound, -sound], axis=1), RATE, "PCM_24")
    (found,) = pieces(path, RATE, 10.0)
    assert np.abs(found.samples).max() == pytest.approx(0.5, abs=0.03)


def write_cut(path: Path, share: float, **options: str) -> None:
    """Half a minute, of which a part was copied."""
    soundfile.write(path, recording(*[(1, 0.5), (1, 0)] * 15), RATE, **options)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "OPUS"])
def test_a_file_that_stops_in_the_middle_gives_what_there_is(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    options = {"format": "OGG", "subtype": "OPUS"} if kind == "OPUS" else {"format": kind}
    path = tmp_path / "cut.bin"
    write_cut(path, 1, **options)
    assert len(spans(path)) == 15
    assert caplog.text == capfd.readouterr().err == ""
    write_cut(path, 0.5, **options)
    found = spans(path)
    assert 6 <= len(found) <= 8
    assert found[-1][1] == pytest.approx(15, abs=2.2)
    assert "part2_3_length" not in capfd.readouterr().err  # of mpg123
    (record,) = caplog.records
    assert record.getMessage().startswith("cut.bin stops early, after 1")


def test_a_header_that_was_written_before_its_sound_is_no_cut(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "streamed.wav"
    soundfile.write(path, recording((1, 0.5)), RATE)
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff" * 4
    path.write_bytes(data)
    assert len(spans(path)) == 1
    assert caplog.text == ""


@pytest.mark.parametrize("rate", [RATE, 16000])
def test_a_constant_and_soft_hiss_are_silence(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "quiet.wav"
    rng, step, count = np.random.default_rng(0), 1 / 128, 10 * rate
    for sound, kind in (
        (np.full(count, step), "PCM_U8"),
        (np.full(count, 0.5), "PCM_16"),
        (np.round(rng.normal(size=count)) * step, "PCM_U8"),
        (rng.normal(size=count) * 1e-3, "PCM_16"),
    ):
        soundfile.write(path, sound, rate, kind)
        assert spans(path) == []


def test_what_stands_out_of_hiss_is_heard_however_rare(tmp_path: Path) -> None:
    path = tmp_path / "rare.wav"
    sound = recording((30, 0), (0.5, 0.004), (30, 0))  # 6 decibels above it
    soundfile.write(path, sound, RATE)
    ((begin, end),) = spans(path)
    assert (begin, end) == pytest.approx((29.85, 30.65), abs=0.05)


def test_speech_is_heard_about_a_constant(tmp_path: Path) -> None:
    path = tmp_path / "off.wav"
    soundfile.write(path, recording((1, 0), (1, 0.1), (1, 0)) + 0.3, RATE)
    (found,) = spans(path)
    assert found == pytest.approx((0.85, 2.15), abs=0.05)
    (piece,) = pieces(path, RATE, 10.0)
    assert abs(piece.samples.mean()) < 1e-3


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(BadCell, match="there is no file"):
        spans(tmp_path / "none.wav")
    with pytest.raises(BadCell, match="is a folder"):
        spans(tmp_path)
    with pytest.raises(BadCell, match="can't be read from a pipe; expected a path"):
        spans(Path("-"))
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(BadCell, match=r"text\.wav is damaged or not audio"):
        spans(tmp_path / "text.wav")
    sound = recording((1, 0.5))
    sound[100] = np.nan
    soundfile.write(tmp_path / "nan.wav", sound, RATE, "FLOAT")
    with pytest.raises(BadCell, match=r"nan\.wav has samples that are NaN"):
        spans(tmp_path / "nan.wav")
