"""What all representations of a video share: reading its frames, augmenting.

Shapes: F frames, S pixels a side.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from plait.data.cells import MediaInfo, is_sentence
from plait.data.images import IMAGE, Fit
from plait.data.recordings import SOUND
from plait.data.video import (
    KINDS,
    VIDEO,
    clip_content,
    clip_info,
    is_animation,
    open_frames,
    shown_frames,
)
from plait.modalities.base import Facts, Item, Match, Modality, view_generator
from plait.modalities.image.base import (
    Part,
    as_read,
    enlarged,
    mirrored,
    part_of,
    random_part,
    worse,
)
from plait.modalities.segments import SIDE, Grid, Kept, Segments
from plait.types import Geometry

READING_VERSION = 1  # raise it when the same file would give other pixels: old caches must miss
SMALLEST = 0.75  # smallest share of a frame's area that an augmented view shows
PARTS, ROW, DRAWN = (12, 8, 4, 3, 2, 1), 4, 120  # segments, how many in a row, width of one
LIGHT = (0.8, 1.2)  # what its brightness is multiplied by
TIME = (0.8, 1.0)  # share of its frames that it keeps, in a row


class Clip(Modality):
    """Reads ``frames`` frames spread over a clip, (F, S, S, 3) uint8; a short clip has fewer."""

    facts = Facts(
        column_names=("video", "movie", "film", "clip", "depth"),
        example="'clip.mp4'",
        files=KINDS,
        accept="video/*",
        noun="a video",
        hub_tasks={"category": "video-classification"},
    )
    corruptions = ("noise", "blur")

    frames: int = Field(16, ge=1, le=256, description="number of frames, evenly spread")
    flip: bool = Field(False, description="mirror every other view (if left and right are alike)")
    views: int = Field(1, ge=1, le=16, description="augmented versions (cropped, cut, brightened)")

    @classmethod
    def recognises(cls, cell: Any) -> Match:
        """By suffix or first bytes; a GIF may be a clip, and any other word a folder of frames."""
        if VIDEO.is_certain(cell):
            return "certain"
        if not isinstance(cell, (str, bytes)):
            return "no"
        other = is_sentence(cell) or SOUND.is_certain(cell) or IMAGE.is_certain(cell)
        return "no" if other and not is_animation(cell) else "possible"

    @property
    def shape(self) -> tuple[int, Fit]:
        """Pixels a side, and how a frame is brought to them; by default as set."""
        own: Any = self
        return own.size, own.resize

    def read(self, cell: Any, root: Path) -> Item:
        """(F, S, S, 3) uint8."""
        return open_frames(cell, root, self.frames, *self.shape)

    def content(self, cell: Any, root: Path) -> bytes:
        """The video file, or a digest of a folder's frames."""
        return clip_content(cell, root)

    def media_info(self, cell: Any, root: Path) -> MediaInfo:
        """Size of a frame, and seconds."""
        return clip_info(cell, root)

    def _drawn(self, count: int, size: int, view: int, seed: int) -> tuple[int, int, float, Part]:
        """Of a view: the first of ``count`` frames that is kept, how many are, what the brightness
        is multiplied by, and the part of each frame that is shown."""
        rng = view_generator(view, seed)
        kept = max(1, round(count * rng.uniform(*TIME)))
        first = int(rng.random() * (count - kept + 1))
        return first, kept, rng.uniform(*LIGHT), random_part(size, SMALLEST, rng)

    def augment(self, item: Item, view: int, seed: int) -> Item:
        """A part of its time and area, lighter or darker, all frames alike; odd views are mirrored
        where ``flip`` is set."""
        if view == 0:
            return item
        size = item.shape[1]
        first, kept, light, (left, top, width, height) = self._drawn(len(item), size, view, seed)
        frames = item[first : first + kept]
        if self.flip and view % 2:
            frames = frames[:, :, ::-1]
        frames = frames[:, top : top + height, left : left + width]
        frames = np.stack([enlarged(np.ascontiguousarray(frame), size) for frame in frames])
        return np.clip(np.round(frames * light), 0, 255).astype(np.uint8)

    def geometry(self, info: MediaInfo, view: int, seed: int) -> Geometry | None:
        """x and y in pixels, and seconds; unknown of a folder of frames. Of a clip with fewer
        frames than are read, the time is right to a frame."""
        if not info.pixels:
            return None
        size, resize = self.shape
        shown, start, seconds = as_read(info, size, resize), 0.0, info.seconds
        if view:
            first, kept, _, part = self._drawn(self.frames, size, view, seed)
            start, seconds = seconds * first / self.frames, seconds * kept / self.frames
            shown = mirrored(shown) if self.flip and view % 2 else shown
            shown = part_of(shown, part)
        return Geometry((*shown.scale, 1.0), (*shown.shift, -start), (*shown.size, seconds))

    def corrupt(self, item: Item, kind: str, strength: int) -> Item:
        """Every frame as a photo would be."""
        return np.stack([worse(frame, kind, strength) for frame in item])

    def example(self) -> Item:
        """A black clip."""
        size, _ = self.shape
        return np.zeros((self.frames, size, size, 3), np.uint8)

    def samples(self) -> list[Any]:
        """Two short GIF files."""
        files = []
        for shade in (60, 120):
            first, *rest = [Image.new("RGB", (16, 16), (shade + n,) * 3) for n in (0, 60, 120)]
            files.append(stream := io.BytesIO())
            first.save(stream, "GIF", save_all=True, append_images=rest, duration=100)
        return [stream.getvalue() for stream in files]

    def fingerprint(self) -> str:
        """Frames, size, resizing, flip and the version of the reading code."""
        return json.dumps(["clip", READING_VERSION, self.frames, self.flip, *self.shape])

    def picture(self, cell: Any, root: Path) -> NDArray[np.uint8]:
        """The frame in the middle, with at most `SIDE` pixels along the longer side."""
        frames = shown_frames(cell, root, self.frames, SIDE)
        return frames[len(frames) // 2]

    def segments(self, cell: Any, root: Path) -> Segments:
        """The frames, several in a row as one part where they are many; in place of those that are
        hidden the nearest others are shown."""
        frames = self.read(cell, root)
        count = next(n for n in PARTS if n <= len(frames))
        part = np.arange(len(frames)) * count // len(frames)  # of each frame
        columns = min(count, ROW)

        def perturb(kept: Kept) -> Item:
            seen, every = np.flatnonzero(kept[part]), np.arange(len(frames))
            nearest = np.abs(every[:, None] - seen).argmin(axis=1)
            return frames[seen[nearest]]

        whole = shown_frames(cell, root, self.frames, SIDE // columns)
        height, width = whole[0].shape[:2]  # images in a folder may differ
        middles = [whole[int(np.flatnonzero(part == n).mean())] for n in range(count)]
        shown = [cv2.resize(frame, (width, height)) for frame in middles]
        rows = [np.concatenate(shown[at : at + columns], 1) for at in range(0, count, columns)]
        size = (DRAWN * columns, max(1, round(DRAWN * height / width)) * len(rows))
        return Grid(np.concatenate(rows), size, [""] * len(rows), [""] * columns, perturb)
