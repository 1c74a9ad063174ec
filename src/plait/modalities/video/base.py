"""What all representations of a video share: reading its frames, augmenting.

Shapes: F frames, S pixels a side.
"""

from __future__ import annotations

import io
import json
import random
from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor

from plait.data.images import Fit
from plait.data.media import MediaInfo, file_sent
from plait.data.video import KINDS, clip_content, clip_extent, open_frames
from plait.modalities.base import Modality
from plait.modalities.image.base import enlarged, random_part, worse
from plait.modalities.segments import Grid, Kept, Segments
from plait.types import State

Flip = Annotated[bool, Field(description="mirror odd views; wrong where left and right matter")]
Views = Annotated[
    int, Field(ge=1, le=16, description="augmented versions (cropped, cut, lighter) to cache")
]
READING_VERSION = 1  # raise it when the same file would give other pixels: old caches must miss
SMALLEST = 0.75  # share of a frame's area that an augmented view shows at the least
PARTS, ROW, SHOWN = (12, 8, 4, 3, 2, 1), 4, 120  # of a layout: parts, in a row, pixels of one
LIGHT = (0.8, 1.2)  # what its brightness is multiplied by
TIME = (0.8, 1.0)  # share of its frames that it keeps, in a row


class Clip(Modality):
    """Reads a clip to ``frames`` frames spread over it, (F, S, S, 3) uint8; a shorter one has
    fewer."""

    media = True
    corruptions = ("noise", "blur")

    def __init__(self, frames: int, flip: bool, views: int) -> None:
        self.frames, self.flip, self.views = frames, flip, views

    @abstractmethod
    def shape(self, state: State) -> tuple[int, Fit]:
        """Pixels a side, and how a frame is brought to them."""

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """Nothing: a clip is read the same whatever the other clips are."""
        return {}

    def reading(self, state: State) -> State:
        """How many frames, and how each is brought to its size."""
        size, fit = self.shape(state)
        return {"kind": "clip", "frames": self.frames, "size": size, "fit": fit}

    def read(self, cell: Any, root: Path, state: State) -> Tensor:
        """(F, S, S, 3) uint8."""
        return torch.from_numpy(open_frames(cell, root, self.frames, *self.shape(state)))

    def content(self, cell: Any, root: Path) -> bytes:
        """The video file, or a digest of a folder's frames."""
        return clip_content(cell, root)

    def media_info(self, cell: Any, root: Path) -> MediaInfo:
        """Pixels of a frame, and seconds."""
        return clip_extent(cell, root)

    def request_type(self, state: State) -> Any:
        """The video file."""
        return file_sent(KINDS, "video/*")

    def augment(self, item: Tensor, view: int) -> Tensor:
        """View 0 the clip; others a part of its time and area, lighter or darker, all frames alike.

        Odd views are mirrored where ``flip`` is set. What is drawn depends on the view and the
        pixels alone.
        """
        if view == 0:
            return item
        rng = random.Random(view * 7919 + int(item[:, ::16, ::16].sum()))
        frames = _part_of_time(item, rng).numpy()
        if self.flip and view % 2:
            frames = frames[:, :, ::-1]
        size, light = item.shape[1], rng.uniform(*LIGHT)
        rows, columns = random_part(size, SMALLEST, rng)
        frames = np.stack([enlarged(frame[rows, columns], size) for frame in frames])
        return torch.from_numpy(np.clip(np.round(frames * light), 0, 255).astype(np.uint8))

    def corrupt(self, item: Tensor, kind: str, strength: int) -> Tensor:
        """Every frame as a photo would be."""
        return torch.stack([worse(frame, kind, strength) for frame in item])

    def example(self, state: State) -> Tensor:
        """A black clip."""
        size, _ = self.shape(state)
        return torch.zeros(self.frames, size, size, 3, dtype=torch.uint8)

    def samples(self) -> list[Any]:
        """Two short GIF files."""
        return [_flicker(shade) for shade in (60, 120)]

    def fingerprint(self, state: State) -> str:
        """Frames, size, fit, flip and the version of the reading code."""
        return json.dumps(["clip", READING_VERSION, self.frames, self.flip, *self.shape(state)])

    def picture(self, cell: Any, root: Path, state: State) -> Tensor | None:
        """The frame in the middle."""
        frames = self.read(cell, root, state)
        return frames[len(frames) // 2]

    def segments(self, cell: Any, root: Path, state: State) -> Segments:
        """The frames, several in a row as one part where they are many; in place of those that are
        hidden the nearest others are shown."""
        frames = self.read(cell, root, state)
        count = next(n for n in PARTS if n <= len(frames))
        part = np.arange(len(frames)) * count // len(frames)  # of each frame
        columns = min(count, ROW)

        def keep(kept: Kept) -> Tensor:
            seen, all_ = np.flatnonzero(kept[part]), np.arange(len(frames))
            nearest = np.abs(all_[:, None] - seen).argmin(axis=1)
            return frames[seen[nearest]]

        shown = [frames[int(np.flatnonzero(part == n).mean())].numpy() for n in range(count)]
        rows = [np.concatenate(shown[at : at + columns], 1) for at in range(0, count, columns)]
        size = (SHOWN * columns, SHOWN * len(rows))
        return Grid(
            np.concatenate(rows), size, [""] * len(rows), [""] * columns, keep, in_order=True
        )


def _part_of_time(item: Tensor, rng: random.Random) -> Tensor:
    """Most of the frames, in a row."""
    kept = max(1, round(len(item) * rng.uniform(*TIME)))
    start = rng.randint(0, len(item) - kept)
    return item[start : start + kept]


def _flicker(shade: int) -> bytes:
    frames = [Image.new("RGB", (16, 16), (shade + step,) * 3) for step in (0, 60, 120)]
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:], duration=100)
    return stream.getvalue()
