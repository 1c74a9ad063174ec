"""Caption six sample photos of different kinds, and draw where the model looked for each word.

What each photo shows is written down here, so that the demo can say which captions are wrong.
"""

from __future__ import annotations

from pathlib import Path

import plait
from plait.outputs.text.metrics.subject import is_about

PHOTOS = Path(__file__).parent / "photos"
OUT = Path("out/demo")
SHOWS = {
    "astronaut": {"woman", "person", "astronaut"},
    "camera": {"man", "person", "photographer"},
    "chelsea": {"cat", "kitten"},
    "coffee": {"cup", "coffee", "mug"},
    "grass": {"grass", "lawn", "field"},
    "rocket": {"rocket"},
}
"""The main subject of each photo, in words that are right for it."""


def main() -> None:
    """Print each caption, how likely it is right by the model itself, and whether it is."""
    OUT.mkdir(parents=True, exist_ok=True)
    model = plait.load("captioner")
    photos = sorted(PHOTOS.glob("*.jpg"))
    right = 0
    for photo in photos:
        caption = model.predict(photo)
        model.attention(photo, caption).picture().save(OUT / f"{photo.stem}.attention.png")
        named = is_about(caption.value, SHOWS[photo.stem])
        right += named
        print(f"{photo.stem:>9}: {caption.value}{'' if named else '  <- wrong'}")
        print(f"{'':>11}{caption.details.confidence:.0%} likely right")
    print(f"\nThe main subject is right in {right} of {len(photos)} photos, by the list SHOWS.")
    print(f"Where the model looked for each word is drawn in {OUT}/")


if __name__ == "__main__":
    main()
