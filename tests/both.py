"""A table whose two inputs are both needed: a colour told by a photo, a place told by a text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from samples import COLOURS, PLACES, draw

RECIPE: dict[str, Any] = {
    "name": "both",
    "inputs": {
        "photo": {
            "modality": "image",
            "representation": {"kind": "pixels", "size": 32, "patch": 8, "width": 32},
        },
        "words": {
            "modality": "text",
            "representation": {"kind": "bag-of-words", "min_count": 1, "dropout": 0.0, "width": 32},
        },
    },
    "fusion": {"kind": "early", "how": "concat", "width": 32, "dropout": 0.0},
    "outputs": {"answer": {"kind": "category"}},
    "training": {"epochs": 30, "batch": 16, "learning_rate": 0.01, "averaging": 0.9, "patience": 30,
                 "modality_dropout": 0.3},
}  # fmt: skip


def write_table(folder: Path, splits: Sequence[str]) -> Path:
    """96 rows; four in a row, one of each kind, are in one split."""
    colours, places = list(COLOURS)[:2], list(PLACES)[:2]
    rows = []
    for number in range(96):
        colour, place = colours[number % 2], places[number // 2 % 2]
        draw(colour, "left", number).save(folder / f"{number}.png")
        rows.append({
            "photo": f"{number}.png", "words": f"it is {place} number {number}",
            "answer": f"{colour} {place}", "split": splits[number // 4 % len(splits)],
        })  # fmt: skip
    path = folder / "table.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
