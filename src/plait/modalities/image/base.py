"""What all representations of an image share: reading, resizing, augmenting."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from plait.data.images import KINDS, Fit, count_pixels, open_resized
from plait.data.media import MediaInfo, file_sent, load_bytes
from plait.modalities.base import Encoder, Modality
from plait.modalities.segments import Grid, Kept, Segments
from plait.types import State

Fitted = Annotated[Fit, Field(description="squash the photo to a square, or crop it")]
Views = Annotated[
    int, Field(ge=1, le=16, description="augmented versions (mirrored, cropped) to cache")
]
READING_VERSION = 1  # raise it when the same file would give other pixels: old caches must miss
TILES, SHOWN = 6, 336  # parts a side of a photo's layout, and what it measures
SMALLEST = 0.7  # share of a photo's area that an augmented view shows at the least
NOISE, BLUR = (0.08, 0.12, 0.18, 0.26, 0.38), (1.0, 2.0, 3.0, 4.0, 6.0)


class Photo(Modality):
    """Reads a picture to ``size`` × ``size`` RGB pixels, (size, size, 3) uint8."""

    media = True
    of_one_length = True
    corruptions = ("noise", "blur")

    def __init__(self, size: int, fit: Fit, views: int) -> None:
        self.size, self.resize, self.views = size, fit, views

    def shape(self, state: State) -> tuple[int, Fit]:
        """Pixels a side, and how a photo is brought to them."""
        return self.size, self.resize

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """Nothing: a photo is read the same whatever the other photos are."""
        return {}

    def read(self, cell: Any, root: Path, state: State) -> Tensor:
        """(size, size, 3) uint8."""
        return torch.from_numpy(open_resized(cell, root, *self.shape(state)))

    def reading(self, state: State) -> State:
        """Pixels a side, and how a photo is brought to them."""
        size, fit = self.shape(state)
        return {"kind": "photo", "size": size, "fit": fit}

    def content(self, cell: Any, root: Path) -> bytes:
        """The picture file."""
        return load_bytes(cell, root, KINDS)[0]

    def media_info(self, cell: Any, root: Path) -> MediaInfo:
        """Its pixels."""
        return MediaInfo(pixels=count_pixels(cell, root))

    def request_type(self, state: State) -> Any:
        """The picture file."""
        return file_sent(KINDS, "image/*")

    def augment(self, item: Tensor, view: int) -> Tensor:
        """View 0 the photo, 1 its mirror image, 2... random crops of 70 to 100 % of its area.

        Odd views are mirrored. The crop depends on the view and the pixels alone.
        """
        if view == 0:
            return item
        image = item.numpy()
        if view > 1:
            rng = random.Random(view * 7919 + int(image[::16, ::16].sum()))
            size = len(image)
            image = enlarged(image[random_part(size, SMALLEST, rng)], size)
        if view % 2:
            image = np.ascontiguousarray(image[:, ::-1])
        return torch.from_numpy(image)

    def corrupt(self, item: Tensor, kind: str, strength: int) -> Tensor:
        """See `worse`."""
        return worse(item, kind, strength)

    def example(self, state: State) -> Tensor:
        """A black photo."""
        size, _ = self.shape(state)
        return torch.zeros(size, size, 3, dtype=torch.uint8)

    def samples(self) -> list[Any]:
        """Two small PNG files."""
        shades = (np.full((8, 8, 3), shade, np.uint8) for shade in (80, 160))
        return [cv2.imencode(".png", picture)[1].tobytes() for picture in shades]

    def fingerprint(self, state: State) -> str:
        """Size, fit and the version of the reading code."""
        return json.dumps(["photo", READING_VERSION, *self.shape(state)])

    def picture(self, cell: Any, root: Path, state: State) -> Tensor | None:
        """The pixels themselves."""
        return self.read(cell, root, state)

    def segments(self, cell: Any, root: Path, state: State) -> Segments:
        """Squares of the photo; those that are hidden are of its mean colour."""
        photo = self.read(cell, root, state)
        edges = np.linspace(0, len(photo), TILES + 1).round().astype(int)
        mean = photo.float().mean(dim=(0, 1)).round().to(torch.uint8)

        def keep(kept: Kept) -> Tensor:
            sides = np.diff(edges)
            seen = np.repeat(np.repeat(kept.reshape(TILES, TILES), sides, 0), sides, 1)
            return torch.where(torch.from_numpy(seen)[..., None], photo, mean)

        nameless = [""] * TILES
        return Grid(photo.numpy(), (SHOWN, SHOWN), nameless, nameless, keep, square=True)


def random_part(size: int, smallest: float, rng: random.Random) -> tuple[slice, slice]:
    """Rows and columns of a part of a square picture: ``smallest`` to all of its area, nearly
    square."""
    area, aspect = rng.uniform(smallest, 1.0), rng.uniform(0.85, 1.18)
    height = min(size, round(size * (area / aspect) ** 0.5))
    width = min(size, round(size * (area * aspect) ** 0.5))
    top, left = rng.randint(0, size - height), rng.randint(0, size - width)
    return slice(top, top + height), slice(left, left + width)


def enlarged(part: np.ndarray, size: int) -> np.ndarray:
    """(H, W, 3) -> (size, size, 3)."""
    return cv2.resize(part, (size, size), interpolation=cv2.INTER_LINEAR)


def worse(pixels: Tensor, kind: str, strength: int) -> Tensor:
    """Noise of 8 to 38 % of the range, or a Gaussian blur of 1 to 6 pixels at 224 (the strengths of
    Hendrycks and Dietterich 2019, arXiv:1903.12261): (S, S, 3) uint8 -> the same."""
    if kind == "blur":
        sigma = BLUR[strength - 1] * len(pixels) / 224
        return torch.from_numpy(cv2.GaussianBlur(pixels.numpy(), (0, 0), sigma))
    generator = torch.Generator().manual_seed(int(pixels[::16, ::16].sum()))
    noise = torch.randn(pixels.shape, generator=generator) * 255 * NOISE[strength - 1]
    return (pixels + noise).round().clamp(0, 255).to(torch.uint8)


class PhotoEncoder(Encoder):
    """Photos of one size through the frozen ``trunk``; ``mean`` and ``std`` as it was trained."""

    mean: Sequence[float]
    std: Sequence[float]

    def prepare(self, items: Sequence[Tensor]) -> list[Tensor]:
        """(size, size, 3) uint8 each -> (C, H, W) or (T, D) float each."""
        return list(self.prepare_batch(torch.stack(list(items))))

    def prepare_batch(self, batch: Tensor) -> Tensor:
        """(B, size, size, 3) uint8 -> (B, C, H, W) or (B, T, D) float."""
        with torch.no_grad():
            x: Tensor = self.trunk(to_channels(batch, self.mean, self.std))
        return x


def to_channels(batch: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, H, W) float, (x - mean) / std, laid out channels-last.

    Channels-last is the order the pixels have already, and the one in which the processor's
    convolutions are fastest.
    """
    x = batch.to(torch.float32)
    x = (x - x.new_tensor(mean)) / x.new_tensor(std)
    return x.permute(0, 3, 1, 2)  # (B, 3, H, W), strides still those of (B, H, W, 3)
