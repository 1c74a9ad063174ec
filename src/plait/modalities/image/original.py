"""`original`: a photo at its own shape, for outputs that are whole models and look themselves.

A whole model of the transformers library resizes, crops and tiles a photo in its own way, so it
gets the pixels as they are; only large photos are shrunk. Any other output sees the mean colour.

Shapes: H × W pixels of a photo, S of the longest side there may be.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from plait.config.registry import register
from plait.data.cells import MediaInfo
from plait.data.images import open_image, shrunk
from plait.modalities.base import Item
from plait.modalities.image.base import (
    READING_VERSION,
    TILES,
    Photo,
    Pixels,
    drawn_size,
    mirrored,
    worse,
)
from plait.modalities.segments import Grid, Kept, Segments
from plait.types import Geometry

BESIDE = -1  # the value of what lies right of a photo that is narrower than S


@register("image", "original")
class Original(Photo):
    """A photo at its own shape, for whole models such as those of the output hub:NAME."""

    encoder_class = "plait.modalities.image.networks.OriginalEncoder"
    fixed_length = False
    exportable = False

    size: int = Field(768, ge=32, le=4096, description="pixels of the longer side, at most")
    views: int = Field(1, ge=1, le=2, description="2: also the mirror image")

    def read(self, cell: Any, root: Path) -> Item:
        """(H, S, 3) int16: the photo, and -1 beside it."""
        return self._item(self.picture(cell, root))

    def picture(self, cell: Any, root: Path) -> Pixels:
        """(H, W, 3) uint8: the photo, shrunk if it is large."""
        return shrunk(open_image(cell, root), self.size)

    def _item(self, photo: Pixels) -> Item:
        beside = ((0, 0), (0, self.size - photo.shape[1]), (0, 0))
        return np.pad(photo.astype(np.int16), beside, constant_values=BESIDE)

    def augment(self, item: Item, view: int, seed: int) -> Item:
        """View 1 is the mirror image."""
        return self._item(shown(item)[:, ::-1]) if view else item

    def geometry(self, info: MediaInfo, view: int, seed: int) -> Geometry | None:
        """x and y in pixels."""
        shown = self._shown(info)
        return mirrored(shown) if view else shown

    def _shown(self, info: MediaInfo) -> Geometry:
        """How a photo lies over its original once it is shrunk, if it is large."""
        sides = max(info.width, 1), max(info.height, 1)
        width, height = (max(1, round(s * min(1.0, self.size / max(sides)))) for s in sides)
        return Geometry((width / sides[0], height / sides[1]), (0.0, 0.0), (width, height))

    def corrupt(self, item: Item, kind: str, strength: int) -> Item:
        """As `worse`."""
        return self._item(worse(shown(item), kind, strength))

    def example(self) -> Item:
        """A black photo."""
        return self._item(np.zeros((self.size, self.size, 3), np.uint8))

    def fingerprint(self) -> str:
        """Size and the version of the reading code."""
        return json.dumps(["original", READING_VERSION, self.size])

    def segments(self, cell: Any, root: Path) -> Segments:
        """Parts of the photo, as many each way; those that are hidden get its mean colour."""
        photo = self.picture(cell, root)
        height, width = photo.shape[:2]
        down, over = (np.arange(side) * TILES // side for side in (height, width))
        mean = photo.mean(axis=(0, 1)).round().astype(np.uint8)

        def perturb(kept: Kept) -> Item:
            seen = kept.reshape(TILES, TILES)[down[:, None], over[None]]
            return self._item(np.where(seen[..., None], photo, mean))

        nameless = [""] * TILES
        return Grid(photo, drawn_size(photo), nameless, nameless, perturb, square=True)


def shown(item: Item) -> Pixels:
    """The photo of an item, (H, W, 3) uint8, without what lies beside it."""
    width = int((item[0, :, 0] != BESIDE).sum())
    return item[:, :width].astype(np.uint8)
