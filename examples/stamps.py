"""Make a table of Tux Paint's stamps: picture, English description, spoken Spanish one, category.

    python examples/stamps.py stamps
    plait train stamps stamps/stamps.csv --out my-stamps

The stamps are Debian's package tuxpaint-stamps-default (GPL-2). A category is a top folder.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

INSTALLED = Path("/usr/share/tuxpaint/stamps")
LEAST = 10  # families of a category; of fewer, a share for the test would be one or none
# Words of a file's name that tell one drawing's versions apart.
VERSIONS = frozenset(
    {"a", "an", "the"}
    | {"black", "blue", "brown", "golden", "gray", "green", "grey", "orange", "pink", "purple"}
    | {"red", "silver", "white", "yellow", "big", "large", "little", "small", "old", "new"}
    | {"open", "closed", "left", "right", "outline", "outlined", "filled", "photo"}
    | {"baby", "sitting", "stand", "flying", "eating", "sleeping"}
)


@dataclass(frozen=True)
class Stamp:
    """A row of the table; ``speech`` is empty where there is none."""

    image: str
    text: str
    speech: str
    category: str
    family: str = ""


def main() -> None:
    """Write the table and say what is in it."""
    parser = argparse.ArgumentParser(description="Make a table of Tux Paint's stamps.")
    parser.add_argument("out", type=Path, help="folder to write stamps.csv to")
    parser.add_argument("stamps", type=Path, nargs="?", default=INSTALLED, help="their folder")
    args = parser.parse_args()
    if not args.stamps.is_dir():
        sys.exit(f"{args.stamps} is no folder: install it with\n"
                 "    apt-get install tuxpaint-stamps-default")  # fmt: skip
    stamps = with_families(find(args.stamps.resolve()))
    kept, dropped = large_categories(stamps)
    path = write(kept, args.out)
    print(f"{path}: {len(kept)} stamps, {len({s.family for s in kept})} families")
    for category, count in sorted(Counter(s.category for s in kept).items()):
        print(f"    {category} {count}")
    print(f"left out, of fewer than {LEAST} families: {', '.join(dropped) or 'none'}")


def find(folder: Path) -> list[Stamp]:
    """All PNG files with a description; mirror images of others are left out."""
    stamps = []
    for image in sorted(folder.rglob("*.png")):
        description = image.with_suffix(".txt")
        speech = image.with_name(f"{image.stem}_desc_es.ogg")
        if description.is_file() and not image.stem.endswith(("_mirror", "_flip")):
            text = description.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
            category = image.relative_to(folder).parts[0]
            spoken = str(speech) if speech.is_file() else ""
            stamps.append(Stamp(str(image), text.strip(), spoken, category))
    return stamps


def with_families(stamps: Iterable[Stamp]) -> list[Stamp]:
    """Stamps that share a description or, in one category, the words of their names are a family.

    A family must stay in one split: its stamps are versions of one drawing, or of one thing.
    """
    members: dict[str, list[Stamp]] = {}
    family_of: dict[str, str] = {}
    for stamp in stamps:
        keys = [f"text {words(stamp.text)}", f"{stamp.category} {name(stamp)}"]
        found = {family_of[key] for key in keys if key in family_of}
        family = min(found, default=f"{stamp.category}/{name(stamp)}")
        joined = [member for other in sorted(found) for member in members.pop(other)]
        members[family] = [*joined, stamp]
        family_of.update(dict.fromkeys(keys, family))
        family_of.update({key: family for key, of in family_of.items() if of in found})
    return [replace(stamp, family=family) for family, all_ in members.items() for stamp in all_]


def words(text: str) -> str:
    """Lower-case words without articles, colours and the like; all words if that leaves none."""
    every = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text))
    every = [word.lower() for word in every]
    return " ".join([word for word in every if word not in VERSIONS] or every)


def name(stamp: Stamp) -> str:
    """The words of a file's name; of a name without any, its folder's."""
    path = Path(stamp.image)
    return words(path.stem) or words(path.parent.as_posix().partition(stamp.category)[2])


def large_categories(stamps: Iterable[Stamp]) -> tuple[list[Stamp], list[str]]:
    """Stamps of categories with enough families, and the names of the others."""
    families: dict[str, set[str]] = defaultdict(set)
    stamps = list(stamps)
    for stamp in stamps:
        families[stamp.category].add(stamp.family)
    kept = [stamp for stamp in stamps if len(families[stamp.category]) >= LEAST]
    return kept, sorted(c for c, found in families.items() if len(found) < LEAST)


def write(stamps: Iterable[Stamp], folder: Path) -> Path:
    """``stamps.csv``, a row a stamp."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "stamps.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, [field.name for field in fields(Stamp)])
        table.writeheader()
        table.writerows(asdict(stamp) for stamp in stamps)
    return path


if __name__ == "__main__":
    main()
