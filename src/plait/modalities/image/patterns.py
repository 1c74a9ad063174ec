"""A photo's local patterns, counted: what `visual-words` makes of a photo.

Shapes: K keypoints, V visual words, C = 1 + 4 + 16 + ... cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

DIMENSION = 128  # of SIFT: 4 × 4 places, 8 directions
PATCH_OF_KEYPOINT = 6.0  # OpenCV describes a patch of six times the keypoint's diameter
MOST_KEYPOINTS = 2000  # of a photo, the strongest, where they are detected
SHADES = 255  # a centre's numbers, 0 to 1, are kept as bytes
NEIGHBOURS, SOFTNESS = 5, 10.0  # of soft assignment, as Liu et al. 2011 have them

Keypoints = Literal["dense", "detected"]
Floats = NDArray[np.float32]


class Finder:
    """Keypoints and their RootSIFT descriptors."""

    def __init__(self, keypoints: Keypoints, step: int, patch: int) -> None:
        self.keypoints, self.step, self.patch = keypoints, step, patch

    def __repr__(self) -> str:
        return f"Finder({self.keypoints}, step={self.step}, patch={self.patch})"

    def __call__(self, photo: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """(H, W, 3) uint8 -> descriptors (K, 128) of length 1, and places (K, 2) as x and y in
        [0, 1]. A uniform patch is not a keypoint: it shows nothing."""
        grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
        sift = cv2.SIFT.create(MOST_KEYPOINTS)
        if self.keypoints == "dense":
            found, raw = sift.compute(grey, self._grid(grey.shape))
        else:
            found, raw = sift.detectAndCompute(grey, None)
        if raw is None:
            return np.zeros((0, DIMENSION), np.float32), np.zeros((0, 2), np.float32)
        total = raw.sum(axis=1, keepdims=True)
        seen = total[:, 0] > 0
        places = np.array([point.pt for point in found], np.float32) / grey.shape[::-1]
        return np.sqrt(raw[seen] / total[seen]), places[seen].astype(np.float32)

    def _grid(self, shape: Sequence[int]) -> list[Any]:
        """Upright keypoints at every ``step`` pixels, as far apart from either edge."""
        rows, columns = (range((n - 1) % self.step // 2, n, self.step) for n in shape)
        diameter = self.patch / PATCH_OF_KEYPOINT
        return [cv2.KeyPoint(x, y, diameter, 0) for y in rows for x in columns]


class Pyramid:
    """A photo's visual words, counted in the cells of a pyramid."""

    def __init__(self, finder: Finder, centres: NDArray[np.uint8], levels: int, soft: bool) -> None:
        """``centres`` (V, 128): the words."""
        self.finder, self.centres, self.levels, self.soft = finder, centres, levels, soft

    def __call__(self, photo: NDArray[np.uint8]) -> Floats:
        """(H, W, 3) uint8 -> (C, V): square roots of shares of the photo's keypoints, the coarsest
        level first, cells row by row; each level's squares add up to 1. Zeros without keypoints."""
        found, places = self.finder(photo)
        shares = self._assign(found) / np.float32(max(1, len(found)))  # (K, V)
        levels = [self._count(shares, places, 2**level) for level in range(self.levels)]
        return np.sqrt(np.concatenate(levels))

    def _assign(self, descriptors: Floats) -> Floats:
        """(K, 128) -> (K, V): how much of each keypoint is each word's."""
        centres = self.centres.astype(np.float32) / SHADES
        squares = np.square(descriptors).sum(axis=1)[:, None] + np.square(centres).sum(axis=1)
        distances = squares - 2 * descriptors @ centres.T  # (K, V), squared
        count = min(NEIGHBOURS, len(centres)) if self.soft else 1
        near = np.argpartition(distances, count - 1, axis=1)[:, :count]
        apart = np.take_along_axis(distances, near, axis=1)
        weights = np.exp(-SOFTNESS * (apart - apart.min(axis=1, keepdims=True)))
        shares = np.zeros_like(distances)
        np.put_along_axis(shares, near, weights / weights.sum(axis=1, keepdims=True), axis=1)
        return shares

    def _count(self, shares: Floats, places: Floats, side: int) -> Floats:
        """(K, V), (K, 2) -> (side², V)."""
        column, row = (places * side).astype(np.int64).clip(0, side - 1).T
        cells = np.arange(side * side)[:, None] == row * side + column  # (side², K)
        return cells.astype(np.float32) @ shares
