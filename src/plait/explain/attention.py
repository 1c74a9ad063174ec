"""Where each word was looked for: the photo first, then one tile a word.

The picture of Show, Attend and Tell (Xu et al. 2015, arXiv:1502.03044).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from plait.types import Prediction

TILE = 224  # pixels a side
LABEL = 30  # pixels under each tile
GAP = 8
COLUMNS = 5
INK, PAPER = (20, 20, 20), (255, 255, 255)


def attention_picture(
    pixels: NDArray[np.uint8], prediction: Prediction, name: str, grid: tuple[int, int]
) -> Image.Image:
    """The tiles as one picture.

    Args:
        pixels: (H, W, 3) uint8, what the encoder saw.
        prediction: with its words and its attention over the input ``name``.
        grid: (rows, columns) of that input's tokens.
    """
    photo = cv2.resize(pixels, (TILE, TILE), interpolation=cv2.INTER_AREA)
    tiles = [_tile(photo, prediction.value)]
    for word, weights in zip(prediction.words, prediction.attention[name], strict=True):
        tiles.append(_tile(_lit(photo, weights.reshape(grid)), word))
    return _sheet(tiles)


def attention_numbers(prediction: Prediction, name: str, grid: tuple[int, int]) -> dict[str, Any]:
    """Words and their maps, rows of columns, each map adding up to 1."""
    maps = prediction.attention[name].reshape(-1, *grid)
    return {
        "caption": prediction.value,
        "grid": list(grid),
        "words": [
            {"word": word, "attention": np.round(values, 5).tolist()}
            for word, values in zip(prediction.words, maps, strict=True)
        ],
    }


def _lit(photo: NDArray[np.uint8], weights: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The photo, bright where the word was looked for and dark elsewhere."""
    light = cv2.resize(weights.astype(np.float32), (TILE, TILE), interpolation=cv2.INTER_CUBIC)
    light = np.clip(light, 0, None)
    light = (light / max(float(light.max()), 1e-9))[..., None]
    out: NDArray[np.uint8] = (photo * (0.2 + 0.8 * light)).astype(np.uint8)
    return out


def _tile(picture: NDArray[np.uint8], text: str) -> Image.Image:
    tile = Image.new("RGB", (TILE, TILE + LABEL), PAPER)
    tile.paste(Image.fromarray(picture), (0, 0))
    draw = ImageDraw.Draw(tile)
    size = 18
    while size > 8 and draw.textlength(text, _font(size)) > TILE - 4:
        size -= 1
    draw.text((TILE / 2, TILE + LABEL / 2), text, INK, _font(size), anchor="mm")
    return tile


def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _sheet(tiles: Sequence[Image.Image]) -> Image.Image:
    columns = min(COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = Image.new(
        "RGB", (columns * (TILE + GAP) + GAP, rows * (TILE + LABEL + GAP) + GAP), PAPER
    )
    for i, tile in enumerate(tiles):
        sheet.paste(
            tile, (GAP + i % columns * (TILE + GAP), GAP + i // columns * (TILE + LABEL + GAP))
        )
    return sheet
