"""Texts: a cell as one text, and the terms that it is made of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from plait.types import BadCell, State

MAX_LETTERS = 1_000_000
SCALE = 1_000_000  # weights of terms are kept as whole millionths
WORD = re.compile(r"\b\w+\b")  # words of one letter too: "I", digits


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


def terms(text: str, of: Literal["words", "letters"], shortest: int, longest: int) -> Iterator[str]:
    """Groups of ``shortest`` to ``longest`` words that follow each other, or of letters within a
    word and the spaces at its ends, in lower case; a term as often as it occurs.

    The terms of scikit-learn's CountVectorizer with the analyzers "word" and "char_wb".
    """
    text = text.lower()
    if of == "words":
        words = WORD.findall(text)
        for size in range(shortest, longest + 1):
            for start in range(len(words) - size + 1):
                yield " ".join(words[start : start + size])
        return
    for word in text.split():
        letters = f" {word} "
        for size in range(shortest, longest + 1):
            yield letters[:size]  # a word that is shorter than the group counts once
            if size >= len(letters):
                break
            for start in range(1, len(letters) - size + 1):
                yield letters[start : start + size]


class TermWeights:
    """Text -> (L, 2) int32: its known terms in order, and their weights in millionths, of Euclidean
    length 1.

    A weight is 1 + log of how often the term occurs, times its inverse frequency where there are
    such.
    """

    def __init__(self, settings: State) -> None:
        """``settings``: of, shortest, longest as of `terms`; terms; idf (a number a term, or
        None)."""
        self.spans = settings["of"], settings["shortest"], settings["longest"]
        self.numbers = {term: number for number, term in enumerate(settings["terms"])}
        idf = settings["idf"]
        self.idf = None if idf is None else np.array(idf, np.float32)

    def __call__(self, text: str) -> NDArray[np.int32]:
        """See above."""
        known = (self.numbers[term] for term in terms(text, *self.spans) if term in self.numbers)
        counts = Counter(known)
        ids = np.array(sorted(counts), np.int32)
        weights = np.log([float(counts[number]) for number in ids.tolist()]) + 1
        if self.idf is not None:
            weights = weights * self.idf[ids]
        weights = weights / max(float(np.sqrt((weights**2).sum())), 1e-12)
        return np.stack([ids, np.round(weights * SCALE).astype(np.int32)], axis=1)
