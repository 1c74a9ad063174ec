"""Safe decoding of video: MP4, MOV, AVI, WebM, MKV and GIF by PyAV, or a folder of frames.

A video is read in three passes, each only as far as needed. The header gives its size and duration.
The packets, which are not decoded, give the times of the frames and the points where decoding can
start. Only then are frames decoded, skipping stretches without a wanted frame; only to find the
scenes of a film, all are.
"""

from __future__ import annotations

import io
import re
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.data.cells import FileKind, MediaInfo, load_bytes
from plait.data.images import (
    IMAGE,
    IMAGE_BRANDS,
    Fit,
    Pixels,
    open_resized,
    open_shown,
    shrunk,
    to_square,
)
from plait.data.paths import find_file, peek
from plait.render.progress import Progress
from plait.types import BadCell
from plait.util.files import digest, is_folder
from plait.util.imports import needed

KINDS = "an MP4, MOV, AVI, WebM, MKV or GIF video, or a folder of images"
VIDEO = FileKind(  # without GIF, which is an image, too
    (".mp4", ".m4v", ".mov", ".avi", ".webm", ".mkv", ".mpg", ".mpeg", ".3gp", ".3g2", ".mts",
     ".m2ts"),
    re.compile(
        rb"(?s)RIFF....AVI |\x1a\x45\xdf\xa3|....(?:moov|mdat"
        rb"|ftyp(?!(?:....){0,60}?(?:" + b"|".join(sorted(IMAGE_BRANDS)) + rb")|M4[ABP] |F4[AB] ))"
    ),
)  # fmt: skip
CONTAINERS = "mov,matroska,avi,gif,mpeg,mpegts"  # other formats may refer to more files

MAX_SECONDS = 4 * 3600.0
MAX_PIXELS = 40_000_000  # per frame; 8K has 33 million
MAX_FRAMES = 1_000_000  # per video
MAX_DECODED = 20_000  # frames decoded per video, including unwanted ones
SKIP = 100  # frames; decoding fewer unwanted ones is faster than seeking
WHOLE = 0.95  # share of the duration that must exist; otherwise the file is truncated

SHORTEST = 1.0  # seconds of a scene
SMALL = 160  # pixels, the width at which frames are compared
FRAMES, MOST_KEPT = 3, 12  # frames of a scene that are shown, and kept until its end is known

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Scene:
    """A part of a video without a cut."""

    start: float  # in seconds, as its end
    end: float
    frames: tuple[Pixels, ...]  # up to three, (H, W, 3) uint8 each, spread over it


def open_frames(cell: str | Path | bytes, root: Path, count: int, size: int, fit: Fit) -> Frames:
    """Frames spread evenly over a video, upright and in RGB: (F, size, size, 3) uint8.

    The video is divided into ``count`` equal parts, and the middle frame of each is taken (Wang et
    al. 2016, arXiv:1608.00859). F is ``count``, or all frames if the video has fewer.

    Args:
        cell: the path (from the folder ``root``) or the bytes of a video, or the path of a folder
            of images: the frames, in the order of their names (``frame_2`` before ``frame_10``).
        count: the number of frames.
        size: pixels per side.
        fit: ``squash`` the whole frame to a square, or ``crop`` its middle.

    Raises:
        BadCell: the video is missing, empty, damaged, truncated, too long or too large, or the
            file is not a video.
    """
    if folder := _folder(cell, root):
        return np.stack([open_resized(path, root, size, fit) for path in _picked(folder, count)])
    data, name = load_bytes(cell, root, KINDS)
    return np.stack(_decode(data, name, count, lambda frame: to_square(frame, size, fit)))


def shown_frames(cell: str | Path | bytes, root: Path, count: int, side: int) -> list[Pixels]:
    """The same frames for people to look at: (H, W, 3) uint8 each, in their own shape, with at most
    ``side`` pixels along the longer side. Raises BadCell as `open_frames` does."""
    if folder := _folder(cell, root):
        return [open_shown(path, root, side) for path in _picked(folder, count)]
    data, name = load_bytes(cell, root, KINDS)
    return _decode(data, name, count, lambda frame: shrunk(frame, side))


