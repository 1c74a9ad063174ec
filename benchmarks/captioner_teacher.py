"""Captions of trained captioners for photos that have none; see docs/captioning.md.

    python benchmarks/captioner_teacher.py TABLES --teacher CAPTIONER --unlabelled FOLDER --web WEB

TABLES are those of ``captioner_tables.py``, and get ``taught.jsonl``: photos that the teacher is
sure of, with its caption of each and captions that it draws. What learns from them is distilled
from it (Kim and Rush 2016, arXiv:1606.07947, sequence-level knowledge distillation); a teacher may
be the mean of several runs. The photos are the rows of each folder's ``captions.jsonl`` that have
no captions, without those that look like one for validation.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import captioner_tables as tables

import plait

SURE = 0.55  # probability that the teacher's caption is right about the main subject
DRAWN, TEMPERATURE = 3, 0.5


def taught(teacher: plait.Model, photos: Sequence[str]) -> list[tables.Row]:
    """The photos whose main subject the teacher is sure of, each with its captions."""
    records = [{"image": photo} for photo in photos]
    best = teacher.predict_batch(records)
    drawn = teacher.predict_batch(records, sample=True, num=DRAWN, temperature=TEMPERATURE)
    rows = []
    for record, first, several in zip(records, best, drawn, strict=True):
        answer, samples = first["caption"], several["caption"]
        if answer.details.confidence >= SURE:
            texts = [answer.value, samples.value, *(other.value for other in samples.alternatives)]
            rows.append(record | {"captions": list(dict.fromkeys(texts)), "split": "train"})
    return rows


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", type=Path)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--unlabelled", type=Path, required=True, nargs="+")
    parser.add_argument("--web", type=Path, required=True)
    parser.add_argument(
        "--leave-out", type=Path, help="a file of photos' names, one a line, to learn nothing from"
    )
    given = parser.parse_args()
    names = set(given.leave_out.read_text().split() if given.leave_out else [])
    found = [row for folder in given.unlabelled for row in tables.read(folder)]
    found = [r for r in found if not r.get("captions") and Path(r["image"]).name not in names]
    judging: list[tables.Row] = [{"image": photo} for photo in tables.listed(given.web)]
    for name in ("photos", "web"):
        judging += tables.split(tables.read(given.tables, name), "val")
    photos = [row["image"] for row in tables.unlike(found, tables.hashes(judging))]
    rows = taught(plait.load(given.teacher), photos)
    tables.write(given.tables / "taught.jsonl", rows)


if __name__ == "__main__":
    main()
