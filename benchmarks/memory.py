"""How much memory a training run takes: the largest resident set of its process.

python benchmarks/memory.py TABLE [--recipe captioning] [--set path=value]...

Trains in a folder that is thrown away, one epoch a stage, with the features computed anew; the
evaluation at the end is included.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import describe

from plait.config.recipe import load_recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table")
    parser.add_argument("--recipe", default="captioning")
    parser.add_argument("--set", action="append", default=[], dest="settings")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "plait",
            "train",
            args.recipe,
            args.table,
            "--json",
        ]
        command += ["--out", str(Path(folder) / "model"), "--set", "training.epochs=1"]
        if load_recipe(args.recipe).training.reinforce.epochs:
            command += ["--set", "training.reinforce.epochs=1"]
        for setting in args.settings:
            command += ["--set", setting]
        environment = {**os.environ, "PLAIT_CACHE": str(Path(folder) / "cache")}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    print(f"peak resident memory: {peak / 1e9:.2f} GB")
    print(describe())


if __name__ == "__main__":
    main()
