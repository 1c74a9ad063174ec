"""Opening clips safely: MP4, MOV, AVI, WebM, MKV and GIF by PyAV, or a folder of frames.

A clip is gone through three times, each time only as far as needed. The header tells its size and
duration. The packets, which are not decoded, tell when each frame is shown and from where decoding
can start. Only then are frames decoded, and stretches without a wanted one are jumped over.
"""

from __future__ import annotations

import io
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.data.images import Fit, Pixels, has_image_suffix, open_resized, to_square
from plait.data.media import MediaInfo, load_bytes
from plait.types import BadCell
from plait.util.digests import digest
from plait.util.files import is_folder
from plait.util.imports import needed

KINDS = "an MP4, MOV, AVI, WebM, MKV or GIF video, or a folder of pictures"
SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".webm", ".mkv", ".mpg", ".mpeg")
CONTAINERS = "mov,matroska,avi,gif,mpeg,mpegts"  # others may name more files to be opened

MAX_SECONDS = 4 * 3600.0
MAX_PIXELS = 40_000_000  # of a frame; 8K is 33 million
MAX_FRAMES = 1_000_000  # of a clip
MAX_DECODED = 20_000  # frames decoded of a clip, those passed over counted
SKIP = 100  # frames; passing over fewer is quicker than jumping
WHOLE = 0.95  # share of the duration that must be there, else the file is cut short

Frames = NDArray[np.uint8]


def open_frames(cell: str | Path | bytes, root: Path, count: int, size: int, fit: Fit) -> Frames:
    """Frames spread evenly over a clip, upright, in RGB: (F, size, size, 3) uint8.

    The clip is cut into ``count`` equal parts, of which each gives its middle frame (Wang et al.
    2016, arXiv:1608.00859). F is ``count``, or all frames where the clip has fewer.

    Args:
        cell: a path of a video or of a folder of pictures, which are its frames in the order of
            their names (``frame_2`` before ``frame_10``); or the bytes of a video.
        root: the folder in which a relative path is looked up.
        count: how many frames.
        size: pixels a side.
        fit: ``squash`` the whole frame to a square, or ``crop`` its middle.

    Raises:
        BadCell: it is missing, empty, damaged, cut short, too long, too large or no video.
    """
    folder = _folder(cell, root)
    if folder:
        names = _pictures(folder)
        picked = [names[at] for at in spread(len(names), count)]
        return np.stack([open_resized(folder / name, root, size, fit) for name in picked])
    data, name = load_bytes(cell, root, KINDS)
    return np.stack(_decode(data, name, count, lambda frame: to_square(frame, size, fit)))


def clip_content(cell: str | Path | bytes, root: Path) -> bytes:
    """The file; of a folder a digest of the names and contents of its pictures.

    Raises:
        BadCell: there is nothing to be read.
    """
    folder = _folder(cell, root)
    if not folder:
        return load_bytes(cell, root, KINDS)[0]
    parts: list[str | bytes] = []
    for name in _pictures(folder):
        parts += [name, digest(load_bytes(folder / name, root, KINDS)[0])]
    return digest(*parts).encode()


def clip_info(cell: str | Path | bytes, root: Path) -> MediaInfo:
    """Size of a frame as it is coded, before it is turned upright, and the seconds that a clip
    lasts, by its header or its packets, whichever says more: a header may say less, or nothing.
    Nothing of a folder.

    Raises:
        BadCell: it is missing, empty or no video.
    """
    if _folder(cell, root):
        return MediaInfo()
    av = needed("av", "video")
    data, name = load_bytes(cell, root, KINDS)
    try:
        with _open(av, data) as container:
            _check(container, name)
            stream = _stream(container)
            picture = stream.codec_context
            spans = [
                _span(packet, shown)
                for packet in container.demux()
                if (shown := _shown(packet)) is not None
            ]
            first = min((start for start, _ in spans), default=0.0)
            last = max((end for _, end in spans), default=0.0)
            seconds = max((container.duration or 0) / 1e6, last - first)
            return MediaInfo(picture.width, picture.height, seconds)
    except (av.FFmpegError, ValueError) as error:
        raise _damaged(name, error) from None


