"""`word-sequence`: learned embeddings, read in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from plait.config.registry import register
from plait.data.texts import as_text
from plait.data.vocabulary import PAD, UNK, Unit, Vocabulary, fit_vocabulary, load_vocabulary
from plait.modalities.base import Encoder
from plait.modalities.text.base import Text
from plait.nn.blocks import Reader, length_mask, make_reader
from plait.types import State, Tokens


@register("text", "word-sequence")
class WordSequence(Text):
    """Words, subwords or characters, embedded and read in order (GRU, CNN or transformer)."""

    reads_whole = False

    def __init__(
        self,
        *,
        unit: Annotated[
            Literal["words", "subwords", "characters"], Field(description="what is read at a time")
        ] = "words",
        lower: Annotated[bool, Field(description="lower-case the texts")] = True,
        min_count: Annotated[
            int, Field(ge=1, description="rarer words are unknown to the vocabulary")
        ] = 2,
        vocabulary: Annotated[
            int, Field(ge=10, le=1_000_000, description="entries of the vocabulary at the most")
        ] = 20_000,
        longest: Annotated[
            int, Field(ge=1, le=4096, description="texts are cut to this many units")
        ] = 128,
        reader: Annotated[Reader, Field(description="gru, cnn or transformer")] = "gru",
        layers: Annotated[int, Field(ge=1, le=12, description="layers of the reader")] = 1,
        width: Annotated[int, Field(ge=8, le=2048, description="width of a token")] = 128,
        dropout: Annotated[float, Field(ge=0, lt=1, description="dropout")] = 0.2,
        views: Annotated[
            int, Field(ge=1, le=16, description="augmented versions (words left out) to cache")
        ] = 1,
    ) -> None:
        super().__init__(views)
        self.unit: Unit = unit
        self.lower = lower
        self.min_count, self.size, self.longest = min_count, vocabulary, longest
        self.reader, self.layers, self.width, self.dropout = reader, layers, width, dropout

    def words(self, state: State) -> Vocabulary:
        """The state's vocabulary."""
        return self.made_of(state, load_vocabulary)

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """The vocabulary."""
        texts = self.texts(cells)
        found = fit_vocabulary(
            texts, self.unit, self.min_count, self.size, punctuation=True, lower=self.lower
        )
        return found.to_state()

    def read(self, cell: Any, root: Path, state: State) -> Tensor:
        """(L,) ids, int32."""
        ids = self.words(state).encode(as_text(cell))[: self.longest]
        return torch.tensor(ids, dtype=torch.int32)

    def token_spans(self, text: str, state: State) -> list[tuple[int, int]]:
        """The words', subwords' or characters'."""
        return self.words(state).spans(text)[: self.longest]

    def reading(self, state: State) -> State:
        """The vocabulary, and how many units are read."""
        return {"kind": "words", "longest": self.longest, "vocabulary": state}

    def unread(self, cell: Any, root: Path, state: State) -> str:
        """Whether it is cut, or mostly of words, or in letters, that no training text had."""
        text = as_text(cell)
        ids = self.words(state).encode(text)
        # Subwords fall back on bytes, of which letters that were never seen take several each.
        strange = len(ids) > len(text) if self.unit == "subwords" else 2 * ids.count(UNK) > len(ids)
        if strange:
            what = "letters" if self.unit != "words" else "words"
            return f"most of its {what} were in no training text"
        if len(ids) > self.longest:
            return f"only the first {self.longest} of its {len(ids):,} {self.unit} are read"
        return ""

    def example(self, state: State) -> Tensor:
        """As many words as are read."""
        return torch.full((self.longest,), len(self.words(state)) - 1, dtype=torch.int32)

    def encoder(self, state: State, pretrained: bool) -> Encoder:
        """Embedding and reader; nothing is pretrained."""
        return WordSequenceEncoder(len(self.words(state)), self)


class WordSequenceEncoder(Encoder):
    """(L,) ids -> Tokens (B, L, width)."""

    def __init__(self, vocabulary: int, text: WordSequence) -> None:
        super().__init__()
        self.trunk = nn.Identity()
        self.length, self.width = text.longest, text.width
        self.embedding = nn.Embedding(vocabulary, text.width, padding_idx=PAD)
        self.drop = nn.Dropout(text.dropout)
        self.reader = make_reader(text.reader, text.width, text.layers, text.dropout, text.longest)

    def prepare(self, items: Sequence[Tensor]) -> list[Tensor]:
        """The ids as they are."""
        return list(items)

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, L) ids -> Tokens (B, L, width)."""
        mask = length_mask(lengths, prepared.shape[1])
        ids = torch.where(mask, prepared, PAD)
        values = self.reader(self.drop(self.embedding(ids)), mask)
        return Tokens(torch.where(mask[..., None], values, 0.0), mask)
