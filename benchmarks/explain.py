"""The whole explanation of one caption, in a warm process: every part of the photo, every word, all
checks, and the page.

    python benchmarks/explain.py [--times 5] [--threads 2] [--photo photo.jpg]

Without a photo it is of one that is made up, of 640 x 640 pixels: what it shows is no matter here.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from machine import describe
from made_up import photo

import plait


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--photo", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["PLAIT_CACHE"] = str(folder / "cache")
        shown = args.photo or photo(3, 640, np.random.default_rng(0), ".jpg")
        model = plait.load("captioner")
        model.explain(shown)  # captum is imported, the memory is there
        wall, cpu = [], []
        for _ in range(args.times):
            before = time.perf_counter(), time.process_time()
            found = model.explain(shown)
            found.save(folder / "why.html")
            wall.append(time.perf_counter() - before[0])
            cpu.append(time.process_time() - before[1])
    print(describe())
    print(
        f"one caption explained: {statistics.median(wall):.2f} s (median of {args.times}; "
        f"{min(wall):.2f} to {max(wall):.2f}), {statistics.median(cpu):.2f} s of processor time"
    )


if __name__ == "__main__":
    main()
