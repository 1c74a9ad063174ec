"""Caption the sample photos that come with scikit-image, and draw where each word looked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

import plait

NAMES = ("astronaut", "camera", "rocket", "chelsea")
OUT = Path("out/demo")


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    model = plait.load("captioner")
    for name in NAMES:
        photo = OUT / f"{name}.png"
        Image.fromarray(np.asarray(getattr(skimage.data, name)())).save(photo)
        explanation = model.explain(photo)
        explanation.save(OUT / f"{name}.attention.png")
        print(f"{name}: {explanation.prediction.value}")
    print(
        "\nThe captioner learned from 6,000 photos, most of them of people and dogs outdoors: "
        "of other things it can only guess."
    )
    print(f"The photos, and where the model looked for each word, are in {OUT}/")


if __name__ == "__main__":
    main()
