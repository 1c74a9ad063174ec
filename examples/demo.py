"""Caption six sample photos of different kinds, and draw where the model looked for each word.

What each photo shows is written down here, so that the demo can say which captions are wrong.
"""

from __future__ import annotations

from pathlib import Path

import plait
from plait.outputs.text.metrics.subject import subject

PHOTOS = Path(__file__).parent / "photos"
OUT = Path("out/demo")
SHOWS = {
    "astronaut": {"woman", "person", "astronaut"},
    "camera": {"man", "person", "photographer"},
    "chelsea": {"cat", "kitten"},
    "clock": {"clock"},
    "coffee": {"cup", "coffee", "mug"},
    "rocket": {"rocket"},
}
"""The main subject of each photo, in words that are right for it."""


def main() -> None:
    """Print each caption, how likely it is right by the model itself, and whether it is."""
    OUT.mkdir(parents=True, exist_ok=True)
    model = plait.load("captioner")
    wrong = []
    for photo in sorted(PHOTOS.glob("*.jpg")):
        caption = model.predict(photo)
        model.attention(photo, caption).picture().save(OUT / f"{photo.stem}.attention.png")
        print(f"{photo.stem:>9}: {caption.value} ({caption.details.confidence:.0%} likely right)")
        if subject(caption.value.split()) not in SHOWS[photo.stem]:
            wrong.append(photo.stem)
    print(f"\nWrong about its main subject: {', '.join(wrong) or 'none'}.")
    print(f"Where the model looked for each word is drawn in {OUT}/")


if __name__ == "__main__":
    main()
