"""Make the table of the recipe `shapes` from the package easy-vqa (pip install easy-vqa).

    python examples/shapes_table.py shapes.csv

Its 64 by 64 pictures show a shape of a colour; a row is a question about one, its answer and what
it asks for. The test rows are the package's own.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path


def kind_of(answer: str) -> str:
    """What was asked for."""
    if answer in ("yes", "no"):
        return "yes or no"
    return "shape" if answer in ("rectangle", "circle", "triangle") else "colour"


def rows() -> Iterator[tuple[str, str, str, str, str]]:
    """Picture, question, answer, kind and split.

    Raises:
        SystemExit: the package is not there.
    """
    try:
        import easy_vqa
    except ImportError:
        raise SystemExit("this needs the package easy-vqa: pip install easy-vqa") from None
    parts = {
        "train": (easy_vqa.get_train_questions(), easy_vqa.get_train_image_paths()),
        "test": (easy_vqa.get_test_questions(), easy_vqa.get_test_image_paths()),
    }
    for split, (asked, paths) in parts.items():
        for question, answer, image in zip(*asked, strict=True):
            yield str(paths[image]), question, answer, kind_of(answer), split


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit("usage: python examples/shapes_table.py shapes.csv")
    found = list(rows())
    with Path(sys.argv[1]).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "question", "answer", "kind", "split"])
        writer.writerows(found)
    print(f"{len(found):,} questions in {sys.argv[1]}")


if __name__ == "__main__":
    main()
