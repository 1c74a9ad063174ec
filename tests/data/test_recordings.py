"""Sound out of any container, and what files tell of samples that are missing."""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import film, shades
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.data.audio import count_seconds, open_sound
from plait.data.recordings import SOUND, Recording, open_recording
from plait.data.video import VIDEO
from plait.types import BadCell

av = pytest.importorskip("av", reason="needs the extra plait[video]")
soundfile = pytest.importorskip("soundfile", reason="needs the extra plait[audio]")
pytest.importorskip("soxr", reason="needs the extra plait[audio]")

slow_to_start = settings(deadline=None, max_examples=25)


def tone(seconds: float, rate: int, hertz: float = 400) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def by_soundfile(seconds: float, rate: int, kind: str, subtype: str | None = None) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, tone(seconds, rate), rate, format=kind, subtype=subtype)
    return stream.getvalue()


def by_pyav(seconds: float, rate: int, kind: str, codec: str, video: str = "", **o: str) -> bytes:
    """A tone in a container, below black frames if there is a codec for them."""
    stream = io.BytesIO()
    with av.open(stream, "w", format=kind, container_options=o) as file:
        frames = file.add_stream(video, rate=10) if video else None
        track = file.add_stream(codec, rate=rate)
        track.layout = "mono"
        if frames is not None:
            frames.width = frames.height = 32
            frames.pix_fmt = "yuv420p"
            for shade in shades(round(10 * seconds), 1):
                file.mux(frames.encode(av.VideoFrame.from_ndarray(shade, format="rgb24")))
            file.mux(frames.encode())
        size = track.codec_context.frame_size or 1024
        resampler = av.AudioResampler(track.format.name, "mono", rate, frame_size=size)
        values = (tone(seconds, rate) * 32767).astype(np.int16)[None]
        sound = av.AudioFrame.from_ndarray(values, format="s16", layout="mono")
        sound.sample_rate, sound.pts = rate, 0
        for part in [*resampler.resample(sound), *resampler.resample(None)]:
            file.mux(track.encode(part))
        file.mux(track.encode())
    return stream.getvalue()


STREAM = "frag_keyframe+empty_moov"
CONTAINERS: dict[str, Callable[[float], bytes]] = {
    "m4a": lambda s: by_pyav(s, 44100, "ipod", "aac"),
    "m4a of a stream": lambda s: by_pyav(s, 44100, "mp4", "aac", movflags=STREAM),
    "alac": lambda s: by_pyav(s, 44100, "mov", "alac"),
    "mp4": lambda s: by_pyav(s, 44100, "mp4", "aac", video="mpeg4"),
    "mov": lambda s: by_pyav(s, 48000, "mov", "pcm_s16le", video="mpeg4"),
    "3gp": lambda s: by_pyav(s, 16000, "3gp", "aac"),
    "webm": lambda s: by_pyav(s, 48000, "webm", "libopus"),
    "mkv": lambda s: by_pyav(s, 48000, "matroska", "aac", video="mpeg4"),
    "aac": lambda s: by_pyav(s, 16000, "adts", "aac"),
    "avi": lambda s: by_pyav(s, 44100, "avi", "mp3", video="mpeg4"),
    "flv": lambda s: by_pyav(s, 44100, "flv", "aac", video="flv"),
    "ts": lambda s: by_pyav(s, 44100, "mpegts", "aac", video="mpeg2video"),
    "mp2": lambda s: by_pyav(s, 44100, "mp2", "mp2"),
    "ac3": lambda s: by_pyav(s, 44100, "ac3", "ac3"),
    "wavpack": lambda s: by_pyav(s, 44100, "wv", "wavpack"),
    "flac in ogg": lambda s: by_pyav(s, 44100, "ogg", "flac"),
}  # fmt: skip
ANY_PART = {"ts", "mp2", "ac3"}
"""Streams that tell neither how long they are nor where they end."""


def heard(data: bytes) -> tuple[Recording, int]:
    """The closed recording, and its number of samples."""
    with open_recording(io.BytesIO(data), "a file") as recording:
        count = sum(len(block) for block in recording.blocks(1000))
        early = recording.stops_early(count)
    recording.stops_early = lambda count: early  # type: ignore[method-assign]
    return recording, count


