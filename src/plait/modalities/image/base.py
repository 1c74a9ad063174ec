"""What all representations of an image share: reading, resizing, augmenting. And `cnn`.

Shapes: S pixels a side.
"""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from plait.config.registry import register
from plait.data.cells import MediaInfo, is_sentence
from plait.data.images import IMAGE, KINDS, Fit, image_info, open_resized, open_shown
from plait.modalities.base import Facts, Item, Match, Modality, item_generator, view_generator
from plait.modalities.segments import SIDE, Grid, Kept, Segments
from plait.types import Geometry

READING_VERSION = 1  # raise it when the same file would give other pixels: old caches must miss
TILES, DRAWN = 6, 336  # segments a side of a photo, and the longer side of its drawing
SMALLEST = 0.7  # smallest share of a photo's area that an augmented view shows
NOISE, BLUR = (0.08, 0.12, 0.18, 0.26, 0.38), (1.0, 2.0, 3.0, 4.0, 6.0)

SIZES = {"lite0": 224, "lite1": 240, "lite2": 260}  # pixels a side, as each was trained

Pixels = NDArray[np.uint8]
NetworkName = Literal["lite0", "lite1", "lite2"]
Train = Literal["frozen", "last-blocks", "all"]
Resize = Annotated[
    Fit, Field(description="squash the photo to a square, crop it, or put bars beside it")
]


class Photo(Modality):
    """Reads a picture to a square of RGB pixels, (S, S, 3) uint8."""

    facts = Facts(
        column_names=(
            "image", "photo", "picture", "img", "image_path", "file_name", "filename", "path",
            "file", "filepath", "image_name", "image_id", "jpg", "png",
        ),
        example="'photo.jpg'",
        files=KINDS,
        accept="image/*",
        also=(".heic", ".heif", ".hif", ".avif"),
        noun="a photo",
        hub_tasks={"text": "image-to-text", "category": "image-classification"},
        request="That needs a photo: give its path",
    )  # fmt: skip
    fixed_length = True
    corruptions = ("noise", "blur")

    views: int = Field(1, ge=1, le=16, description="augmented versions (mirrored, cropped)")

    @classmethod
    def recognises(cls, cell: Any) -> Match:
        """By a file's suffix or first bytes; any other word may be a file's name."""
        if IMAGE.is_certain(cell):
            return "certain"
        return "possible" if isinstance(cell, (str, bytes)) and not is_sentence(cell) else "no"

    @property
    def shape(self) -> tuple[int, Fit]:
        """Pixels a side, and how a photo is brought to them; by default as set."""
        own: Any = self
        return own.size, own.resize

    def read(self, cell: Any, root: Path) -> Pixels:
        """(S, S, 3) uint8."""
        return open_resized(cell, root, *self.shape)

    def media_info(self, cell: Any, root: Path) -> MediaInfo:
        """Its width and height."""
        return image_info(cell, root)

    def augment(self, item: Item, view: int, seed: int) -> Item:
        """View 1 is the mirror image, 2... random crops of 70 to 100 % of the area; odd views are
        mirrored."""
        if view > 1:
            left, top, width, height = random_part(len(item), SMALLEST, view_generator(view, seed))
            item = enlarged(item[top : top + height, left : left + width], len(item))
        return np.ascontiguousarray(item[:, ::-1]) if view % 2 else item

    def geometry(self, info: MediaInfo, view: int, seed: int) -> Geometry | None:
        """x and y in pixels."""
        size, resize = self.shape
        shown = as_read(info, size, resize)
        if view > 1:
            shown = part_of(shown, random_part(size, SMALLEST, view_generator(view, seed)))
        return mirrored(shown) if view % 2 else shown

    def corrupt(self, item: Item, kind: str, strength: int) -> Item:
        """As `worse`."""
        return worse(item, kind, strength)

    def example(self) -> Pixels:
        """A black photo."""
        return np.zeros((self.shape[0], self.shape[0], 3), np.uint8)

    def samples(self) -> list[Any]:
        """Two small PNG files."""
        shades = (np.full((8, 8, 3), shade, np.uint8) for shade in (80, 160))
        return [cv2.imencode(".png", picture)[1].tobytes() for picture in shades]

    def fingerprint(self) -> str:
        """Size, resizing and the version of the reading code."""
        return json.dumps(["photo", READING_VERSION, *self.shape])

    def picture(self, cell: Any, root: Path) -> Pixels:
        """The photo, with at most `SIDE` pixels along the longer side."""
        return open_shown(cell, root, SIDE)

    def segments(self, cell: Any, root: Path) -> Segments:
        """Parts of the photo, squares of what was read; those that are hidden get its mean
        colour."""
        photo, shown = self.read(cell, root), self.picture(cell, root)
        edges = np.linspace(0, len(photo), TILES + 1).round().astype(int)
        sides, mean = np.diff(edges), photo.mean(axis=(0, 1)).round().astype(np.uint8)

        def perturb(kept: Kept) -> Item:
            seen = np.repeat(np.repeat(kept.reshape(TILES, TILES), sides, 0), sides, 1)
            return np.where(seen[..., None], photo, mean)

        nameless, size = [""] * TILES, drawn_size(shown)
        return Grid(shown, size, nameless, nameless, perturb, square=True, view=self.view(shown))


