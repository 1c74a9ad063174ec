"""Makes the tables that the shipped captioner is trained on; see docs/captioning.md.

    python benchmarks/captioner_tables.py --photos PHOTOS --flickr8k FLICKR8K --web WEB --out TABLES
    cd TABLES && plait train captioner photos.jsonl --out ../captioner

Each folder holds ``captions.jsonl`` beside its photos, whose rows have ``image``, ``captions`` and,
where they are split, ``split``. ``photos.jsonl`` is the table: people's captions of all kinds of
photos, and photos of both folders for validation. ``flickr8k.jsonl`` and ``web.jsonl`` are its
sources. Photos that look like one of those for validation are left out (perceptual hash).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Row = dict[str, Any]
SIDE, KEPT = 32, 8  # pixels of a photo before its transform, and frequencies a side that are kept
NEAR = 8  # of 64 bits; photos whose hashes differ in so few look alike
FLICKR_VALIDATION, WEB_VALIDATION = 500, 300  # photos


def read(folder: Path) -> list[Row]:
    """The rows of a folder, with absolute paths."""
    lines = (folder / "captions.jsonl").read_text(encoding="utf-8").splitlines()
    return [row | {"image": str(folder / row["image"])} for row in map(json.loads, lines)]


def perceptual_hash(path: str) -> NDArray[np.bool_]:
    """(64,): which of a photo's lowest frequencies are above their median; scaling and compression
    hardly change them (Zauner 2010, "Implementation and benchmarking of perceptual image hash
    functions")."""
    grey = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise SystemExit(f"{path} can't be read")
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:KEPT, :KEPT].ravel()
    return np.asarray(low > np.median(low[1:]))


def hashes(rows: Sequence[Row]) -> NDArray[np.bool_]:
    """(R, 64)."""
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(perceptual_hash, (row["image"] for row in rows)))
    return np.array(found, bool).reshape(-1, KEPT * KEPT)


def unlike(rows: Sequence[Row], judging: NDArray[np.bool_]) -> list[Row]:
    """The rows whose photos look like none of those with these hashes."""
    near = [bool(((own ^ judging).sum(axis=1) <= NEAR).any()) for own in hashes(rows)]
    return [row for row, alike in zip(rows, near, strict=True) if not alike]


def write(path: Path, rows: Sequence[Row]) -> None:
    """As JSON Lines, with what training needs."""
    kept = [{k: row[k] for k in ("image", "captions", "split") if k in row} for row in rows]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))
    print(f"{path}: {len(kept):,} photos")


def split(rows: Sequence[Row], name: str) -> list[Row]:
    """The rows of a split; rows without one are for training."""
    return [row for row in rows if row.get("split", "train") == name]


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("photos", "flickr8k", "web", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument(
        "--leave-out", type=Path, help="a file of photos' names, one a line, to learn nothing from"
    )
    given = parser.parse_args()
    photos, flickr, web = (read(getattr(given, name)) for name in ("photos", "flickr8k", "web"))
    names = given.leave_out.read_text().split() if given.leave_out else []
    photos = [r for r in photos if r.get("split") == "val" or Path(r["image"]).name not in names]
    validation = [*split(photos, "val"), *split(flickr, "val")]
    judging = hashes(validation)
    order = np.random.default_rng(0).permutation(len(web))
    held_out = [web[at] | {"split": "val"} for at in order[:WEB_VALIDATION]]
    learned = [web[at] | {"split": "train"} for at in order[WEB_VALIDATION:]]
    given.out.mkdir(parents=True, exist_ok=True)
    human = [row | {"split": "train"} for row in unlike(split(photos, "train"), judging)]
    some = [*split(photos, "val"), *split(flickr, "val")[:FLICKR_VALIDATION]]
    write(given.out / "photos.jsonl", [*human, *some])
    write(given.out / "flickr8k.jsonl", unlike(split(flickr, "train"), judging))
    write(given.out / "web.jsonl", [*unlike(learned, judging), *held_out])


if __name__ == "__main__":
    main()
