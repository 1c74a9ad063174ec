"""Small photos with captions, drawn here."""

from __future__ import annotations

import numpy as np
from PIL import Image

COLOURS = {"red": (220, 30, 30), "green": (30, 180, 40), "blue": (30, 60, 220)}
PLACES = {"left": (4, 20), "right": (40, 20), "top": (22, 2), "bottom": (22, 40)}
SIDE = 64


def draw(colour: str, place: str, noise: int) -> Image.Image:
    """A coloured square on grey noise."""
    rng = np.random.default_rng(noise)
    pixels = rng.integers(90, 140, (SIDE, SIDE, 3)).astype(np.uint8)
    x, y = PLACES[place]
    pixels[y : y + 20, x : x + 20] = COLOURS[colour]
    return Image.fromarray(pixels)


def captions(colour: str, place: str) -> list[str]:
    return [
        f"A {colour} square at the {place} .",
        f"There is a {colour} square on the {place} side .",
    ]
