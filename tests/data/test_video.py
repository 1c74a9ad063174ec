from __future__ import annotations

import io
import wave
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import av, film, scene, shades
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from plait.data import video
from plait.data.cells import MediaInfo
from plait.data.video import clip_content, clip_info, find_scenes, open_frames, spread
from plait.types import BadCell, PlaitError

KINDS = [
    ("mp4", "libx264", "yuv420p"), ("mp4", "mpeg4", "yuv420p"), ("mov", "mjpeg", "yuvj420p"),
    ("avi", "mjpeg", "yuvj420p"), ("avi", "mpeg4", "yuv420p"), ("webm", "libvpx", "yuv420p"),
    ("webm", "libvpx-vp9", "yuv420p"), ("matroska", "ffv1", "yuv420p"),
    ("matroska", "libx264", "yuv420p"), ("gif", "gif", "gray"), ("mpegts", "mpeg2video", "yuv420p"),
]  # fmt: skip


def opened(cell: Any, count: int, root: Path = Path(), size: int = 16) -> Any:
    return open_frames(cell, root, count, size, "squash")


def picture(folder: Path, name: str, shade: int) -> None:
    Image.new("RGB", (20, 20), (shade,) * 3).save(folder / name)


def test_frames_are_the_middles_of_equal_parts() -> None:
    assert spread(10, 5) == [1, 3, 5, 7, 9]
    assert spread(30, 4) == [3, 11, 18, 26]  # the middles are 3.75, 11.25, 18.75, 26.25
    assert spread(7, 1) == [3]
    assert spread(3, 8) == [0, 1, 2]


@given(st.integers(1, 2000), st.integers(1, 300))
def test_no_frame_is_taken_twice(total: int, count: int) -> None:
    places = spread(total, count)
    assert len(places) == min(total, count) == len(set(places))
    assert places == sorted(places)
    assert 0 <= places[0] <= places[-1] < total
    assert places[0] == pytest.approx(total - 1 - places[-1], abs=1)  # as far from both ends


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind[:2]))
def test_every_kind_gives_the_frames_asked_for(kind: tuple[str, str, str], tmp_path: Path) -> None:
    (tmp_path / "clip").write_bytes(film(shades(30), *kind))
    found = opened("clip", 5, tmp_path)
    assert found.shape == (5, 16, 16, 3)
    assert found.dtype == np.uint8
    expected = [8 * at for at in spread(30, 5)]
    np.testing.assert_allclose(found.mean(axis=(1, 2, 3)), expected, atol=3)
    assert len(opened("clip", 100, tmp_path)) == 30


def test_colours_and_places_stay() -> None:
    frame = np.zeros((32, 64, 3), np.uint8)
    frame[:16, :32] = 255, 0, 0  # top left red
    frame[16:, 32:] = 0, 0, 255
    data = film([frame] * 2, "matroska", "ffv1", "bgr0")
    found = open_frames(data, Path(), 1, 32, "squash")[0]
    assert found[4, 4].tolist() == [255, 0, 0]
    assert found[28, 28].tolist() == [0, 0, 255]
    middle = open_frames(data, Path(), 1, 32, "crop")[0]  # columns 16 to 48
    assert middle[4, 12].tolist() == [255, 0, 0]
    assert middle[4, 20].tolist() == [0, 0, 0]