def find_scenes(
    cell: str | Path | bytes, root: Path, side: int, progress: Progress | None = None
) -> Iterator[Scene]:
    """The scenes of a video, one after the other, each at least a second long. A cut is where
    frames change much more than just before and after it (PySceneDetect's adaptive detector).

    Args:
        cell: the path (from the folder ``root``) or the bytes of a video.
        side: a frame's longer side has at most this many pixels.
        progress: called with the frames that were looked at, and all of them.

    Raises:
        BadCell: as `open_frames`; scenes before the damage may have been given.
    """
    av = needed("av", "video")
    data, name = load_bytes(cell, root, KINDS)
    try:
        with _open(av, data) as container:
            _check(container, name)
            total = len(_index(container, name)[0])
        with _open(av, data) as container:
            for number, scene in _scenes(container, name, side):
                if progress:
                    progress(f"frames of {name}", min(number, total), total)
                if scene:
                    yield scene
    except (av.FFmpegError, ValueError) as error:
        raise _damaged(name, error) from None


def _scenes(container: Any, name: str, side: int) -> Iterator[tuple[int, Scene | None]]:
    """How many frames were looked at, and the scene that has come to its end, if one has."""
    detection = needed("scenedetect", "video")
    stream, times, start = _stream(container), list[float](), 0
    stream.thread_type = "AUTO"
    rate = float(stream.average_rate or 25)
    detector = needed("scenedetect.detectors", "video").AdaptiveDetector(
        min_scene_len=max(2, round(SHORTEST * rate))
    )
    kept, step = list[tuple[int, Pixels]](), 1  # some frames of the scene, every so many
    # A cut is found a few frames late: all frames since then.
    recent = deque[tuple[int, Any]](maxlen=detector.event_buffer_length + 1)

    def scene(end: float, frames: Sequence[Pixels]) -> Scene:
        shown = tuple(frames[at] for at in spread(len(frames), FRAMES))
        return Scene(times[start] - times[0], end - times[0], shown)

    for number, frame in enumerate(container.decode(stream)):
        times.append(number / rate if frame.time is None else frame.time)
        recent.append((number, frame))
        if (number - start) % step == 0:
            kept.append((number, shrunk(_upright(frame, name), side)))
        if len(kept) > MOST_KEPT:
            kept, step = kept[::2], 2 * step
        low = max(1, round(SMALL * frame.height / frame.width))
        small = frame.reformat(width=SMALL, height=low, format="bgr24").to_ndarray()
        for cut in detector.process_frame(detection.FrameTimecode(number, rate), small):
            at = cut.frame_num  # a few frames ago
            yield number + 1, scene(times[at], [pixels for n, pixels in kept if n < at])
            kept = [(n, shrunk(_upright(f, name), side)) for n, f in recent if n >= at]
            step, start = 1, at
        yield number + 1, None
    if not times:
        raise BadCell(f"{name} has no frame that can be decoded", expected=KINDS)
    yield len(times), scene(times[-1] + 1 / rate, [pixels for _, pixels in kept])


def clip_content(cell: str | Path | bytes, root: Path) -> bytes:
    """The bytes of the file; for a folder, a digest of the names and contents of its images. Raises
    BadCell if nothing can be read."""
    folder = _folder(cell, root)
    if not folder:
        return load_bytes(cell, root, KINDS)[0]
    parts: list[str | bytes] = []
    for name in _images(folder):
        parts += [name, digest(load_bytes(folder / name, root, KINDS)[0])]
    return digest(*parts).encode()


