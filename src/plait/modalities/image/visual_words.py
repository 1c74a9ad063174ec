"""`visual-words`: which local patterns a photo has, and where: SIFT, k-means, spatial pyramid.

Keypoints' descriptors (Lowe 2004, SIFT) are square-rooted after L1 (Arandjelović and Zisserman
2012, RootSIFT), named after the nearest of a vocabulary that k-means found on the training photos
(Csurka et al. 2004), and counted in the cells of a pyramid: the photo, its quarters, their quarters
(Lazebnik et al. 2006). Counts are divided by the photo's keypoints and square-rooted, which makes
their inner products Hellinger's. Lazebnik's fixed weights of the levels are left out, as a learned
layer for each level follows.

Shapes: B photos, K keypoints, V visual words, C = 1 + 4 + 16 + ... cells.
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

from plait.components import Classical, Encoder, present_tokens
from plait.modalities.image.photo import Fitted, Photo, Views
from plait.registry import register
from plait.types import BadCell, PlaitError, State, Tokens

DIMENSION = 128  # of SIFT: 4 × 4 places, 8 directions
PATCH_OF_KEYPOINT = 6.0  # OpenCV describes a patch of six times the keypoint's diameter
MOST_KEYPOINTS = 2000  # of a photo, the strongest, where they are detected
SAMPLED_PHOTOS, SAMPLED_DESCRIPTORS = 1000, 100_000  # that k-means sees at the most: 50 MB
SHADES = 255  # a centre's numbers, 0 to 1, are kept as bytes
NEIGHBOURS, SOFTNESS = 5, 10.0  # of soft assignment, as Liu et al. 2011 have them

Keypoints = Literal["dense", "detected"]


CLASSICAL_CELLS = 5  # of the pyramid: the whole photo and its quarters


@register("image", "visual-words")
class VisualWords(Photo, Classical):
    """A histogram of SIFT patterns in the cells of a spatial pyramid; nothing pretrained."""

    exported = False

    learns_from_files = True

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

    def learn(self, cells: Iterable[Any], root: Path) -> State:
        """The vocabulary: k-means' centres as bytes, in base64.

        A third of the length that the same numbers would have as JSON, and exact: the centres
        that training uses are those that the package keeps.

        Raises:
            PlaitError: no training photo has a keypoint.
        """
        from sklearn.cluster import MiniBatchKMeans  # slow to import

        found = np.concatenate([np.zeros((0, DIMENSION), np.float32), *self._sample(cells, root)])
        words = min(self.words, len(np.unique(found, axis=0)))
        if not words:
            raise PlaitError(
                "no training photo has a keypoint", expected="photos that are not all of one shade"
            )
        means = MiniBatchKMeans(words, batch_size=4096, n_init=3, random_state=0).fit(found)
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
        raw = np.frombuffer(base64.b64decode(state["centres"]), np.uint8)
        centres = torch.from_numpy(raw.reshape(state["words"], DIMENSION).copy())
        trunk = Pyramid(self.finder, centres, self.levels, self.assign == "soft")
        return VisualWordsEncoder(trunk, self.width)


class Finder:
    """Keypoints and their RootSIFT descriptors."""

    def __init__(self, keypoints: Keypoints, step: int, patch: int) -> None:
        self.keypoints, self.step, self.patch = keypoints, step, patch

    def __repr__(self) -> str:
        return f"Finder({self.keypoints}, step={self.step}, patch={self.patch})"

    def __call__(self, photo: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(H, W, 3) uint8 -> descriptors (K, 128) of length 1, and places (K, 2) as x and y in
        [0, 1]. A patch of one shade is no keypoint: nothing is to be seen there."""
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


class Pyramid(nn.Module):
    """The frozen part: a photo to its histograms."""

    centres: Tensor

    def __init__(self, finder: Finder, centres: Tensor, levels: int, soft: bool) -> None:
        super().__init__()
        self.finder, self.levels, self.soft = finder, levels, soft
        self.register_buffer("centres", centres)  # (V, 128) uint8

    def extra_repr(self) -> str:
        """All that the result depends on beside the centres."""
        return f"{self.finder}, levels={self.levels}, soft={self.soft}"

    @torch.no_grad()
    def forward(self, photo: Tensor) -> Tensor:
        """(H, W, 3) uint8 -> (C, V): square roots of shares of the photo's keypoints, the coarsest
        level first, cells row by row; each level's squares add up to 1. Zeros without keypoints."""
        found, where = self.finder(photo.cpu().numpy())
        shares = self._assign(torch.from_numpy(found)) / max(1, len(found))  # (K, V)
        places = torch.from_numpy(where)
        levels = [self._count(shares, places, 2**level) for level in range(self.levels)]
        return torch.cat(levels).sqrt()

    def _assign(self, descriptors: Tensor) -> Tensor:
        """(K, 128) -> (K, V): how much of each keypoint is each word's."""
        centres = self.centres.cpu().float() / SHADES
        squares = descriptors.square().sum(1)[:, None] + centres.square().sum(1)
        distances = squares - 2 * descriptors @ centres.T  # (K, V), squared
        count = min(NEIGHBOURS, len(centres)) if self.soft else 1
        near = distances.topk(count, dim=1, largest=False)
        return torch.zeros_like(distances).scatter(
            1, near.indices, (-SOFTNESS * near.values).softmax(dim=1)
        )

    def _count(self, shares: Tensor, places: Tensor, side: int) -> Tensor:
        """(K, V), (K, 2) -> (side², V)."""
        column, row = (places * side).long().clamp(0, side - 1).unbind(1)
        counts = shares.new_zeros(side * side, shares.shape[1])
        return counts.index_add_(0, row * side + column, shares)


class VisualWordsEncoder(Encoder):
    """(size, size, 3) uint8 -> Tokens (B, side², width), one for each cell of the finest level.

    A token adds up what its cell shows and what the larger cells around it show, by a layer for
    each level. With one level it is the classical bag of visual words.
    """

    trunk: Pyramid

    def __init__(self, trunk: Pyramid, width: int) -> None:
        super().__init__()
        self.trunk, self.width = trunk, width
        self.sides = [2**level for level in range(trunk.levels)]
        finest = self.sides[-1]
        self.grid, self.length = (finest, finest), finest**2
        shape = (trunk.levels, len(trunk.centres), width)
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
        values = values.view(len(level), side, side, -1)  # (B, side, side, width)
        times = self.sides[-1] // side
        return values.repeat_interleave(times, 1).repeat_interleave(times, 2).flatten(1, 2)
