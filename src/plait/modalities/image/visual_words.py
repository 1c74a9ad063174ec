"""`visual-words`: which local patterns a photo has, and where: SIFT, k-means, spatial pyramid.

Keypoints' descriptors (Lowe 2004, SIFT) are square-rooted after L1 (Arandjelović and Zisserman
2012, RootSIFT), named after the nearest of a vocabulary that k-means found on the training photos
(Csurka et al. 2004), and counted in the cells of a pyramid: the photo, its quarters, their quarters
(Lazebnik et al. 2006). Counts are divided by the photo's keypoints and square-rooted, which makes
their inner products Hellinger's. Lazebnik's fixed weights of the levels are left out, as a learned
layer for each level follows.

Shapes: N records, K keypoints, V visual words, C = 1 + 4 + 16 + ... cells.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from plait.config.registry import register
from plait.data.images import open_resized
from plait.modalities.base import Item, Width
from plait.modalities.image.base import Photo, Resize
from plait.types import BadCell, PlaitError, State
from plait.util.imports import needed

DIMENSION = 128  # of SIFT: 4 × 4 places, 8 directions
PATCH_OF_KEYPOINT = 6.0  # OpenCV describes a patch of six times the keypoint's diameter
MOST_KEYPOINTS = 2000  # of a photo, the strongest, where they are detected
SHADES = 255  # a centre's numbers, 0 to 1, are kept as bytes
NEIGHBOURS, SOFTNESS = 5, 10.0  # of soft assignment, as Liu et al. 2011 have them
SAMPLED_PHOTOS, SAMPLED_DESCRIPTORS = 1000, 100_000  # at most, for k-means: 50 MB

Floats = NDArray[np.float32]


@register("image", "visual-words")
class VisualWords(Photo):
    """A histogram of SIFT patterns in the cells of a spatial pyramid; nothing pretrained."""

    encoder_class = "plait.modalities.image.networks.VisualWordsEncoder"
    vector_class = "plait.modalities.image.networks.VisualWordsVectors"
    classical = True
    reads_prepared = True
    fits_on_files = True

    keypoints: Literal["dense", "detected"] = Field(
        "dense", description="on a grid, or where SIFT detects them"
    )
    step: int = Field(8, ge=2, le=64, description="pixels between the grid's keypoints")
    patch: int = Field(32, ge=8, le=256, description="pixels per side of a keypoint's region")
    words: int = Field(300, ge=2, le=2000, description="maximum number of visual words")
    levels: int = Field(3, ge=1, le=4, description="pyramid levels: 1×1, 2×2, 4×4, 8×8 cells")
    assign: Literal["hard", "soft"] = Field("soft", description="to the nearest word, or several")
    width: Width = 128
    size: int = Field(256, ge=32, le=1024, description="pixels per side")
    resize: Resize = "squash"

    @cached_property
    def centres(self) -> NDArray[np.uint8]:
        """(V, 128): the visual words."""
        raw = np.frombuffer(base64.b64decode(self.state["centres"]), np.uint8)
        return raw.reshape(self.state["words"], DIMENSION).copy()

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """The vocabulary: k-means' centres as bytes, in base64.

        A third of the length that the same numbers would have as JSON, and exact: the centres
        that training uses are those that the package keeps.

        Raises:
            PlaitError: no training photo has a keypoint, or scikit-learn is not installed.
        """
        cluster = needed("sklearn.cluster", "classical")
        sampled = np.concatenate([np.zeros((0, DIMENSION), np.float32), *self._sample(cells, root)])
        words = min(self.words, len(np.unique(sampled, axis=0)))
        if not words:
            raise PlaitError(
                "no training photo has a keypoint", expected="photos that are not all of one shade"
            )
        clusters = cluster.MiniBatchKMeans(words, batch_size=4096, n_init=3, random_state=0)
        means = clusters.fit(sampled)
        centres = (means.cluster_centers_ * SHADES).round().clip(0, SHADES).astype(np.uint8)
        return {"centres": base64.b64encode(centres.tobytes()).decode(), "words": words}

    def _sample(self, cells: Iterable[Any], root: Path) -> Iterator[Floats]:
        """Some descriptors of some photos, always the same; bad photos are named when read."""
        cells, rng = list(cells), random.Random(0)
        chosen = rng.sample(cells, min(len(cells), SAMPLED_PHOTOS))
        share = SAMPLED_DESCRIPTORS // max(1, len(chosen))
        for cell in chosen:
            try:
                descriptors, _ = self.describe(open_resized(cell, root, *self.shape))
            except BadCell:
                continue
            kept = rng.sample(range(len(descriptors)), min(len(descriptors), share))
            yield descriptors[sorted(kept)]

    def describe(self, photo: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """(H, W, 3) uint8 -> RootSIFT descriptors (K, 128) of length 1, and places (K, 2) as x and
        y in [0, 1]. A uniform patch is not a keypoint: it shows nothing."""
        grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
        sift = cv2.SIFT.create(MOST_KEYPOINTS)
        if self.keypoints == "dense":  # upright, as far apart from either edge
            rows, columns = (range((n - 1) % self.step // 2, n, self.step) for n in grey.shape)
            diameter = self.patch / PATCH_OF_KEYPOINT
            grid = [cv2.KeyPoint(x, y, diameter, 0) for y in rows for x in columns]
            found, raw = sift.compute(grey, grid)
        else:
            found, raw = sift.detectAndCompute(grey, None)
        if raw is None:
            return np.zeros((0, DIMENSION), np.float32), np.zeros((0, 2), np.float32)
        total = raw.sum(axis=1, keepdims=True)
        seen = total[:, 0] > 0
        places = np.array([point.pt for point in found], np.float32) / grey.shape[::-1]
        return np.sqrt(raw[seen] / total[seen]), places[seen].astype(np.float32)

    def prepare(self, item: Item) -> Item:
        """(H, W, 3) uint8 -> (C, V), which is all of the frozen part: square roots of shares of the
        photo's keypoints, the coarsest level first, cells row by row; each level's squares add up
        to 1. Zeros without keypoints."""
        found, places = self.describe(item)
        shares = self._assign(found) / np.float32(max(1, len(found)))  # (K, V)
        levels = []
        for side in (2**level for level in range(self.levels)):
            column, row = (places * side).astype(np.int64).clip(0, side - 1).T
            cells = np.arange(side * side)[:, None] == row * side + column  # (side², K)
            levels.append(cells.astype(np.float32) @ shares)
        return np.sqrt(np.concatenate(levels))

    def _assign(self, descriptors: Floats) -> Floats:
        """(K, 128) -> (K, V): how much of each keypoint is each word's."""
        centres = self.centres.astype(np.float32) / SHADES
        squares = np.square(descriptors).sum(axis=1)[:, None] + np.square(centres).sum(axis=1)
        distances = squares - 2 * descriptors @ centres.T  # (K, V), squared
        count = min(NEIGHBOURS, len(centres)) if self.assign == "soft" else 1
        near = np.argpartition(distances, count - 1, axis=1)[:, :count]
        apart = np.take_along_axis(distances, near, axis=1)
        weights = np.exp(-SOFTNESS * (apart - apart.min(axis=1, keepdims=True)))
        shares = np.zeros_like(distances)
        np.put_along_axis(shares, near, weights / weights.sum(axis=1, keepdims=True), axis=1)
        return shares

    def samples(self) -> list[Any]:
        """Two small PNG files of noise: blank ones would have no keypoint."""
        rng = np.random.default_rng(0)
        pictures = (rng.integers(0, 256, (16, 16, 3), np.uint8) for _ in range(2))
        return [cv2.imencode(".png", picture)[1].tobytes() for picture in pictures]
