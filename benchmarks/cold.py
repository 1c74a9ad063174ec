"""How long the commands take from a cold start, the whole process: best and median of rounds.

python benchmarks/cold.py PHOTO [--model captioner] [--rounds 5]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from machine import describe


def seconds(args: list[str], rounds: int) -> list[float]:
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "plait.cli", *args], check=True, capture_output=True)
        taken.append(time.perf_counter() - start)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo")
    parser.add_argument("--model", default="captioner")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    for command in (["--help"], ["caption", args.photo, "--model", args.model]):
        taken = seconds(command, args.rounds)
        best, median = min(taken), statistics.median(taken)
        print(f"plait {command[0]}: best {best:.2f} s, median {median:.2f} s")
    print(describe())


if __name__ == "__main__":
    main()
