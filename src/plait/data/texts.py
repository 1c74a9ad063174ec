"""Text: a cell as one string."""

from __future__ import annotations

import re
from typing import Any

from plait.types import BadCell

MAX_LETTERS = 1_000_000
COLUMN_NAMES = (
    "caption", "captions", "text", "texts", "sentence", "sentences", "description", "comment",
    "raw", "reference", "references",
)  # fmt: skip
"""Usual names of a column of texts, the likeliest first."""
SUFFIX = re.compile(r"(?i)\.[a-z][a-z0-9]{1,4}$")  # of a file's name


def as_text(cell: Any) -> str:
    """A cell as one string: a string, a number as it is written, or a list of strings, joined.

    Bytes are decoded as UTF-8, with a replacement character for invalid ones; NULs become spaces.

    Raises:
        BadCell: the cell is empty, is not text, or is longer than a million characters.
    """
    if isinstance(cell, bytes):
        cell = cell.decode("utf-8", "replace")
    if isinstance(cell, list):
        cell = " ".join(str(item) for item in cell if item is not None)
    if isinstance(cell, (bool, int, float)):
        cell = str(cell)
    if not isinstance(cell, str):
        raise BadCell(f"{cell!r:.60} is not text", expected="a string")
    if len(cell) > MAX_LETTERS:
        raise BadCell(
            f"the text has {len(cell):,} characters", expected=f"at most {MAX_LETTERS:,}",
            hint="shorten it",
        )  # fmt: skip
    text = cell.replace("\0", " ").strip()
    if not text:
        raise BadCell("the text is empty", expected="at least one word")
    return text


def is_sentence(cell: Any) -> bool:
    """Whether a cell is words or a list of texts, and not the name of a file."""
    if isinstance(cell, list):
        return all(isinstance(item, str) for item in cell)
    return isinstance(cell, str) and " " in cell.strip() and not SUFFIX.search(cell.strip())