def test_a_clip_filmed_on_end_is_turned_upright() -> None:
    frame = np.zeros((32, 32, 3), np.uint8)
    frame[:16, :16] = 255
    data = film([frame] * 2, "mp4", "mpeg4", "yuv420p")
    one, none = (1 << 16).to_bytes(4, "big"), bytes(4)
    minus = (-1 << 16).to_bytes(4, "big", signed=True)
    straight = one + none * 3 + one
    at = data.index(straight, data.index(b"tkhd"))  # the track's matrix: now a quarter right
    turned = data[:at] + none + one + none + minus + none + data[at + len(straight) :]
    assert opened(data, 1)[0, 4, 4].mean() > 200
    assert opened(turned, 1)[0, 4, 11].mean() > 200
    assert opened(turned, 1)[0, 4, 4].mean() < 50


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[4], KINDS[5], KINDS[7]], ids=lambda k: k[1])
def test_jumping_gives_the_same_frames(
    kind: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    frames = [np.full((32, 32, 3), shade, np.uint8) for shade in rng.integers(0, 255, 90)]
    data = film(frames, *kind, g="10")
    monkeypatch.setattr(video, "SKIP", 10_000)
    straight = opened(data, 4)
    monkeypatch.setattr(video, "SKIP", 0)
    np.testing.assert_array_equal(opened(data, 4), straight)


def test_long_clips_are_not_decoded_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    data = film(shades(1000, 0, 16), "mp4", "mpeg4", "yuv420p")  # a key frame each 12
    monkeypatch.setattr(video, "MAX_DECODED", 60)
    assert len(opened(data, 4)) == 4
    monkeypatch.setattr(video, "SKIP", 10_000)
    with pytest.raises(BadCell, match="more than 60 frames decoded"):
        opened(data, 4)


# --- folders ---


def test_a_folder_of_frames_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    for number in range(1, 13):
        picture(folder, f"frame_{number}.png", 10 * number)
    picture(folder, ".hidden.png", 255)
    (folder / "notes.txt").write_text("no frame")
    found = opened("clip", 6, tmp_path).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(found, [10 * (at + 1) for at in spread(12, 6)], atol=1)
    assert len(opened("clip", 50, tmp_path)) == 12


def test_a_folder_s_content_changes_with_every_frame_and_name(tmp_path: Path) -> None:
    seen = []
    for change in range(4):
        folder = tmp_path / str(change)
        folder.mkdir()
        for number in range(3):
            picture(folder, f"{number}.png", 50 + (change == 1) * (number == 2))
        if change == 2:
            (folder / "1.png").rename(folder / "3.png")
        seen.append(clip_content(str(change), tmp_path))
    assert seen[3] == seen[0]
    assert len(set(seen)) == 3


@pytest.mark.parametrize("names", [[], ["notes.txt"]])
def test_a_folder_without_frames_is_one_clear_line(names: list[str], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).write_text("x")
    for read in (lambda: opened(str(tmp_path), 2), lambda: clip_content(tmp_path, Path())):
        with pytest.raises(BadCell, match="contains no images"):
            read()


def test_a_broken_frame_is_named(tmp_path: Path) -> None:
    picture(tmp_path, "1.png", 5)
    (tmp_path / "2.png").write_bytes(b"no picture")
    with pytest.raises(BadCell, match=r"2\.png is not an image"):
        opened(tmp_path, 2)


# --- bad files ---


def song() -> bytes:
    """A WAV file."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(4000))
    return stream.getvalue()


def sound_in_mp4(cover: bool = False) -> bytes:
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as file:
        track = file.add_stream("aac", rate=8000)
        picture = None
        if cover:
            picture = file.add_stream("mjpeg", rate=1)
            picture.width = picture.height = 16
            picture.pix_fmt = "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        samples.sample_rate = 8000
        file.mux(track.encode(samples))
        file.mux(track.encode())
        if picture:
            frame = av.VideoFrame.from_ndarray(shades(1, side=16)[0], format="rgb24")
            file.mux([*picture.encode(frame), *picture.encode()])
    return stream.getvalue()


def header() -> bytes:
    """An AVI file without a frame."""
    stream = io.BytesIO()
    with av.open(stream, "w", format="avi") as file:
        track = file.add_stream("mjpeg", rate=10)
        track.width, track.height, track.pix_fmt = 16, 16, "yuvj420p"
        file.start_encoding()
    return stream.getvalue()


def cut(container: str, codec: str, pixels: str) -> bytes:
    data = film(shades(30), container, codec, pixels)
    return data[: len(data) * 2 // 3]


BAD = {
    "empty": (b"", r"empty \(0 bytes\)"),
    "text": (b"no video at all", "damaged or not a video"),
    "playlist": (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n", "damaged or no"),
    "wav": (song(), "damaged or not a video"),
    "m4a": (sound_in_mp4(), "contains no video, only audio"),
    "cover": (sound_in_mp4(cover=True), "contains no video, only audio and image"),
    "nothing": (header(), "no frames"),
    "mp4": (cut("mp4", "libx264", "yuv420p"), "damaged or not a video|contains no video;"),
    "avi": (cut("avi", "mjpeg", "yuvj420p"), "damaged|truncated"),
    "webm": (cut("webm", "libvpx", "yuv420p"), "truncated"),
    "mkv": (cut("matroska", "ffv1", "yuv420p"), "damaged|truncated"),
    "gif": (cut("gif", "gif", "gray"), "damaged|truncated"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_clear_line(name: str, tmp_path: Path) -> None:
    data, words = BAD[name]
    (tmp_path / "bad.mp4").write_bytes(data)
    with pytest.raises(BadCell, match=words) as error:
        opened("bad.mp4", 4, tmp_path)
    assert "bad.mp4" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("limit", "most", "words"),
    [
        ("MAX_SECONDS", 2.0, "3 seconds long"),
        ("MAX_PIXELS", 1000, "32 x 32 pixels"),
        ("MAX_FRAMES", 20, "more than 20 frames"),
    ],
)
def test_limits(limit: str, most: float, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, limit, most)
    with pytest.raises(BadCell, match=words):
        opened(film(shades(30)), 4)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_broken_bytes_give_frames_or_a_bad_cell(data: st.DataObject) -> None:
    whole = bytearray(data.draw(st.sampled_from(WHOLE)))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with suppress(BadCell):  # anything else is a failure
        assert opened(bytes(whole), 3).shape[1:] == (16, 16, 3)


WHOLE = [film(shades(6), *KINDS[n]) for n in (0, 3, 5, 9)]


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(PlaitError, match=r"pip install 'plait\[video\]'"):
        opened(b"x", 1)


@pytest.mark.parametrize(
    ("container", "muxing"),
    [("mpegts", {"output_ts_offset": "3600"}), ("matroska", {"live": "1"})],
)
def test_a_clip_is_as_long_as_its_packets_say(container: str, muxing: dict[str, str]) -> None:
    """One that begins an hour late, as cut from a broadcast, and one whose header says nothing."""
    clip = film(shades(20), container, "mpeg2video", "yuv420p", muxing)
    with av.open(io.BytesIO(clip)) as file:
        late = (file.start_time or 0) > 3_000_000_000
        assert late if container == "mpegts" else not file.duration
    assert clip_info(clip, Path()).seconds == pytest.approx(2, abs=0.3)


def test_a_clip_s_extent_is_told_by_its_header(tmp_path: Path) -> None:
    found = clip_info(film(shades(20)), Path())
    assert found.pixels == 32 * 32
    assert found.seconds == pytest.approx(20 / 10, rel=0.2)
    picture(tmp_path, "1.png", 9)
    assert clip_info(str(tmp_path), Path()) == MediaInfo()
    with pytest.raises(BadCell, match="damaged or not a video"):
        clip_info(b"none", Path())


def scenes(cell: Any, root: Path = Path(), **how: Any) -> list[Any]:
    return list(find_scenes(cell, root, 64, **how))


def test_scenes_end_at_cuts() -> None:
    lengths = [25, 14, 18]
    frames = [frame for seed, count in enumerate(lengths) for frame in scene(seed, count)]
    found = scenes(film(frames, "mp4", "libx264", "yuv420p"))
    times = [(round(s.start, 2), round(s.end, 2)) for s in found]
    assert times == [(0.0, 2.5), (2.5, 3.9), (3.9, 5.7)]
    starts = np.cumsum([0, *lengths])
    for number, shown in enumerate(found):
        own = frames[starts[number] : starts[number + 1]]
        assert len(shown.frames) == 3
        assert shown.frames[0].shape == (48, 64, 3)
        places = [
            int(np.argmin([np.abs(frame.astype(int) - other).mean() for other in frames]))
            for frame in shown.frames
        ]
        assert places == sorted(set(places))
        assert starts[number] <= places[0] < starts[number] + len(own) / 2 < places[-1]
        assert places[-1] < starts[number + 1]


def test_a_film_without_a_cut_is_one_scene() -> None:
    for frames in (scene(1, 40), [scene(1, 1)[0]] * 40, scene(1, 1)):
        (found,) = scenes(film(frames, "mp4", "libx264", "yuv420p"))
        assert found.start == 0
        assert found.end == pytest.approx(len(frames) / 10)
        assert len(found.frames) == min(3, len(frames))


def test_scenes_between_cuts_after_a_long_one_have_frames() -> None:
    """Where only some frames of the long scene were kept, none of them after the cut."""
    lengths = [41, 3, 3, 3]
    frames = [frame for seed, count in enumerate(lengths) for frame in scene(seed, count)]
    found = scenes(film(frames, "mp4", "libx264", "yuv420p", rate=2))
    assert [s.start for s in found] == [0, 20.5, 22, 23.5]
    assert [len(s.frames) for s in found] == [3, 3, 3, 3]
    for shown, start in zip(found, np.cumsum([0, *lengths]), strict=False):
        places = [
            int(np.argmin([np.abs(frame.astype(int) - other).mean() for other in frames]))
            for frame in shown.frames
        ]
        assert start <= places[0] < places[1] < places[2]


def test_frames_of_scenes_are_no_larger_than_asked() -> None:
    (found,) = scenes(film(scene(1, 12, (320, 160))))
    assert {frame.shape for frame in found.frames} == {(32, 64, 3)}


def test_a_change_of_light_is_not_a_cut() -> None:
    fading = [(frame * (1 - at / 80)).astype(np.uint8) for at, frame in enumerate(scene(2, 60))]
    assert len(scenes(film(fading, "mp4", "libx264", "yuv420p"))) == 1


def test_few_frames_of_a_long_scene_are_held() -> None:
    (found,) = scenes(film(scene(3, 300, (400, 400)), "mp4", "mpeg4", "yuv420p"))
    assert len(found.frames) == 3
    assert found.end == pytest.approx(30)


def test_scenes_report_how_far_they_are(tmp_path: Path) -> None:
    said: list[tuple[str, int, int]] = []
    (tmp_path / "a.mp4").write_bytes(film(scene(1, 20), "mp4", "libx264", "yuv420p"))
    scenes("a.mp4", tmp_path, progress=lambda *state: said.append(state))
    assert said[0] == ("frames of a.mp4", 1, 20)
    assert said[-1] == ("frames of a.mp4", 20, 20)


@pytest.mark.parametrize("data", [b"", b"hello", film(scene(1, 20))[:4000]])
def test_scenes_of_damaged_films_are_refused(data: bytes) -> None:
    with pytest.raises(BadCell):
        scenes(data)
