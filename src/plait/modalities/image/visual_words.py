"""`visual-words`: which local patterns a photo has, and where: SIFT, k-means, spatial pyramid.

Keypoints' descriptors (Lowe 2004, SIFT) are square-rooted after L1 (Arandjelović and Zisserman
2012, RootSIFT), named after the nearest of a vocabulary that k-means found on the training photos
(Csurka et al. 2004), and counted in the cells of a pyramid: the photo, its quarters, their quarters
(Lazebnik et al. 2006). Counts are divided by the photo's keypoints and square-rooted, which makes
their inner products Hellinger's. Lazebnik's fixed weights of the levels are left out, as a learned
layer for each level follows.

What is made of a photo without learning is in `plait.modalities.image.patterns`.

Shapes: B photos, V visual words, C = 1 + 4 + 16 + ... cells.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from plait.config.registry import register
from plait.modalities.base import Classical, Encoder
from plait.modalities.image.base import Fitted, Photo, Views
from plait.modalities.image.patterns import DIMENSION, SHADES, Finder, Keypoints, Pyramid
from plait.nn.blocks import present_tokens
from plait.types import BadCell, PlaitError, State, Tokens
from plait.util.imports import needed

SAMPLED_PHOTOS, SAMPLED_DESCRIPTORS = 1000, 100_000  # that k-means sees at the most: 50 MB
CLASSICAL_CELLS = 5  # of the pyramid: the whole photo and its quarters


@register("image", "visual-words")
class VisualWords(Photo, Classical):
    """A histogram of SIFT patterns in the cells of a spatial pyramid; nothing pretrained."""

    reads_prepared = True
    fits_on_files = True

    def __init__(
        self,
        *,
        keypoints: Annotated[
            Keypoints, Field(description="dense: on a regular grid; detected: where SIFT finds any")
        ] = "dense",
        step: Annotated[
            int, Field(ge=2, le=64, description="pixels between the grid's keypoints")
        ] = 8,
        patch: Annotated[
            int, Field(ge=8, le=256, description="pixels a side that a grid's keypoint describes")
        ] = 32,
        words: Annotated[int, Field(ge=2, le=2000, description="visual words, at the most")] = 300,
        levels: Annotated[
            int, Field(ge=1, le=4, description="of the pyramid: 1×1, 2×2, 4×4, 8×8 cells")
        ] = 3,
        assign: Annotated[
            Literal["hard", "soft"],
            Field(
                description="a keypoint counts for the nearest word, or is shared by the nearest"
            ),
        ] = "soft",
        width: Annotated[int, Field(ge=8, le=2048, description="width of a token")] = 128,
        size: Annotated[int, Field(ge=32, le=1024, description="pixels a side")] = 256,
        fit: Fitted = "squash",
        views: Views = 1,
    ) -> None:
        super().__init__(size, fit, views)
        self.finder = Finder(keypoints, step, patch)
        self.words, self.levels, self.assign = words, levels, assign
        self.width = width

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """The vocabulary: k-means' centres as bytes, in base64.

        A third of the length that the same numbers would have as JSON, and exact: the centres
        that training uses are those that the package keeps.

        Raises:
            PlaitError: no training photo has a keypoint, or scikit-learn is not installed.
        """
        cluster = needed("sklearn.cluster", "classical")
        found = np.concatenate([np.zeros((0, DIMENSION), np.float32), *self._sample(cells, root)])
        words = min(self.words, len(np.unique(found, axis=0)))
        if not words:
            raise PlaitError(
                "no training photo has a keypoint", expected="photos that are not all of one shade"
            )
        means = cluster.MiniBatchKMeans(words, batch_size=4096, n_init=3, random_state=0).fit(found)
        centres = (means.cluster_centers_ * SHADES).round().clip(0, SHADES).astype(np.uint8)
        return {"centres": base64.b64encode(centres.tobytes()).decode(), "words": words}

    def _sample(self, cells: Iterable[Any], root: Path) -> Iterator[NDArray[np.float32]]:
        """Some descriptors of some photos, the same each time; bad photos are passed over here,
        and named when they are read."""
        cells, rng = list(cells), random.Random(0)
        chosen = rng.sample(cells, min(len(cells), SAMPLED_PHOTOS))
        share = SAMPLED_DESCRIPTORS // max(1, len(chosen))
        for cell in chosen:
            try:
                photo = self.read(cell, root, {})
            except BadCell:
                continue
            descriptors, _ = self.finder(photo.numpy())
            kept = rng.sample(range(len(descriptors)), min(len(descriptors), share))
            yield descriptors[sorted(kept)]

    def reading(self, state: State) -> State:
        """As any photo's, with all that the histograms are made by."""
        own = {
            "kind": "visual-words", "keypoints": self.finder.keypoints, "step": self.finder.step,
            "patch": self.finder.patch, "levels": self.levels, "soft": self.assign == "soft",
        }  # fmt: skip
        return super().reading(state) | own | state

    def samples(self) -> list[Any]:
        """Two small PNG files of noise: blank ones would have no keypoint."""
        rng = np.random.default_rng(0)
        pictures = (rng.integers(0, 256, (16, 16, 3), np.uint8) for _ in range(2))
        return [cv2.imencode(".png", picture)[1].tobytes() for picture in pictures]

    def vectors(self, rows: Sequence[NDArray[Any]], state: State) -> NDArray[np.float32]:
        """(N, cells · V): the roots of the shares of the coarsest cells, the whole photo and its
        quarters (of RootSIFT's kind: Arandjelović and Zisserman 2012)."""
        shares = np.stack([row[:CLASSICAL_CELLS].reshape(-1) for row in rows])
        return np.sqrt(shares.astype(np.float32))

    def encoder(self, state: State, pretrained: bool) -> Encoder:
        """The histogram and the learned layer; nothing is pretrained."""
        pyramid = Pyramid.of(self.reading(state))
        return VisualWordsEncoder(Histograms(pyramid), self.width)