def clip_info(cell: str | Path | bytes, root: Path) -> MediaInfo:
    """Size of a frame as it is coded, before it is rotated upright, and duration: the longer of
    header and packets, as a header may claim less, or nothing. Empty for a folder. Raises BadCell
    if the video is missing or empty, or the file is not a video."""
    if _folder(cell, root):
        return MediaInfo()
    av = needed("av", "video")
    data, name = load_bytes(cell, root, KINDS)
    try:
        with _open(av, data) as container:
            _check(container, name)
            frame = _stream(container).codec_context
            spans = [(start, end) for _, _, start, end in _packets(container)] or [(0.0, 0.0)]
            shown = max(end for _, end in spans) - min(start for start, _ in spans)
            seconds = max((container.duration or 0) / 1e6, shown)
            return MediaInfo(frame.width, frame.height, seconds)
    except (av.FFmpegError, ValueError) as error:
        raise _damaged(name, error) from None


def spread(total: int, count: int) -> list[int]:
    """The middles of ``count`` equal parts of ``total`` positions; all positions if fewer."""
    count = min(total, count)
    return [(2 * part + 1) * total // (2 * count) for part in range(count)]


def is_animation(cell: Any) -> bool:
    """Whether a path or a file's bytes are a GIF, which may be a video or an image."""
    known = peek(cell)
    return known.startswith(b"GIF8") if isinstance(known, bytes) else known.lower().endswith(".gif")


def _folder(cell: Any, root: Path) -> Path | None:
    """The folder that a cell names; None if it names none."""
    if not isinstance(cell, (str, Path)) or not str(cell).strip():
        return None
    found = find_file(cell, root)
    return found if isinstance(found, Path) and is_folder(found) else None


def _picked(folder: Path, count: int) -> list[Path]:
    names = _images(folder)
    return [folder / names[at] for at in spread(len(names), count)]


def _images(folder: Path) -> list[str]:
    """The names of the images in a folder, sorted with numbers by value."""
    try:
        names = [p.name for p in folder.iterdir() if IMAGE.has_suffix(p.name) and p.name[0] != "."]
    except OSError as error:
        raise BadCell(f"{folder} can't be read ({error.strerror})", expected=KINDS) from None
    if not names:
        raise BadCell(f"the folder {folder} contains no images", expected=KINDS)
    if len(names) > MAX_FRAMES:
        what = f"{folder} contains {len(names):,} images"
        raise BadCell(what, expected=f"at most {MAX_FRAMES:,}")

    def by_number(name: str) -> list[Any]:  # a10.png: "a", 10, ".png"
        return [int(x) if at % 2 else x for at, x in enumerate(re.split(r"([0-9]+)", name))]

    return sorted(names, key=by_number)


def _decode(data: bytes, name: str, count: int, scaled: Callable[[Pixels], Pixels]) -> list[Pixels]:
    """At most ``count`` frames, evenly spread, each scaled before the next is decoded."""
    av = needed("av", "video")
    try:
        with _open(av, data) as container:
            _check(container, name)
            times, starts = _index(container, name)
        if data.startswith(b"GIF") and not data.rstrip(b"\0").endswith(b";"):
            raise _truncated(name)
        with _open(av, data) as container:
            wanted = spread(len(times), count)
            decoded = _frames(container, times, starts, wanted, name)
            frames = [scaled(_upright(frame, name)) for frame in decoded]
    except (av.FFmpegError, ValueError) as error:
        raise _damaged(name, error) from None
    if not frames:
        raise BadCell(f"{name} has no frame that can be decoded", expected=KINDS)
    return frames


def _damaged(name: str, error: Exception) -> BadCell:
    why = getattr(error, "strerror", None) or str(error).split("\n", 1)[0]
    what = f"{name} is damaged or not a video ({why[:120]})"
    return BadCell(what, expected=KINDS, hint="get the file again")


def _open(av: Any, data: bytes) -> Any:
    limits = {"format_whitelist": CONTAINERS, "max_pixels": str(MAX_PIXELS)}
    return av.open(io.BytesIO(data), options=limits)


def _stream(container: Any) -> Any:
    """The first video stream; None if there is only a picture, such as the cover of a song."""
    videos = (s for s in container.streams.video if not s.disposition & s.disposition.attached_pic)
    return next(videos, None)


def _check(container: Any, name: str) -> None:
    """Refuse a file whose header shows no video, or too large a one."""
    stream = _stream(container)
    if stream is None:
        kinds = {"image" if s.type == "video" else str(s.type) for s in container.streams}
        others = f", only {' and '.join(sorted(kinds))}" if kinds else ""
        raise BadCell(f"{name} contains no video{others}", expected=KINDS)
    if stream.codec_context is None:
        raise BadCell(f"{name} is in a format that can't be decoded", expected=KINDS)
    _check_size(stream.codec_context, name)
    seconds = (container.duration or 0) / 1e6
    if seconds > MAX_SECONDS:
        limit = f"at most {MAX_SECONDS:,.0f} seconds"
        raise BadCell(
            f"{name} is {seconds:,.0f} seconds long", expected=limit, hint="cut it into pieces"
        )


def _check_size(frame: Any, name: str) -> None:
    if frame.width * frame.height > MAX_PIXELS:
        what = f"{name} has frames of {frame.width:,} x {frame.height:,} pixels"
        raise BadCell(what, expected=f"at most {MAX_PIXELS:,} pixels", hint="scale it down first")


def _packets(container: Any) -> Iterator[tuple[Any, int, float, float]]:
    """The packets that aren't empty; when the content of each is shown, in ticks; and when it
    starts and ends being shown, in seconds. Nothing is decoded."""
    for packet in container.demux():
        tick = packet.dts if packet.pts is None else packet.pts
        if packet.size and tick is not None:
            end = tick + (packet.duration or 0)
            yield packet, tick, float(tick * packet.time_base), float(end * packet.time_base)


def _index(container: Any, name: str) -> tuple[list[int], list[int]]:
    """The times of a video's frames, sorted, and the positions where decoding can start. Raises
    BadCell if there are no frames, too many, or they end long before the duration does."""
    stream, times, starts, last = _stream(container), [], list[float](), 0.0
    for packet, tick, start, end in _packets(container):
        starts.append(start)
        last = max(last, end)
        if packet.stream.index == stream.index:
            times.append((tick, packet.is_keyframe))
            if len(times) > MAX_FRAMES:
                what = f"{name} has more than {MAX_FRAMES:,} frames"
                raise BadCell(what, hint="cut it into pieces")
    if not times:
        raise BadCell(f"{name} has no frames", expected=KINDS, hint="get the file again")
    if last - min(starts) < WHOLE * (container.duration or 0) / 1e6:
        raise _truncated(name)
    times.sort()
    return [t for t, _ in times], [at for at, (_, is_key) in enumerate(times) if is_key]


def _truncated(name: str) -> BadCell:
    what = f"{name} is truncated: it ends too early"
    return BadCell(what, expected=KINDS, hint="get the file again")


def _frames(
    container: Any, times: Sequence[int], starts: Sequence[int], wanted: Sequence[int], name: str
) -> Iterator[Any]:
    """The frames at these positions, in order; skips stretches without a wanted one."""
    stream = _stream(container)
    stream.codec_context.thread_count = 1  # readers are threads already
    frames, at, decoded = container.decode(stream), -1, 0
    for position in wanted:
        start = starts[max(0, bisect_right(starts, position) - 1)] if starts else 0
        if start - at > SKIP:
            container.seek(times[start], stream=stream)
            frames, at = container.decode(stream), start - 1
        for frame in frames:
            decoded += 1
            at = at + 1 if frame.pts is None else bisect_left(times, frame.pts)
            if decoded > MAX_DECODED:
                raise BadCell(
                    f"{name} would need more than {MAX_DECODED:,} frames decoded",
                    hint="cut it into pieces, or encode it with more key frames",
                )
            if at >= position:
                yield frame
                break


def _upright(frame: Any, name: str) -> Pixels:
    """(H, W, 3) uint8, rotated as the camera was held."""
    _check_size(frame, name)
    if frame.is_corrupt:
        raise BadCell(f"{name} is damaged", expected=KINDS, hint="get the file again")
    pixels: Pixels = frame.to_ndarray(format="rgb24")
    return np.rot90(pixels, round(frame.rotation / 90)) if frame.rotation else pixels
