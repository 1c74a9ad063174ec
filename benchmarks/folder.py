"""Captioning a folder of photos to a CSV, the whole command: photos a second.

python benchmarks/folder.py FOLDER [--photos 1000] [--model captioner]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import describe

from plait.data.images import find_images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--model", default="captioner")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder, "photos")
        photos.mkdir()
        for path in find_images([args.folder])[: args.photos]:
            (photos / path.name).symlink_to(path.resolve())
        count = len(list(photos.iterdir()))
        command = [
            sys.executable,
            "-m",
            "plait",
            "caption",
            str(photos),
            "--model",
            args.model,
        ]
        start = time.perf_counter()
        subprocess.run([*command, "--out", f"{folder}/captions.csv"], check=True)
        seconds = time.perf_counter() - start
    print(f"{count} photos in {seconds:.1f} s: {count / seconds:.1f} photos/s, start included")
    print(describe())


if __name__ == "__main__":
    main()
