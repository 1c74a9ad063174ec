"""Texts: a cell as one text."""

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
    """A cell as one text: a string, a number as it is written, or several strings joined.

    NUL bytes become spaces; bytes are read as UTF-8, broken ones shown as a replacement sign.

    Raises:
        BadCell: it is empty, no text, or longer than a million letters.
    """
    if isinstance(cell, bytes):
        cell = cell.decode("utf-8", "replace")
    if isinstance(cell, list):
        cell = " ".join(str(item) for item in cell if item is not None)
    if isinstance(cell, (bool, int, float)):
        cell = str(cell)
    if not isinstance(cell, str):
        raise BadCell(f"{cell!r:.60} is no text", expected="a string")
    if len(cell) > MAX_LETTERS:
        raise BadCell(
            f"a text of {len(cell):,} letters", expected=f"{MAX_LETTERS:,} at the most",
            hint="cut it",
        )  # fmt: skip
    text = cell.replace("\0", " ").strip()
    if not text:
        raise BadCell("the text is empty", expected="a word at least")
    return text


def is_sentence(cell: Any) -> bool:
    """Whether a cell is words, or a list of texts, and no file's name."""
    if isinstance(cell, list):
        return all(isinstance(item, str) for item in cell)
    return isinstance(cell, str) and " " in cell.strip() and not SUFFIX.search(cell.strip())
