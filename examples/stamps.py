"""Make the table of Tux Paint's stamps that the recipe `stamps` learns from.

    python examples/stamps.py [INSTALLED] [FOLDER]

INSTALLED is where Debian's package tuxpaint-stamps-default lies (/usr/share/tuxpaint/stamps),
FOLDER where stamps.csv is written (here). A row is a stamp: its picture, its description in
English, the same spoken in Spanish (empty where nobody recorded it), and its category, the name of
its folder. Pictures, descriptions and recordings are named where they lie, nothing is copied.

Near-duplicates are one `family`: stamps of one description, one drawing (`apple_red`, `apple2`) or
one file. A family lies in one split, drawn by its name alone, so that it is the same everywhere.
"""

from __future__ import annotations

import csv
import hashlib
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

INSTALLED = "/usr/share/tuxpaint/stamps"
LEAST = 15  # families that a category needs
TRAIN, VAL = 0.65, 0.8  # where the families of a category are cut
COLOURS = "black|blue|brown|golden|gold|green|grey|gray|orange|pink|purple|red|silver|white|yellow"
VARIANT = re.compile(rf"(?:[-_ ]?\d+|[-_ ](?:{COLOURS}|mirror))+$")


@dataclass(frozen=True)
class Stamp:
    """A picture with its description."""

    image: Path
    text: str
    speech: Path | None
    category: str

    def keys(self) -> Iterator[str]:
        """What near-duplicates have in common: description, drawing, the very files."""
        yield f"text {self.text.lower()}"
        name = self.image.stem.lower()
        yield f"drawing {VARIANT.sub('', name) or self.image}"
        for file in filter(None, [self.image, self.speech]):
            yield f"file {hashlib.sha256(file.read_bytes()).hexdigest()}"


def find_stamps(installed: Path) -> list[Stamp]:
    """The stamps that have a picture (PNG) and a description, by path.

    Raises:
        SystemExit: there are none.
    """
    found = []
    for image in sorted(installed.rglob("*.png")):
        written = image.with_suffix(".txt")
        speech = image.with_name(f"{image.stem}_desc_es.ogg")
        text = first_line(written) if written.exists() else ""
        if text:
            category = image.relative_to(installed).parts[0]
            found.append(Stamp(image, text, speech if speech.exists() else None, category))
    if not found:
        raise SystemExit(
            f"no stamps in {installed}; mend: apt-get install tuxpaint-stamps-default, "
            "or name the folder where they lie"
        )
    return found


def first_line(file: Path) -> str:
    """The description in English; other languages' follow it."""
    return (file.read_text("utf-8", errors="replace").splitlines() or [""])[0].strip()


def families(stamps: Iterable[Stamp]) -> list[list[Stamp]]:
    """Stamps that share a key, also through other stamps."""
    found: list[tuple[set[str], list[Stamp]]] = []
    for stamp in stamps:
        keys, members = set(stamp.keys()), [stamp]
        apart = []
        for family in found:
            if family[0] & keys:
                keys, members = keys | family[0], family[1] + members
            else:
                apart.append(family)
        found = [*apart, (keys, members)]
    return [members for _, members in found]


def in_categories(groups: Iterable[list[Stamp]]) -> dict[str, list[list[Stamp]]]:
    """Category -> its families; one that spans several counts where its first stamp lies."""
    found = defaultdict(list)
    for family in groups:
        found[family[0].category].append(family)
    return dict(found)


def name_of(family: list[Stamp], installed: Path) -> str:
    """Its first stamp's place, the same wherever the stamps lie."""
    return family[0].image.relative_to(installed).with_suffix("").as_posix()


def rows(groups: list[list[Stamp]], kept: set[str], installed: Path) -> Iterator[list[str]]:
    """A category's rows: its families in a drawn order, cut into train, val and test."""
    names = {name_of(family, installed): family for family in groups}
    drawn = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    for number, name in enumerate(drawn):
        place = (number + 0.5) / len(drawn)
        split = "train" if place < TRAIN else "val" if place < VAL else "test"
        for stamp in names[name]:
            if stamp.category in kept:
                yield [str(stamp.image), stamp.text, str(stamp.speech or ""), stamp.category,
                       name, split]  # fmt: skip


def main(installed: str = INSTALLED, folder: str = ".") -> None:
    """Write stamps.csv, and say what is in it."""
    source, target = Path(installed).resolve(), Path(folder).resolve() / "stamps.csv"
    found = in_categories(families(find_stamps(source)))
    kept = {name for name, groups in found.items() if len(groups) >= LEAST}
    table = [row for name in sorted(kept) for row in rows(found[name], kept, source)]
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "text", "speech", "category", "family", "split"])
        writer.writerows(table)
    spoken = sum(bool(row[2]) for row in table)
    left_out = ", ".join(sorted(found.keys() - kept)) or "none"
    print(
        f"{target}: {len(table)} stamps, {spoken} of them spoken, in {len(kept)} categories; "
        f"left out, with fewer than {LEAST} families: {left_out}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:3])
