"""One fused prediction from files: a photo, a sound and a text, in a warm process.

    python benchmarks/predict.py [--times 100] [--threads 2]

The model is EfficientNet-Lite0's map at 224 px, MFCCs of one second and word sequences, fused
early. It is trained for one epoch on a few made-up records: how well it answers is no matter here.
Every prediction is of files that it has not seen, of 640 x 640 pixels and one second.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
import yaml
from machine import describe
from made_up import write_files

import plait

RECIPE = {
    "name": "three",
    "inputs": {
        "image": {"modality": "image", "representation": {"kind": "cnn", "train": "frozen"}},
        "audio": {"modality": "audio", "representation": {"kind": "mfcc", "rate": 8000}},
        "text": {
            "modality": "text",
            "representation": {"kind": "word-sequence", "min_count": 1},
        },
    },
    "fusion": {"kind": "early", "how": "concat"},
    "outputs": {"label": {"kind": "category"}},
    "data": {"ratios": [0.75, 0.25, 0]},
    "training": {"epochs": 1, "batch": 16},
}


def trained(folder: Path) -> plait.Model:
    rows = write_files(folder, 32, 224, 1.0)
    (folder / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "three.yaml").write_text(yaml.safe_dump(RECIPE))
    plait.train(str(folder / "three.yaml"), folder / "table.jsonl", folder / "model")
    return plait.load(folder / "model")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["PLAIT_CACHE"] = str(folder / "cache")
        model = trained(folder)
        (folder / "new").mkdir()
        records = write_files(folder / "new", args.times + 5, 640, 1.0)
        seconds = []
        for record in records:
            cells = {name: record[name] for name in RECIPE["inputs"]}
            start = time.perf_counter()
            model.predict(cells, root=folder / "new")
            seconds.append(time.perf_counter() - start)
    warm = sorted(seconds[5:])
    print(
        f"a prediction: median {1000 * statistics.median(warm):.1f} ms, "
        f"95th percentile {1000 * warm[int(0.95 * len(warm))]:.1f} ms, {args.threads} threads"
    )
    print(describe())


if __name__ == "__main__":
    main()
