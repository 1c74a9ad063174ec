"""Make the table of Tux Paint's spoken descriptions that the recipe `speech-stamps` learns from.

    python examples/spoken_stamps.py [LANGUAGE] [INSTALLED] [FOLDER]

LANGUAGE is es (Spanish, the default), fr or another that has recordings. INSTALLED is where
Debian's package tuxpaint-stamps-default lies (/usr/share/tuxpaint/stamps), FOLDER where
spoken_LANGUAGE.csv is written (here). A row is a recording, named where it lies, and what it says
in small letters, without signs. Descriptions with figures or symbols are left out, as they do not
say how they are spoken. A description lies in one split, drawn by its words alone, so that it is
the same everywhere.
"""

from __future__ import annotations

import csv
import hashlib
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

INSTALLED = "/usr/share/tuxpaint/stamps"
TRAIN, VAL = 0.75, 0.85  # where the descriptions are cut
SIGNS = re.compile(r"[.,;:!?¡¿()«»“”\"…–-]+")


def spoken(installed: Path, language: str) -> Iterator[tuple[Path, str]]:
    """Recordings and what they say, by path."""
    line = re.compile(rf"{re.escape(language)}(?:\.utf8)?=(.*)")
    for sound in sorted(installed.rglob(f"*_desc_{language}.ogg")):
        written = sound.with_name(sound.name.replace(f"_desc_{language}.ogg", ".txt"))
        if not written.exists():
            continue
        for found in map(line.fullmatch, written.read_text("utf-8", "replace").splitlines()):
            if found:
                yield sound, in_letters(found[1])
                break


def in_letters(text: str) -> str:
    """Small letters, composed, one space between words, no signs."""
    text = unicodedata.normalize("NFC", text.replace("’", "'")).lower()
    return " ".join(SIGNS.sub(" ", text).split())


def is_said(text: str) -> bool:
    """Whether all of it is letters, and so says how it is spoken."""
    return bool(text) and all(sign.isalpha() or sign in " '" for sign in text)


def split_of(text: str) -> str:
    """The same for the same words."""
    place = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
    return "train" if place < TRAIN else "val" if place < VAL else "test"


def main(language: str = "es", installed: str = INSTALLED, folder: str = ".") -> None:
    """Write the table, and say what is in it."""
    found = list(spoken(Path(installed).resolve(), language))
    kept = [(sound, text) for sound, text in found if is_said(text)]
    if not kept:
        raise SystemExit(
            f"no recordings in {language!r} in {installed}; mend: apt-get install "
            "tuxpaint-stamps-default, or name the folder where they lie"
        )
    target = Path(folder).resolve() / f"spoken_{language}.csv"
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["audio", "text", "split"])
        writer.writerows([str(sound), text, split_of(text)] for sound, text in kept)
    rows, texts = Counter(split_of(t) for _, t in kept), {text for _, text in kept}
    counts = ", ".join(f"{split} {rows[split]}" for split in ("train", "val", "test"))
    print(f"{target}: {len(kept)} recordings of {len(texts)} descriptions ({counts}); "
          f"{len(found) - len(kept)} left out")  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