@pytest.mark.parametrize("name", CONTAINERS)
def test_sound_of_every_container(name: str, tmp_path: Path) -> None:
    (tmp_path / "sound").write_bytes(CONTAINERS[name](1.0))
    found = open_sound("sound", tmp_path, 16000)
    assert found.dtype == np.float32
    assert len(found) == pytest.approx(16000, abs=1500)  # encoders pad
    middle = found[4000:12000]
    spectrum = np.abs(np.fft.rfft(middle))
    assert spectrum.argmax() * 16000 / len(middle) == pytest.approx(400, abs=4)
    assert np.abs(middle).max() == pytest.approx(0.5, abs=0.06)
    assert count_seconds("sound", tmp_path) == pytest.approx(1, abs=0.15)


WHOLE: dict[str, Callable[[float], bytes]] = CONTAINERS | {
    "vorbis": lambda s: by_soundfile(s, 16000, "OGG", "VORBIS"),
    "opus": lambda s: by_soundfile(s, 16000, "OGG", "OPUS"),
    "opus of ffmpeg": lambda s: by_pyav(s, 48000, "ogg", "libopus"),
    "wav": lambda s: by_soundfile(s, 16000, "WAV"),
    "flac": lambda s: by_soundfile(s, 16000, "FLAC"),
    "mp3": lambda s: by_soundfile(s, 44100, "MP3"),
    "aiff": lambda s: by_soundfile(s, 16000, "AIFF"),
    "au": lambda s: by_soundfile(s, 16000, "AU"),
    "caf": lambda s: by_soundfile(s, 16000, "CAF"),
    "two vorbis": lambda s: 2 * by_soundfile(s, 16000, "OGG", "VORBIS"),
    "two rates": lambda s: by_soundfile(s, 16000, "OGG") + by_soundfile(s, 8000, "OGG"),
}


@slow_to_start
@given(name=st.sampled_from(sorted(WHOLE)), seconds=st.floats(0.3, 4))
def test_a_whole_file_is_not_said_to_stop_early(name: str, seconds: float) -> None:
    recording, count = heard(WHOLE[name](seconds))
    assert not recording.stops_early(count)
    assert count / recording.rate == pytest.approx(seconds * (1 + name.startswith("two")), abs=0.15)


@slow_to_start
@given(
    name=st.sampled_from(sorted(set(WHOLE) - ANY_PART - {"caf", "two vorbis", "two rates"})),
    seconds=st.floats(2, 4),
    share=st.floats(0.2, 0.93),
)
def test_a_cut_file_is_refused_or_said_to_stop_early(
    name: str, seconds: float, share: float
) -> None:
    whole = WHOLE[name](seconds)
    try:
        recording, count = heard(whole[: int(share * len(whole))])
    except BadCell:
        return
    assert recording.stops_early(count)


@pytest.mark.parametrize("behind", [b"\0" * 3000, b"TAG" + b"\0" * 125])
@pytest.mark.parametrize("name", ["vorbis", "opus", "mp3", "wav", "flac", "aac"])
def test_what_follows_the_last_sample_is_no_damage(name: str, behind: bytes) -> None:
    recording, count = heard(WHOLE[name](1.0) + behind)
    assert not recording.stops_early(count)
    assert count / recording.rate == pytest.approx(1, abs=0.15)


def test_every_part_of_a_chain_is_heard() -> None:
    first, second = by_soundfile(1, 16000, "OGG"), by_soundfile(2, 8000, "OGG")
    for data, seconds in ((first + second, 3.0), (second + first, 3.0), (first + second[:-9], 1.0)):
        recording, count = heard(data)
        assert count / recording.rate == pytest.approx(seconds, abs=0.01)
        assert recording.stops_early(count) == (seconds == 1.0)
    assert count_seconds(first + second, Path()) == pytest.approx(3)


def test_a_flac_that_does_not_know_its_length_is_read() -> None:
    data = bytearray(by_soundfile(1, 16000, "FLAC"))
    data[21:26] = bytes([data[21] & 0xF0, 0, 0, 0, 0])
    assert count_seconds(bytes(data), Path()) == 1.0
    assert len(open_sound(bytes(data), Path(), 16000)) == 16000


