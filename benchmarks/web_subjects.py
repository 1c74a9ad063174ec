"""How often a captioner names the main subject of web photos, and whether its confidence says so.

    python benchmarks/web_subjects.py WEB --model captioner --out judged.csv

WEB is the folder of the web photos, without their borders. ``web_subjects.csv`` names 100 of those
that `captioner_tables.py` holds out, with the words that are right for each photo's main subject,
chosen by looking at it, in the singular. A caption is right if its first noun phrase is about one
of these.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

import plait
from plait.outputs.text.confidence import auroc, calibration_error
from plait.outputs.text.metrics.subject import is_about

LIST = Path(__file__).with_name("web_subjects.csv")
BINS = 5  # of the calibration error: 20 photos each
DRAWS = 2000


def by_chance(probabilities: np.ndarray) -> float:
    """The calibration error to expect of probabilities that are exactly right, with so few."""
    rng = np.random.default_rng(0)
    drawn = rng.random((DRAWS, len(probabilities))) < probabilities
    return float(np.mean([calibration_error(probabilities, right, BINS) for right in drawn]))


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("web", type=Path)
    parser.add_argument("--model", default="captioner")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with LIST.open() as file:
        rows = list(csv.DictReader(file))
    model = plait.load(given.model)
    output = next(iter(model.parts.outputs))
    answers = model.predict_batch([{"image": given.web / row["image"]} for row in rows])
    judged = []
    for row, answer in zip(rows, answers, strict=True):
        found = answer[output]
        right = is_about(found.value, row["subjects"].split())
        judged.append(
            {**row, "caption": found.value, "sure": found.details.confidence, "right": right}
        )
        print("right" if right else "wrong", row["image"], found.value, sep="\t")
    right = np.array([row["right"] for row in judged])
    print(f"\n{right.sum()} of {len(right)} are right about the main subject")
    if all(row["sure"] is not None for row in judged):
        known = np.array([row["sure"] for row in judged], float)
        print(f"AUROC of the confidence {auroc(known, right):.3f}; calibration error in {BINS} "
              f"bins {calibration_error(known, right, BINS):.3f}, of exact probabilities "
              f"{by_chance(known):.3f}")  # fmt: skip
    if given.out:
        with given.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(judged[0]))
            writer.writeheader()
            writer.writerows(judged)


if __name__ == "__main__":
    main()
