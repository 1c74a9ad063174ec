"""`word-sequence`: learned embeddings and a sequence encoder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from plait.config.registry import register
from plait.data.cells import as_text
from plait.data.vocabulary import SPECIALS, UNK, Vocabulary, fit_vocabulary, load_vocabulary
from plait.modalities.base import Dropout, Item, Layers, SequenceEncoderKind, Width
from plait.modalities.text.base import Text
from plait.types import State


@register("text", "word-sequence")
class WordSequence(Text):
    """Embedded words, subwords or characters, then a GRU, CNN or transformer."""

    encoder_class = "plait.modalities.text.networks.WordSequenceEncoder"
    reads_whole = False

    unit: Literal["words", "subwords", "characters"] = Field("words", description="what a token is")
    lower: bool = Field(True, description="lower-case the texts")
    min_count: int = Field(2, ge=1, description="rarer words become unknown")
    vocabulary: int = Field(20_000, ge=10, le=1_000_000, description="maximum number of entries")
    max_length: int = Field(128, ge=1, le=4096, description="texts are cut to this many units")
    sequence_encoder: SequenceEncoderKind = "gru"
    layers: Layers = 1
    width: Width = 128
    dropout: Dropout = 0.2

    @cached_property
    def words(self) -> Vocabulary:
        """The vocabulary that was learned."""
        return load_vocabulary(self.state)

    @property
    def tag_names(self) -> Sequence[str]:
        """The words of the vocabulary, which an output may repeat; of smaller units none."""
        return self.words.units()[len(SPECIALS) :] if self.unit == "words" else ()

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """The vocabulary."""
        return fit_vocabulary(
            self.texts(cells), self.unit, self.min_count, self.vocabulary, punctuation=True,
            lower=self.lower,
        ).to_state()  # fmt: skip

    def read(self, cell: Any, root: Path) -> Item:
        """(L,) ids, int32."""
        return np.array(self.words.encode(as_text(cell))[: self.max_length], np.int32)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """The words', subwords' or characters'."""
        return self.words.spans(text)[: self.max_length]

    def unread(self, cell: Any, root: Path) -> str:
        """Whether it is cut, or mostly of words, or in letters, that no training text had."""
        text = as_text(cell)
        ids = self.words.encode(text)
        # Subwords fall back on bytes; a letter that was never seen takes several.
        strange = len(ids) > len(text) if self.unit == "subwords" else 2 * ids.count(UNK) > len(ids)
        if strange:
            what = "letters" if self.unit != "words" else "words"
            return f"most of its {what} were in no training text"
        if len(ids) > self.max_length:
            return f"only the first {self.max_length} of its {len(ids):,} {self.unit} are read"
        return ""

    def example(self) -> Item:
        """As many words as are read."""
        return np.full(self.max_length, len(self.words) - 1, np.int32)
