"""How long the commands take from a cold start, the whole process: best and median of rounds.

    python benchmarks/cold.py PHOTO [--model captioner] [--rounds 5]

Python keeps its compiled files, as on a user's machine. `import torch` alone is shown beside: no
command that runs a network by torch can be faster. The engine onnx has exported the model before.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

from machine import describe


def seconds(args: list[str], rounds: int) -> list[float]:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    taken = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, *args], check=True, capture_output=True, env=env)
        taken.append(time.perf_counter() - start)
    return taken[1:]  # the first may compile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo")
    parser.add_argument("--model", default="captioner")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    caption = ["-m", "plait", "caption", args.photo, "--model", args.model]
    commands = {
        "import torch": ["-c", "import torch"],
        "plait --help": ["-m", "plait", "--help"],
        "plait caption": caption,
        "plait caption --engine onnx": [*caption, "--engine", "onnx"],
    }
    for name, command in commands.items():
        taken = seconds(command, args.rounds)
        print(f"{name}: best {min(taken):.2f} s, median {statistics.median(taken):.2f} s")
    print(describe())


if __name__ == "__main__":
    main()
