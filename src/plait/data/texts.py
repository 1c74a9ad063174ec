"""Text: a cell as one string, and its terms with their weights."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from plait.types import BadCell, State

MAX_LETTERS = 1_000_000
SCALE = 1_000_000  # term weights are stored as integers, in millionths
WORD = re.compile(r"\b\w+\b")  # single characters too: "I", digits


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


def terms(text: str, of: Literal["words", "letters"], shortest: int, longest: int) -> Iterator[str]:
    """The n-grams of a text, in lower case, with ``shortest`` to ``longest`` words or characters.

    Character n-grams stay within a word and the spaces around it. Terms are repeated as often as
    they occur. As scikit-learn's CountVectorizer with the analyzers "word" and "char_wb".
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
            yield letters[:size]  # a word shorter than the n-gram counts once
            if size >= len(letters):
                break
            for start in range(1, len(letters) - size + 1):
                yield letters[start : start + size]


class TermWeights:
    """Text -> (L, 2) int32: the ids of its known terms, ascending, and their weights in millionths.

    A weight is (1 + log count) times the term's inverse document frequency, if there is one; a
    text's weights have Euclidean norm 1.
    """

    def __init__(self, settings: State) -> None:
        """``settings``: of, shortest, longest as for `terms`; terms; idf (a number per term, or
        None)."""
        self.spans = settings["of"], settings["shortest"], settings["longest"]
        self.ids = {term: at for at, term in enumerate(settings["terms"])}
        idf = settings["idf"]
        self.idf = None if idf is None else np.array(idf, np.float32)

    def __call__(self, text: str) -> NDArray[np.int32]:
        """See above."""
        counts = Counter(self.ids[t] for t in terms(text, *self.spans) if t in self.ids)
        ids = np.array(sorted(counts), np.int32)
        weights = np.log([float(counts[term]) for term in ids.tolist()]) + 1
        if self.idf is not None:
            weights = weights * self.idf[ids]
        weights = weights / max(float(np.sqrt((weights**2).sum())), 1e-12)
        return np.stack([ids, np.round(weights * SCALE).astype(np.int32)], axis=1)