class Histograms(nn.Module):
    """The frozen part: a photo to its histograms, which is numpy's work."""

    centres: Tensor

    def __init__(self, pyramid: Pyramid) -> None:
        super().__init__()
        self.pyramid = pyramid
        # (V, 128) uint8; here for the cache's key, of which they are a part as any weights.
        self.register_buffer("centres", torch.from_numpy(pyramid.centres))

    def extra_repr(self) -> str:
        """All that the result depends on beside the centres."""
        return f"{self.pyramid.finder}, levels={self.pyramid.levels}, soft={self.pyramid.soft}"

    def forward(self, photo: Tensor) -> Tensor:
        """(H, W, 3) uint8 -> (C, V)."""
        return torch.from_numpy(self.pyramid(photo.cpu().numpy()))


class VisualWordsEncoder(Encoder):
    """(size, size, 3) uint8 -> Tokens (B, side², width), one for each cell of the finest level.

    A token adds up what its cell shows and what the larger cells around it show, by a layer for
    each level. With one level it is the classical bag of visual words.
    """

    trunk: Histograms

    def __init__(self, trunk: Histograms, width: int) -> None:
        super().__init__()
        self.trunk, self.width = trunk, width
        self.sides = [2**level for level in range(trunk.pyramid.levels)]
        finest = self.sides[-1]
        self.grid, self.length = (finest, finest), finest**2
        shape = (trunk.pyramid.levels, len(trunk.centres), width)
        self.weight = nn.Parameter(torch.randn(shape) * width**-0.5)
        self.bias = nn.Parameter(torch.zeros(width))

    def prepare(self, items: Sequence[Tensor]) -> list[Tensor]:
        """(size, size, 3) uint8 each -> (C, V) each."""
        return [self.trunk(item) for item in items]

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, C, V) -> Tokens, cells row by row from the top left."""
        levels = torch.split(prepared, [side**2 for side in self.sides], dim=1)
        spread = [self._spread(*of) for of in zip(levels, self.weight, self.sides, strict=True)]
        return present_tokens(torch.stack(spread).sum(dim=0) + self.bias, lengths > 0)

    def _spread(self, level: Tensor, weight: Tensor, side: int) -> Tensor:
        """(B, side², V) -> (B, finest side², width); a cell's share of a photo is small, and is
        brought to the size of the whole photo's."""
        values = side * level @ weight
        at = torch.arange(self.sides[-1], device=level.device) * side // self.sides[-1]
        return values[:, (at[:, None] * side + at).flatten()]
