"""`bag-of-words`: which words and word groups a text has, and how often, whatever their order."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from plait.config.registry import register
from plait.data.cells import as_text
from plait.data.vocabulary import CHARACTER, EMOJI, LETTERS
from plait.modalities.base import Item, Width
from plait.modalities.text.base import Text
from plait.types import PlaitError, State

SCALE = 1_000_000  # weights of terms are kept as whole millionths
WORD = re.compile(f"{CHARACTER}|{LETTERS}|{EMOJI}")  # words of one letter too: "I", digits


@register("text", "bag-of-words")
class BagOfWords(Text):
    """Counts or TF-IDF of groups of words or letters, projected to a single token."""

    reads_whole = False
    encoder_class = "plait.modalities.text.networks.BagEncoder"
    vector_class = "plait.modalities.text.networks.BagVectors"
    classical = True

    weight: Literal["counts", "tf-idf"] = Field(
        "tf-idf", description="counts: their logarithms; tf-idf: rare terms weigh more"
    )
    unit: Literal["words", "letters"] = Field("words", description="what terms consist of")
    min_n: int = Field(1, ge=1, le=8, description="minimum length of a term, in words or letters")
    max_n: int = Field(2, ge=1, le=8, description="maximum length of a term, in words or letters")
    min_count: int = Field(2, ge=1, description="terms in fewer texts are ignored")
    vocabulary: int = Field(20_000, ge=2, le=1_000_000, description="maximum size (the commonest)")
    width: Width = 128
    dropout: float = Field(0.1, ge=0, lt=1, description="share of terms hidden in training")

    def terms(self, text: str) -> list[str]:
        """Groups of words that follow each other, or of letters within a word and the spaces at its
        ends, in lower case; a term as often as it occurs.

        The terms of scikit-learn's CountVectorizer with the analyzers "word" and "char_wb", and
        emoji, and the characters of scripts without spaces, as words.
        """
        sizes = range(min(self.min_n, self.max_n), self.max_n + 1)
        if self.unit == "words":
            words = WORD.findall(text.lower())
            return [
                " ".join(words[start : start + size])
                for size in sizes
                for start in range(len(words) - size + 1)
            ]
        found = []
        for letters in (f" {word} " for word in text.lower().split()):
            for size in sizes:
                found += [letters[n : n + size] for n in range(max(1, len(letters) - size + 1))]
                if size >= len(letters):
                    break  # a word that is shorter than the group counts once
        return found

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """The commonest terms, and each one's inverse document frequency,
        log((1 + texts) / (1 + texts that have it)) + 1, or 1 where only counts matter."""
        total, counts, texts = 0, Counter[str](), Counter[str]()
        for text in self.texts(cells):
            terms_here = Counter(self.terms(text))
            counts.update(terms_here)
            texts.update(terms_here.keys())
            total += 1
        known = [term for term, count in texts.items() if count >= self.min_count]
        if not known:
            raise PlaitError(
                f"no term occurs in {self.min_count} of the training texts",
                hint="lower the representation's min_count, or give more texts",
            )
        kept = sorted(sorted(known, key=lambda term: (-counts[term], term))[: self.vocabulary])
        idf = [round(math.log((1 + total) / (1 + texts[term])) + 1, 5) for term in kept]
        return {"terms": kept, "idf": idf if self.weight == "tf-idf" else [1.0] * len(kept)}

    @cached_property
    def _weights(self) -> tuple[dict[str, int], NDArray[np.float32]]:
        """The id of each term, and what its counts are multiplied by."""
        ids = {term: number for number, term in enumerate(self.state["terms"])}
        # Packages of old versions keep the inverse frequencies with "counts" too.
        idf = self.state["idf"] if self.weight == "tf-idf" else [1.0] * len(ids)
        return ids, np.array(idf, np.float32)

    def read(self, cell: Any, root: Path) -> Item:
        """(L, 2) int32: known terms, and their weights in millionths, of Euclidean length 1.

        A weight is 1 + log of how often the term occurs, times its inverse frequency.
        """
        ids, idf = self._weights
        counts = Counter(ids[term] for term in self.terms(as_text(cell)) if term in ids)
        known = np.array(sorted(counts), np.int32)
        weights = np.log([float(counts[number]) for number in known.tolist()]) + 1
        weights = weights * idf[known]
        weights = weights / max(float(np.sqrt((weights**2).sum())), 1e-12)
        return np.stack([known, np.round(weights * SCALE).astype(np.int32)], axis=1)

    def unread(self, cell: Any, root: Path) -> str:
        """Whether it has no term that is known."""
        ids, _ = self._weights
        known = any(term in ids for term in self.terms(as_text(cell)))
        return "" if known else "none of its words is known from training"

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """The text: terms are in no order."""
        return [(0, len(text))]

    def example(self) -> Item:
        """Every term once."""
        count = len(self.state["terms"])
        return np.stack([np.arange(count), np.ones(count)], axis=1).astype(np.int32)