@register("image", "cnn")
class Cnn(Photo):
    """EfficientNet-Lite's feature map (ImageNet weights): one token for every 32×32 pixels."""

    encoder_class = "plait.modalities.image.networks.CnnEncoder"

    network: NetworkName = Field("lite0", description="size: larger is better, but slower")
    classes: int = Field(
        0,
        ge=0,
        le=64,
        description="how many of the likeliest ImageNet classes are given to the outputs, each as "
        "an everyday word; 0: none",
    )
    retention: float = Field(
        1.0, ge=0, description="weight of the loss that keeps the classes as pretrained"
    )
    train: Train = Field("frozen", description="which layers are trained")
    blocks: int = Field(5, ge=1, le=16, description="number of blocks that last-blocks trains")
    layer: Literal["block", "head"] = Field(
        "head", description="output of the last block or of the head"
    )
    size: int | None = Field(
        None, ge=32, le=1024, description="pixels per side; null: as pretrained"
    )

    resize: Resize = "squash"

    @model_validator(mode="after")
    def _classes_need_the_head(self) -> Cnn:
        if self.classes and self.layer != "head":
            raise ValueError("the classes are made of the head's output; expected layer: head")
        return self

    @property
    def shape(self) -> tuple[int, Fit]:
        """By default the size that the network was trained on."""
        return self.size or SIZES[self.network], self.resize

    @property
    def tag_names(self) -> Sequence[str]:
        """Those of `imagenet_words`: the class "Egyptian cat" is called a cat."""
        return imagenet_words() if self.classes else ()


def imagenet_words() -> list[str]:
    """An everyday word for each of ImageNet's 1,000 classes, chosen by hand."""
    file = importlib.resources.files("plait.modalities.image") / "imagenet_words.txt"
    return file.read_text(encoding="utf-8").split()


def drawn_size(picture: Pixels) -> tuple[int, int]:
    """Width and height of a photo's drawing, `DRAWN` pixels along the longer side."""
    height, width = picture.shape[:2]
    scale = DRAWN / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


# Crops and their geometry, which clips share --------------------------------------------------

Part = tuple[int, int, int, int]
"""Left, top, width and height of a part of a picture, in its pixels."""


def random_part(size: int, smallest: float, rng: np.random.Generator) -> Part:
    """A nearly square part of a picture of ``size`` pixels a side: ``smallest`` to all of its
    area."""
    area, aspect = rng.uniform(smallest, 1.0), rng.uniform(0.85, 1.18)
    height = min(size, round(size * (area / aspect) ** 0.5))
    width = min(size, round(size * (area * aspect) ** 0.5))
    left, top = rng.integers(0, size - width + 1), rng.integers(0, size - height + 1)
    return int(left), int(top), width, height


def enlarged(part: Pixels, size: int) -> Pixels:
    """(H, W, 3) -> (size, size, 3)."""
    return np.asarray(cv2.resize(part, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)


def as_read(info: MediaInfo, size: int, resize: Fit) -> Geometry:
    """How a picture lies over its original once it is resized to ``size`` pixels a side."""
    width, height = max(info.width, 1), max(info.height, 1)
    sides = {
        "squash": (width, height),
        "crop": (min(width, height),) * 2,
        "letterbox": (max(width, height),) * 2,
    }[resize]
    scale = size / sides[0], size / sides[1]
    left, top = (width - sides[0]) // 2, (height - sides[1]) // 2
    return Geometry(scale, (-left * scale[0], -top * scale[1]), (size, size))


def part_of(shown: Geometry, part: Part) -> Geometry:
    """The geometry once a part of the picture is enlarged to its size."""
    factors = np.divide(shown.size, part[2:])
    scale, shift = factors * shown.scale, factors * np.subtract(shown.shift, part[:2])
    return Geometry(tuple(scale.tolist()), tuple(shift.tolist()), shown.size)


def mirrored(shown: Geometry) -> Geometry:
    """The geometry once left and right are swapped; further axes stay as they are."""
    (scale, *scales), (shift, *shifts) = shown.scale, shown.shift
    return Geometry((-scale, *scales), (shown.size[0] - shift, *shifts), shown.size)


def worse(pixels: Pixels, kind: str, strength: int) -> Pixels:
    """(S, S, 3) uint8 -> the same with noise of 8 to 38 % of the range, or with a Gaussian blur of
    1 to 6 pixels at 224 (the strengths of Hendrycks and Dietterich 2019, arXiv:1903.12261)."""
    if kind == "blur":
        sigma = BLUR[strength - 1] * len(pixels) / 224
        return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.uint8)
    noise = item_generator(pixels).standard_normal(pixels.shape, np.float32)
    noisy = pixels + noise * np.float32(255 * NOISE[strength - 1])
    return noisy.round().clip(0, 255).astype(np.uint8)
