"""Trains on a table ten times larger than the memory that it may have.

    python benchmarks/large_table.py [--rows 200000] [--gigabytes 15] [--limit 1.5] [--folder DIR]

Writes a Parquet of photos (bytes of BMP files of noise) and texts, in row groups of 10,000 rows,
then trains one epoch on it in a process whose own memory is limited (RLIMIT_DATA: everything that
it allocates, whether it is used or not; pages of files in the system's cache are not its own).
Prints the largest resident set and how long it took. The folder takes the table and the features,
and is thrown away.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from machine import describe
from made_up import text

GROUP = 10_000
RECIPE = """
name: large
inputs:
  image: {modality: image, representation: {kind: pixels, size: 16, patch: 8, width: 32}}
  text: {modality: text, representation: {kind: bag-of-words, width: 32}}
fusion: {kind: early, how: concat, width: 32}
outputs: {label: {kind: category}}
training: {epochs: 1, batch: 256}
"""
CHILD = """
import resource, sys
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
import plait
plait.train(*sys.argv[2:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def bitmap(side: int, rng: np.random.Generator) -> bytes:
    """A BMP file of noise, which is as large as its pixels: no compression, quickly made."""
    pixels = rng.bytes(side * side * 3)
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, len(pixels), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(pixels), 0, 0, 54) + header + pixels


def batches(rows: int, side: int, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    rng = np.random.default_rng(0)
    for start in range(0, rows, 500):
        labels = [row % 4 for row in range(start, min(start + 500, rows))]
        columns = [
            [bitmap(side, rng) for _ in labels],
            [text(label, rng) for label in labels],
            [f"class{label}" for label in labels],
        ]
        yield pa.record_batch(columns, schema=schema)


def write(path: Path, rows: int, side: int) -> None:
    fields = [("image", pa.binary()), ("text", pa.string()), ("label", pa.string())]
    schema = pa.schema(fields)
    options = {"compression": "none", "use_dictionary": ["label"]}
    with pq.ParquetWriter(path, schema, **options) as writer:
        waiting: list[pa.RecordBatch] = []
        for batch in batches(rows, side, schema):
            waiting.append(batch)
            if sum(map(len, waiting)) >= GROUP:
                writer.write_table(pa.Table.from_batches(waiting), row_group_size=GROUP)
                waiting = []
        if waiting:
            writer.write_table(pa.Table.from_batches(waiting), row_group_size=GROUP)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--gigabytes", type=float, default=15.0)
    parser.add_argument("--limit", type=float, default=1.5, help="GB")
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    side = 4 * round((args.gigabytes * 1e9 / args.rows / 3) ** 0.5 / 4)
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        (folder / "large.yaml").write_text(RECIPE)
        start = time.perf_counter()
        # Gathering row groups takes memory, which must not count: a process of its own.
        writer = multiprocessing.get_context("spawn").Process(
            target=write, args=(folder / "large.parquet", args.rows, side)
        )
        writer.start()
        writer.join()
        size = (folder / "large.parquet").stat().st_size
        print(f"{size / 1e9:.1f} GB written in {time.perf_counter() - start:.0f} s", flush=True)
        start = time.perf_counter()
        names = [str(folder / part) for part in ("large.yaml", "large.parquet", "model")]
        command = [sys.executable, "-c", CHILD, str(int(args.limit * 1e9)), *names]
        # Arrow's own allocator reserves a gigabyte at its first use, without using it.
        environment = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system",
                       "PLAIT_CACHE": str(folder / "cache")}  # fmt: skip
        found = subprocess.run(
            command, check=True, env=environment, stdout=subprocess.PIPE, text=True
        )
        seconds = time.perf_counter() - start
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = int(found.stdout.split()[-1]) * unit
    print(
        f"{args.rows:,} rows, {size / 1e9:.1f} GB, trained in {seconds:.0f} s under a limit of "
        f"{args.limit} GB; peak resident memory {peak / 1e9:.2f} GB: the table is "
        f"{size / peak:.0f} times as large"
    )
    print(describe())


if __name__ == "__main__":
    main()