def test_a_stream_that_says_too_little_is_not_read_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plait.data.audio.MAX_SECONDS", 2.0)
    data = bytearray(by_pyav(3, 44100, "matroska", "pcm_s16le"))
    at = data.index(b"\x44\x89\x88") + 3  # the duration: an element of 8 bytes
    data[at : at + 8] = struct.pack(">d", 1000.0)
    with pytest.raises(BadCell, match=r"is \d seconds long; expected at most 2 seconds"):
        open_sound(bytes(data), Path(), 8000)


def test_damage_in_the_middle_is_told(tmp_path: Path) -> None:
    data = bytearray(by_pyav(3, 16000, "adts", "aac"))
    middle = len(data) // 2
    data[middle : middle + 900] = b"\xff\xf1" * 450
    (tmp_path / "a.aac").write_bytes(data)
    with pytest.raises(BadCell, match=r"a\.aac is damaged"):
        open_sound("a.aac", tmp_path, 16000)


def test_a_video_without_sound_says_so(tmp_path: Path) -> None:
    (tmp_path / "silent.mp4").write_bytes(film(shades(5), "mp4", "mpeg4", "yuv420p"))
    with pytest.raises(BadCell, match=r"silent\.mp4 has no sound track"):
        open_sound("silent.mp4", tmp_path, 16000)


@pytest.mark.parametrize("name", ["m4a", "mp4", "webm", "aac", "avi"])
def test_without_the_extra_it_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = CONTAINERS[name](0.3)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(BadCell, match=r"is not WAV, .* pip install 'plait\[video\]'"):
        open_sound(data, Path(), 16000)


def test_what_is_no_sound_is_damaged_with_and_without_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (av, None):
        monkeypatch.setitem(sys.modules, "av", module)
        for data in (b"text", b"RIFF1234WAVEjunk", b"OggS" + b"junk" * 20, b"\xff\xfb\x90junk"):
            with pytest.raises(BadCell, match="damaged or not audio"):
                open_sound(data, Path(), 8000)


STARTS = [b"", b"OggS", b"\0\0\0\x18ftypM4A ", b"\x1a\x45\xdf\xa3", b"\xff\xf1", b"#!AMR\n"]


@slow_to_start
@given(data=st.binary(min_size=1, max_size=400), start=st.sampled_from(STARTS))
def test_any_bytes_are_a_sound_or_a_bad_cell(data: bytes, start: bytes) -> None:
    with suppress(BadCell):
        open_sound(start + data, Path(), 8000)


def test_sounds_and_videos_are_told_apart() -> None:
    for name in ("m4a", "aac", "flac in ogg", "wavpack"):
        assert SOUND.is_certain(CONTAINERS[name](0.3))
        assert not VIDEO.is_certain(CONTAINERS[name](0.3))
    for name in ("mp4", "mkv", "avi"):
        assert VIDEO.is_certain(CONTAINERS[name](0.3))
        assert not SOUND.is_certain(CONTAINERS[name](0.3))
    assert all(map(SOUND.is_certain, ("memo.M4A", "call.amr", "a.opus", "b.aac", "c.wma")))
    assert not SOUND.is_certain("talk.mp4")
    assert not VIDEO.is_certain(b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic")


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    """FFmpeg's formats that name more files are not read at all."""
    (tmp_path / "a.wav").write_bytes(by_soundfile(1, 8000, "WAV"))
    for text in ("#EXTM3U\n#EXTINF:1,\na.wav\n", "ffconcat version 1.0\nfile a.wav\n"):
        (tmp_path / "list.m4a").write_text(text)
        with pytest.raises(BadCell, match="damaged or not audio"):
            open_sound("list.m4a", tmp_path, 8000)


def unopened(path: Any) -> None:
    raise PermissionError(13, "Permission denied")


def test_a_file_that_must_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "open", lambda self, mode: unopened(self))
    with (
        pytest.raises(BadCell, match="Permission denied"),
        open_recording(tmp_path / "a.wav", "a.wav"),
    ):
        pass
