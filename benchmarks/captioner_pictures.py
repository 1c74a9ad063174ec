"""Draws what the captioner in the box says of sample photos, right and wrong, on one sheet.

python benchmarks/captioner_pictures.py --out docs/pictures/any-photo.jpg
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from skimage import data

import plait
from plait.outputs.text.metrics.subject import is_about
from plait.render.captioned import captioned

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from demo import PHOTOS, SHOWS  # the examples are not a package

SKIMAGE = {"coins": {"coin"}, "brick": {"wall", "brick"}}
"""Further photos, by the function of skimage.data, and the words that are right for them."""
COLUMNS, SIDE, GAP = 4, 480, 16  # pixels, before the sheet is halved


def tile(model: plait.Model, photo: bytes, right: set[str]) -> Image.Image:
    """The middle of a photo, which the captioner sees, its caption, and whether this is right."""
    caption = model.predict(photo)
    sure = caption.details.confidence
    note = f"it is {'right' if is_about(caption.value, right) else 'wrong'}"
    note = note if sure is None else f"{sure:.0%} likely right; {note}"
    middle = ImageOps.fit(Image.open(io.BytesIO(photo)).convert("RGB"), (SIDE, SIDE))
    return captioned(np.asarray(middle), [caption.value], note)


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="captioner")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    model = plait.load(given.model)
    photos = {name: (PHOTOS / f"{name}.jpg").read_bytes() for name in SHOWS}
    for name in SKIMAGE:
        file = io.BytesIO()
        Image.fromarray(getattr(data, name)()).save(file, "PNG")
        photos[name] = file.getvalue()
    tiles = [tile(model, photos[name], right) for name, right in (SHOWS | SKIMAGE).items()]
    across, down = SIDE + GAP, max(each.height for each in tiles) + GAP
    size = (COLUMNS * across - GAP, -(-len(tiles) // COLUMNS) * down - GAP)
    sheet = Image.new("RGB", size, "white")
    for number, each in enumerate(tiles):
        row, column = divmod(number, COLUMNS)
        sheet.paste(each, (column * across, row * down))
    sheet.resize((size[0] // 2, size[1] // 2), Image.Resampling.LANCZOS).save(given.out, quality=85)


if __name__ == "__main__":
    main()
