"""Where the model looked for each word: the photo, then the photo again for each word.

The picture of Show, Attend and Tell (Xu et al. 2015, arXiv:1502.03044).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from plait.data.images import shrunk
from plait.modalities.segments import View
from plait.outputs.base import Output
from plait.render.captioned import INK, PAPER, font_for
from plait.types import Prediction, UsageError
from plait.util.files import write_atomically

TILE, LARGEST_TILE = 320, 640  # pixels of a tile's longer side, at least and at most
MOST_PIXELS = 10_000_000  # of all tiles; where there are many, they are smaller
NARROWEST = 120  # pixels, so that there is room for a word
LABEL, TITLE = 36, 56  # pixels below each tile, and above all tiles
SMALLEST, LARGEST = 8, 24  # size of the letters
GAP = 8
COLUMNS = 5
DIGITS = 4  # of the weights of an answer's clues
DARKEST = 0.35  # brightness of the photo where the model did not look


@dataclass(frozen=True)
class Attention:
    """Where the model looked in one input for each word of its answer."""

    answering: Output  # the output that gave the answer
    prediction: Prediction  # the answer
    input: str  # the input's name
    pixels: NDArray[np.uint8]  # (H, W, 3), the picture in its own shape
    view: View  # the part of it that the encoder saw
    grid: tuple[int, int]  # (rows, columns) of the input's tokens, which divide that part
    output: str = "answer"  # the output's name

    @property
    def words(self) -> Sequence[str]:
        """The words of the answer, or its other steps."""
        return self.answering.words(self.prediction)

    @property
    def maps(self) -> NDArray[np.float32]:
        """(words, rows, columns): a map for each word. Its sum is the share of the attention that
        this input got; the rest went to other inputs, and to words that were found in them."""
        return self.answering.attention(self.prediction)[self.input].reshape(-1, *self.grid)

    def picture(self) -> Image.Image:
        """The photo, then the photo again for each word, bright where the model looked for it; at
        its own size, if that is neither small nor large."""
        largest = int((MOST_PIXELS / (1 + len(self.words))) ** 0.5)
        photo = shrunk(self.pixels, min(max(TILE, largest), LARGEST_TILE))
        if (larger := TILE / max(photo.shape)) > 1:
            photo = np.asarray(cv2.resize(photo, None, fx=larger, fy=larger), np.uint8)
        tiles = [_tile(photo, "")]
        for word, weights in zip(self.words, self.maps, strict=True):
            light = laid_over(weights, self.view, photo.shape[:2]).clip(0)
            light = (light / max(float(light.max()), 1e-9))[..., None]
            lit = (photo * (DARKEST + (1 - DARKEST) * light)).astype(np.uint8)
            tiles.append(_tile(lit, word))
        columns = min(COLUMNS, len(tiles))
        rows = -(-len(tiles) // columns)
        across, down = (length + GAP for length in tiles[0].size)
        sheet = Image.new("RGB", (columns * across + GAP, rows * down + TITLE), PAPER)
        _write(sheet, self.prediction.value, TITLE / 2)
        for i, tile in enumerate(tiles):
            sheet.paste(tile, (GAP + i % columns * across, TITLE + i // columns * down))
        return sheet

    def to_json(self) -> dict[str, Any]:
        """The answer, under its output's name, and its maps as plain JSON."""
        words = zip(self.words, np.round(self.maps, 5).tolist(), strict=True)
        facts = {
            title: {word: round(weight, DIGITS) for word, weight in weights.items()}
            for title, weights in self.answering.clues(self.prediction).items()
        } | {
            "grid": list(self.grid),
            "view": [list(ends) for ends in self.view],
            "words": [{"word": word, "attention": numbers} for word, numbers in words],
        }
        # An output may be called like one of the facts.
        title = "answer" if self.output in facts else self.output
        return {title: self.prediction.value, **facts}

    def save(self, path: str | Path) -> None:
        """Write the picture (.png) or the numbers (.json).

        Raises:
            UsageError: the name ends in neither.
            PlaitError: the file can't be written.
        """
        path = Path(path)
        if path.suffix == ".png":
            picture = self.picture()
            write_atomically(path, lambda part: picture.save(part, format="PNG"))
        elif path.suffix == ".json":
            write_atomically(path, json.dumps(self.to_json(), ensure_ascii=False))
        else:
            raise UsageError(
                f"can't write an explanation to {path}", expected="a name ending in .png or .json"
            )


def laid_over(weights: NDArray[Any], view: View, shape: tuple[int, int]) -> NDArray[np.float32]:
    """A map (rows, columns) of the part of a picture in the view -> (H, W), ``shape``, smoothly
    over the whole picture; 0 outside the view."""
    steps = [  # where each pixel lies among the map's cells, counted from the middle of the first
        ((np.arange(pixels) + 0.5) / pixels - start) / (end - start) * cells - 0.5
        for pixels, cells, (start, end) in zip(shape, weights.shape, reversed(view), strict=True)
    ]
    y, x = (grid.astype(np.float32) for grid in np.meshgrid(*steps, indexing="ij"))
    values = weights.astype(np.float32)
    light = cv2.remap(values, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    rows, columns = weights.shape
    seen = (y >= -0.5) & (y <= rows - 0.5) & (x >= -0.5) & (x <= columns - 0.5)
    return np.asarray(light * seen, np.float32)


def _tile(picture: NDArray[np.uint8], text: str) -> Image.Image:
    height, width = picture.shape[:2]
    tile = Image.new("RGB", (max(width, NARROWEST), height + LABEL), PAPER)
    tile.paste(Image.fromarray(picture), ((tile.width - width) // 2, 0))
    _write(tile, text, height + LABEL / 2)
    return tile


def _write(picture: Image.Image, text: str, y: float) -> None:
    """Text in the middle of the picture's width, as large as fits."""
    draw = ImageDraw.Draw(picture)
    for size in range(LARGEST, SMALLEST - 1, -1):
        font = font_for(text, size)
        if draw.textlength(text, font) <= picture.width - 2 * GAP:
            break
    draw.text((picture.width / 2, y), text, INK, font, anchor="mm")
