"""Caption four sample photos, and draw where the model looked for each word."""

from __future__ import annotations

from pathlib import Path

import plait

PHOTOS = Path(__file__).parent / "photos"
OUT = Path("out/demo")


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    model = plait.load("captioner")
    for photo in sorted(PHOTOS.glob("*.jpg")):
        caption = model.predict(photo)
        model.attention(photo, caption).picture().save(OUT / f"{photo.stem}.attention.png")
        print(f"{photo.stem}: {caption.value}")
    print(
        "\nThe captioner learned from 6,000 photos, most of them of people and dogs outdoors: "
        "of other things it can only guess."
    )
    print(f"Where the model looked for each word is drawn in {OUT}/")


if __name__ == "__main__":
    main()
