"""Make the table of the recipe `driving` from a drive: DRIVE.csv -> TABLE.csv.

DRIVE.csv has the columns image, session, time_ms, throttle and steering, its rows in time order.
TABLE.csv also says which rows to learn from and how throttle and steering were half a second ago.
"""

from __future__ import annotations

import csv
import sys
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
ENDS = {"train": 0.7, "val": 0.85, "test": 1.0}  # shares of the rows
APART = 1000  # ms: rows nearer to a border between two splits are in neither, being nearly alike
BEFORE = ("throttle", "steering")
AGO, TOLERANCE = 500, 100  # ms: how long ago a value before is, and by how much that may be off


def make_table(rows: Sequence[Mapping[str, str]], root: Path) -> list[Row]:
    """The rows with `split`, `throttle_before` and `steering_before`.

    Args:
        rows: of the drive, in time order.
        root: the folder that the images' paths start from.
    """
    times = [int(row["time_ms"]) for row in rows]
    found = []
    for row, split, before in zip(rows, splits(times), earlier(rows), strict=True):
        old = {f"{name}_before": before[name] if before else "" for name in BEFORE}
        found.append({**row, "image": str((root / row["image"]).resolve()), "split": split, **old})
    return found


def splits(times: Sequence[int]) -> list[str]:
    """The split of each row: train, then val, then test; "" near a border."""
    ends = {name: round(share * len(times)) for name, share in ENDS.items()}
    borders = [times[end] for end in ends.values() if end < len(times)]
    found = []
    for row, time in enumerate(times):
        near = any(abs(time - border) < APART for border in borders)
        found.append("" if near else next(name for name, end in ends.items() if row < end))
    return found


def earlier(rows: Sequence[Mapping[str, str]]) -> list[Mapping[str, str] | None]:
    """Of each row the one that was half a second ago in its session, as nearly as there is one."""
    sessions: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        sessions.setdefault(row["session"], []).append(row)
    times = {name: [int(row["time_ms"]) for row in own] for name, own in sessions.items()}
    found: list[Mapping[str, str] | None] = []
    for row in rows:
        wanted, own = int(row["time_ms"]) - AGO, times[row["session"]]
        place = bisect_left(own, wanted)
        near = [i for i in (place - 1, place) if i >= 0 and abs(own[i] - wanted) <= TOLERANCE]
        best = min(near, key=lambda i: abs(own[i] - wanted), default=None)
        found.append(None if best is None else sessions[row["session"]][best])
    return found


def baseline(table: Iterable[Row], split: str) -> tuple[int, float, float]:
    """How good it is to steer as half a second ago: rows that can, mean absolute error and R²."""
    pairs = [
        (float(row["steering"]), float(row["steering_before"]))
        for row in table
        if row["split"] == split and row["steering_before"] != ""
    ]
    mean = sum(right for right, _ in pairs) / len(pairs)
    error = sum(abs(right - before) for right, before in pairs) / len(pairs)
    squared = sum((right - before) ** 2 for right, before in pairs)
    return len(pairs), error, 1 - squared / sum((right - mean) ** 2 for right, _ in pairs)


def main(drive: Path, out: Path) -> None:
    """Write the table, and print the baseline."""
    with drive.open(newline="") as file:
        table = make_table(list(csv.DictReader(file)), drive.parent)
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    for split in ENDS:
        print(f"{split}: {sum(row['split'] == split for row in table)} rows")
    for split in ("val", "test"):
        number, error, r2 = baseline(table, split)
        print(f"steering of 0.5 s ago, {number} {split} rows: MAE {error:.3f}, R² {r2:.3f}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: drive_table.py DRIVE.csv TABLE.csv")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
