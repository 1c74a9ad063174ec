"""A picture of a photo with its captions below it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

INK, SOFT, PAPER = (20, 20, 20), (105, 105, 105), (255, 255, 255)
NARROWEST = 480  # pixels, so that there is room for a caption
LETTERS, SMALLEST, LARGEST = 34, 17, 30  # a line's width in letters, roughly; sizes of a letter
SPACING = 1.35  # of lines, in letters

FONTS = (
    "DejaVuSans.ttf", "NotoSans-Regular.ttf", "arial.ttf", "Arial.ttf", "Arial Unicode.ttf",
    "NotoSansCJK-Regular.ttc", "msyh.ttc", "PingFang.ttc",
)  # fmt: skip
"""Fonts of Linux, Windows and macOS for letters that Pillow's own font lacks."""
NO_LETTER = "\uffff"  # drawn as what stands for letters that a font lacks

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def captioned(pixels: NDArray[np.uint8], captions: Sequence[str], note: str = "") -> Image.Image:
    """A photo (H, W, 3) in its own shape, its captions below it, the first one darker than the
    others, and last a note in small letters."""
    photo = Image.fromarray(pixels)
    width = max(photo.width, NARROWEST)
    size = min(max(width // LETTERS, SMALLEST), LARGEST)
    margin = size
    lines: list[tuple[str, Font, tuple[int, int, int], float]] = []  # and how far below the last
    for rank, text in enumerate([*captions, *[note] * bool(note)]):
        is_note = rank == len(captions)
        font = font_for(text, round(size * 0.75) if is_note else size)
        colour, above = SOFT if rank else INK, 0.45 * size if rank else 0.0
        for line in wrapped(text, font, width - 2 * margin):
            lines.append((line, font, colour, above))
            above = 0.0
    step = size * SPACING
    height = sum(step + above for *_, above in lines)
    sheet = Image.new("RGB", (width, round(photo.height + height + 2 * margin)), PAPER)
    sheet.paste(photo, ((width - photo.width) // 2, 0))
    draw, y = ImageDraw.Draw(sheet), photo.height + margin + step / 2
    for text, font, colour, above in lines:
        y += above
        draw.text((margin, y), text, colour, font, anchor="lm")
        y += step
    return sheet


def font_for(text: str, size: int) -> Font:
    """Pillow's own font, or that of this machine's which lacks the fewest letters of the text."""
    own = ImageFont.load_default(size)
    if text.isascii():
        return own

    def lacks(font: Font) -> int:
        nothing = bytes(font.getmask(NO_LETTER))
        return sum(bytes(font.getmask(c)) == nothing for c in text if not c.isspace())

    return min([own, *_fonts(size)], key=lacks)


@cache
def _fonts(size: int) -> list[Font]:
    found: list[Font] = []
    for name in FONTS:
        with suppress(OSError):
            found.append(ImageFont.truetype(name, size))
    return found


def wrapped(text: str, font: Font, width: float) -> Iterator[str]:
    """The lines of a text, broken between words, or within a word that is wider than a line."""
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if font.getlength(longer) <= width:
            line = longer
            continue
        if line:
            yield line
        while font.getlength(word) > width and len(word) > 1:
            fits = next(n for n in range(len(word) - 1, 0, -1)
                        if n == 1 or font.getlength(word[:n]) <= width)  # fmt: skip
            yield word[:fits]
            word = word[fits:]
        line = word
    if line:
        yield line
