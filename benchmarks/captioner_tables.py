"""Makes the tables that the shipped captioner is trained on; see docs/captioning.md.

    python benchmarks/captioner_tables.py --photos PHOTOS --flickr8k FLICKR8K --web WEB --out TABLES
    cd TABLES && plait train ../benchmarks/captioner.yaml photos.jsonl --out ../captioner

Each folder holds ``captions.jsonl`` beside its photos, whose rows have ``image``, ``captions``,
``source`` and, where they are split, ``split``. ``photos.jsonl`` is the table: photos with three
captions or more (but of ADE20K, whose captions are long descriptions), and photos of COCO and
Flickr8k for validation. Its sources are ``flickr8k.jsonl``, ``few.jsonl`` (the other photos that
people have captioned) and ``web.jsonl``; `captioner_teacher.py` adds ``taught.jsonl``. Photos that
look like one of those for validation are left out (perceptual hash), and so are the web photos of
``web_subjects.csv``.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Row = dict[str, Any]
LIST = Path(__file__).with_name("web_subjects.csv")
SIDE, KEPT = 32, 8  # pixels of a photo before its transform, and frequencies a side that are kept
NEAR = 8  # of 64 bits; photos whose hashes differ in so few look alike
FLICKR_VALIDATION, WEB_VALIDATION = 500, 200  # photos
SEVERAL = 3  # captions, for rewards to be reliable


def read(folder: Path, table: str = "captions") -> list[Row]:
    """The rows of a table of a folder, with absolute paths."""
    folder = folder.resolve()
    lines = (folder / f"{table}.jsonl").read_text(encoding="utf-8").splitlines()
    return [row | {"image": str(folder / row["image"])} for row in map(json.loads, lines)]


def listed(web: Path) -> list[str]:
    """The web photos of ``web_subjects.csv``, named as in `read`."""
    with LIST.open() as file:
        return [str(web.resolve() / row["image"]) for row in csv.DictReader(file)]


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
    parser.add_argument("--photos", type=Path, required=True, nargs="+")
    for name in ("flickr8k", "web", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument(
        "--leave-out", type=Path, help="a file of photos' names, one a line, to learn nothing from"
    )
    given = parser.parse_args()
    photos = [row for folder in given.photos for row in read(folder)]
    flickr, web = read(given.flickr8k), read(given.web)
    names = set(given.leave_out.read_text().split() if given.leave_out else [])
    kept_out = {*listed(given.web)}
    random.Random(0).shuffle(web)
    judged, others = ([row for row in web if (row["image"] in kept_out) is wanted]
                      for wanted in (True, False))  # fmt: skip
    held_out, learned = others[:WEB_VALIDATION], others[WEB_VALIDATION:]
    judging = hashes([*split(photos, "val"), *split(flickr, "val"), *judged, *held_out])
    given.out.mkdir(parents=True, exist_ok=True)
    told = [row for row in split(photos, "train") if row["captions"]]
    human = [row | {"split": "train"} for row in unlike(told, judging)]
    human = [row for row in human if Path(row["image"]).name not in names]
    rich = [row["source"] != "ade20k-val" and len(row["captions"]) >= SEVERAL for row in human]
    several, few = ([row for row, own in zip(human, rich, strict=True) if own is wanted]
                    for wanted in (True, False))  # fmt: skip
    some = [*split(photos, "val"), *split(flickr, "val")[:FLICKR_VALIDATION]]
    write(given.out / "photos.jsonl", [*several, *some])
    write(given.out / "few.jsonl", few)
    write(given.out / "flickr8k.jsonl", unlike(split(flickr, "train"), judging))
    validating = [row | {"split": "val"} for row in held_out]
    learning = [row | {"split": "train"} for row in unlike(learned, judging)]
    write(given.out / "web.jsonl", [*learning, *validating])


if __name__ == "__main__":
    main()
