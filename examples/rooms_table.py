"""Make the table of the recipe `rooms` from DAQUAR's two files of questions.

    python examples/rooms_table.py train.csv test.csv FOLDER

The files have the columns image, question and answer. Into FOLDER go two tables, which say of every
question what kind it is, by its first words:

    rooms.csv           the files' own split; a photo may be in both, with other questions
    rooms_by_photo.csv  no photo is in two splits: seven in ten train, one validates, two test
"""

from __future__ import annotations

import csv
import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tables import read_rows

Row = dict[str, Any]
KINDS = {
    "how many": "how many", "what is the colour": "colour", "what colour": "colour",
    "what color": "colour", "what is the color": "colour", "where": "where",
    "what is": "what", "what are": "what", "which": "what",
}  # fmt: skip
ENDS = {"train": 0.7, "val": 0.8, "test": 1.0}  # shares of the photos


def kind_of(question: str) -> str:
    """What a question asks for, by how it begins."""
    words = " ".join(question.lower().split())
    return next((kind for start, kind in KINDS.items() if words.startswith(start)), "other")


def drawn_split(image: str) -> str:
    """The split of a photo, by its name alone."""
    share = int(hashlib.sha256(Path(image).name.encode()).hexdigest()[:8], 16) / 16**8
    return next(name for name, end in ENDS.items() if share < end)


def make_rows(questions: Iterable[Row], split: str, root: Path) -> list[Row]:
    """A file's questions with the photo's place, their kind and split."""
    return [
        {
            "image": str((root / row["image"]).resolve()),
            "question": row["question"],
            "answer": row["answer"],
            "kind": kind_of(str(row["question"])),
            "split": split,
        }
        for row in questions
    ]


def write(path: Path, rows: list[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows):,} questions in {path}")


def main() -> None:
    if len(sys.argv) != 4:
        raise SystemExit("usage: python examples/rooms_table.py train.csv test.csv FOLDER")
    rows = []
    for name, split in zip(sys.argv[1:3], ("train", "test"), strict=True):
        found, root = read_rows(name, "image", "question", "answer")
        rows += make_rows(found, split, root)
    folder = Path(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "rooms.csv", rows)
    write(
        folder / "rooms_by_photo.csv", [row | {"split": drawn_split(row["image"])} for row in rows]
    )


if __name__ == "__main__":
    main()
