"""How often the recipe `intents` understands requests of templates that it has never seen.

    python benchmarks/intents.py [SEEDS]

For every seed the sentences and the split of the templates are drawn anew. The interval resamples
templates, not sentences: those of one template are nearly the same.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np

import plait
from plait.outputs.scores import with_intervals

SCRIPT = Path(__file__).parents[1] / "examples" / "intents_table.py"
CONFIDENCE = 0.7  # below it the assistant asks back


def measure(seed: int, folder: Path) -> dict[str, tuple[float, float, float]]:
    """Test template -> its number of sentences, and of them those that are right, and those of
    which the model is too unsure to answer."""
    table = folder / f"{seed}.csv"
    subprocess.run([sys.executable, SCRIPT, table, str(seed)], check=True)
    model = plait.train(
        "intents", table, folder / f"model-{seed}", overrides=[f"seed={seed}"]
    )  # fmt: skip
    with table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    records = [dict.fromkeys(model.recipe.inputs, row["text"]) for row in rows]
    found = defaultdict(list)
    for row, answer in zip(rows, model.predict_many(records), strict=True):
        right, unsure = answer.value == row["intent"], answer.score < CONFIDENCE
        name = f"{row['intent']}: {row['template']}"
        found[name].append((1, right, unsure, right and not unsure))
    return {name: tuple(np.sum(all_, axis=0)) for name, all_ in found.items()}


def main(seeds: str = "3") -> None:
    names: list[str] = []
    counts: list[tuple[float, ...]] = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(int(seeds)):
            found = measure(seed, Path(folder))
            names += found.keys()
            counts += found.values()
            each = np.array(list(found.values()))
            print(f"seed {seed}: {each[:, 1].sum() / each[:, 0].sum():.3f}", flush=True)
    every = np.array(counts, float)

    def scores(rows: np.ndarray) -> dict[str, float]:
        sentences, right, unsure, sure_and_right = every[rows].sum(axis=0)
        return {
            "accuracy": right / sentences,
            "asked back": unsure / sentences,
            "accuracy of the others": sure_and_right / (sentences - unsure),
        }

    points, intervals = with_intervals(scores, len(every), 0)
    print(f"{int(every[:, 0].sum())} sentences of {len(every)} templates")
    for name, value in points.items():
        low, high = intervals[name]
        print(f"{name}: {value:.3f}, {low:.3f} to {high:.3f}")
    intents = np.array([name.split(":")[0] for name in names])
    for intent in dict.fromkeys(intents):
        sentences, right, _, _ = every[intents == intent].sum(axis=0)
        print(f"{intent}: {right / sentences:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