def spread(total: int, count: int) -> list[int]:
    """The middles of ``count`` equal parts of ``total`` places; all places if they are fewer."""
    count = min(total, count)
    return [(2 * part + 1) * total // (2 * count) for part in range(count)]


def has_video_suffix(name: str) -> bool:
    """Whether a name ends as a video's does, and no picture's."""
    return name.lower().endswith(SUFFIXES)


def has_video_start(data: bytes) -> bool:
    """Whether bytes begin as a video file does, and no picture."""
    avi = data[:4] == b"RIFF" and data[8:12] == b"AVI "
    return avi or data[4:8] in (b"ftyp", b"moov", b"mdat") or data.startswith(b"\x1a\x45\xdf\xa3")


def is_video(cell: Any) -> bool:
    """Whether a cell is a path or a file's bytes that can only be a video's."""
    if isinstance(cell, bytes):
        return has_video_start(cell)
    return isinstance(cell, str) and has_video_suffix(cell)


def is_animation(cell: str | bytes) -> bool:
    """Whether a path or a file's bytes are a GIF, which may be a video or a picture."""
    return cell.startswith(b"GIF8") if isinstance(cell, bytes) else cell.lower().endswith(".gif")


def _folder(cell: Any, root: Path) -> Path | None:
    """The cell's folder, where it names one."""
    if not isinstance(cell, (str, Path)) or not str(cell).strip():
        return None
    return root / cell if is_folder(root / cell) else None


def _pictures(folder: Path) -> list[str]:
    """Names of the pictures in a folder, numbers in them by their size."""
    try:
        names = [p.name for p in folder.iterdir() if has_image_suffix(p.name) and p.name[0] != "."]
    except OSError as error:
        raise BadCell(f"{folder} can't be read ({error.strerror})", expected=KINDS) from None
    if not names:
        raise BadCell(f"the folder {folder} holds no pictures", expected=KINDS)
    if len(names) > MAX_FRAMES:
        raise BadCell(f"{folder} holds {len(names):,} pictures", expected=f"at most {MAX_FRAMES:,}")
    return sorted(names, key=_by_number)


def _by_number(name: str) -> list[Any]:
    """``a10.png`` as ["a", 10, ".png"]: every second part is a number."""
    parts: list[Any] = re.split(r"([0-9]+)", name)
    return [int(part) if at % 2 else part for at, part in enumerate(parts)]


@dataclass(frozen=True)
class _Index:
    """When the frames of a clip are shown, sorted, and the places from which one can decode."""

    times: Sequence[int]
    starts: Sequence[int]

    def start(self, place: int) -> int:
        """The last place up to this one from which one can decode."""
        return self.starts[max(0, bisect_right(self.starts, place) - 1)] if self.starts else 0


def _decode(data: bytes, name: str, count: int, scaled: Callable[[Pixels], Pixels]) -> list[Pixels]:
    """``count`` frames at the most, evenly spread, each scaled before the next is decoded."""
    av = needed("av", "video")
    try:
        with _open(av, data) as container:
            _check(container, name)
            index = _index(container, name)
        if data.startswith(b"GIF") and not data.rstrip(b"\0").endswith(b";"):
            raise _cut_short(name)
        with _open(av, data) as container:
            wanted = spread(len(index.times), count)
            found = _wanted(container, index, wanted, name)
            frames = [scaled(_upright(frame, name)) for frame in found]
    except (av.FFmpegError, ValueError) as error:
        raise _damaged(name, error) from None
    if not frames:
        raise BadCell(f"{name} has no frame that can be decoded", expected=KINDS)
    return frames


def _damaged(name: str, error: Exception) -> BadCell:
    why = getattr(error, "strerror", None) or str(error).split("\n", 1)[0]
    return BadCell(
        f"{name} is damaged or no video ({why[:120]})", expected=KINDS, hint="get it again"
    )


def _open(av: Any, data: bytes) -> Any:
    limits = {"format_whitelist": CONTAINERS, "max_pixels": str(MAX_PIXELS)}
    return av.open(io.BytesIO(data), options=limits)


def _stream(container: Any) -> Any:
    """The first stream of moving pictures; None where there is none, as in a song with a cover."""
    found = (s for s in container.streams.video if not s.disposition & s.disposition.attached_pic)
    return next(found, None)


def _check(container: Any, name: str) -> None:
    """Refuses, by the header, what is no video or too much."""
    stream = _stream(container)
    if stream is None:
        raise BadCell(f"{name} holds no video{_others(container)}", expected=KINDS)
    if stream.codec_context is None:
        raise BadCell(f"{name} is in a format that can't be decoded", expected=KINDS)
    _check_size(stream.codec_context, name)
    seconds = (container.duration or 0) / 1e6
    if seconds > MAX_SECONDS:
        raise BadCell(
            f"{name} is {seconds:,.0f} seconds long",
            expected=f"{MAX_SECONDS:,.0f} at the most", hint="cut it into pieces",
        )  # fmt: skip


def _others(container: Any) -> str:
    """What a file without a video holds instead."""
    kinds = sorted({"picture" if s.type == "video" else str(s.type) for s in container.streams})
    return f", only {' and '.join(kinds)}" if kinds else ""


def _check_size(picture: Any, name: str) -> None:
    if picture.width * picture.height > MAX_PIXELS:
        raise BadCell(
            f"{name} has frames of {picture.width:,} x {picture.height:,} pixels",
            expected=f"at most {MAX_PIXELS:,} pixels", hint="scale it down first",
        )  # fmt: skip


def _shown(packet: Any) -> int | None:
    """When what is in a packet is shown, in ticks; None where nothing is in it."""
    shown: int | None = packet.dts if packet.pts is None else packet.pts
    return shown if packet.size else None


def _span(packet: Any, shown: int) -> tuple[float, float]:
    """When what is shown at this tick begins and ends, in seconds."""
    end = shown + (packet.duration or 0)
    return float(shown * packet.time_base), float(end * packet.time_base)


def _index(container: Any, name: str) -> _Index:
    """Goes through all packets without decoding them.

    Raises:
        BadCell: there is no frame, there are too many, or they end long before the duration does.
    """
    stream, times, begin, end = _stream(container), [], None, 0.0
    for packet in container.demux():
        shown = _shown(packet)
        if shown is None:
            continue
        start, stop = _span(packet, shown)
        begin = start if begin is None else min(begin, start)
        end = max(end, stop)
        if packet.stream.index == stream.index:
            times.append((shown, packet.is_keyframe))
            if len(times) > MAX_FRAMES:
                raise BadCell(f"{name} has over {MAX_FRAMES:,} frames", hint="cut it into pieces")
    if not times:
        raise BadCell(f"{name} has no frames", expected=KINDS, hint="get it again")
    if end - (begin or 0.0) < WHOLE * (container.duration or 0) / 1e6:
        raise _cut_short(name)
    times.sort()
    return _Index([t for t, _ in times], [at for at, (_, is_key) in enumerate(times) if is_key])


def _cut_short(name: str) -> BadCell:
    return BadCell(
        f"{name} is cut short: it ends before its duration", expected=KINDS, hint="get it again"
    )


def _wanted(container: Any, index: _Index, wanted: Sequence[int], name: str) -> Iterator[Any]:
    """The frames at these places, in order; jumps over stretches that hold none of them."""
    stream = _stream(container)
    stream.codec_context.thread_count = 1  # readers are threads already
    frames, at, decoded = container.decode(stream), -1, 0
    for place in wanted:
        start = index.start(place)
        if start - at > SKIP:
            container.seek(index.times[start], stream=stream)
            frames, at = container.decode(stream), start - 1
        for frame in frames:
            decoded += 1
            at = at + 1 if frame.pts is None else bisect_left(index.times, frame.pts)
            if decoded > MAX_DECODED:
                raise BadCell(
                    f"{name} needs more than {MAX_DECODED:,} frames decoded",
                    hint="cut it into pieces, or write it with more key frames",
                )
            if at >= place:
                yield frame
                break


def _upright(frame: Any, name: str) -> Pixels:
    """(H, W, 3) uint8, turned as the camera was held."""
    _check_size(frame, name)
    if frame.is_corrupt:
        raise BadCell(f"{name} is damaged", expected=KINDS, hint="get it again")
    pixels: Pixels = frame.to_ndarray(format="rgb24")
    return np.rot90(pixels, round(frame.rotation / 90)) if frame.rotation else pixels
