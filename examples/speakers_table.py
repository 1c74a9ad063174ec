"""Make tables in which one speaker is held out, of a table that names each recording's speaker.

    python examples/speakers_table.py recordings.csv [FOLDER]

The table has the columns audio, word and speaker. For each speaker FOLDER (here) gets
`without_SPEAKER.csv`: that speaker's recordings are test rows, and of all others every tenth of
each word and speaker validates. Recordings are named where they lie.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from pathlib import Path

from tables import read_rows

TENTH = 10


def main(source: str, folder: str = ".") -> None:
    """Write the tables, and name them."""
    target = Path(folder)
    rows, root = read_rows(source, "audio", "word", "speaker")
    target.mkdir(parents=True, exist_ok=True)
    for speaker in sorted({row["speaker"] for row in rows}):
        path = target / f"without_{speaker}.csv"
        seen: Counter[tuple[str, str]] = Counter()
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["audio", "word", "speaker", "split"])
            for row in rows:
                kind = row["speaker"], row["word"]
                split = "val" if seen[kind] % TENTH == 0 else "train"
                seen[kind] += 1
                sound = (root / row["audio"]).resolve()
                writer.writerow([sound, row["word"], row["speaker"],
                                 "test" if row["speaker"] == speaker else split])  # fmt: skip
        print(path)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        raise SystemExit("usage: python examples/speakers_table.py recordings.csv [FOLDER]")
    main(*sys.argv[1:])
