"""`bag-of-words`: which words and word groups a text has, and how often, whatever their order."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from plait.config.registry import register
from plait.data.texts import SCALE, TermWeights, as_text, terms
from plait.modalities.base import Classical, Encoder
from plait.modalities.text.base import Text
from plait.nn.blocks import length_mask
from plait.types import PlaitError, State, Tokens


@register("text", "bag-of-words")
class BagOfWords(Text, Classical):
    """Counts or TF-IDF of words or letter groups, through one learned layer: one token a text."""

    def __init__(
        self,
        *,
        weight: Annotated[
            Literal["counts", "tf-idf"],
            Field(description="counts: 1 + log of how often; tf-idf: rare terms weigh more"),
        ] = "tf-idf",
        of: Annotated[
            Literal["words", "letters"], Field(description="terms are of words or of letters")
        ] = "words",
        longest: Annotated[
            int, Field(ge=1, le=8, description="words or letters of a term at the most")
        ] = 2,
        shortest: Annotated[
            int, Field(ge=1, le=8, description="words or letters of a term at the least")
        ] = 1,
        min_count: Annotated[
            int, Field(ge=1, description="texts that must have a term for it to count")
        ] = 2,
        vocabulary: Annotated[
            int, Field(ge=2, le=1_000_000, description="terms at the most, the commonest")
        ] = 20_000,
        width: Annotated[int, Field(ge=8, le=2048, description="width of the token")] = 128,
        dropout: Annotated[float, Field(ge=0, lt=1, description="of terms, while learning")] = 0.1,
        views: Annotated[
            int, Field(ge=1, le=16, description="augmented versions (terms left out) to cache")
        ] = 1,
    ) -> None:
        super().__init__(views)
        self.weight, self.of, self.spans = weight, of, (min(shortest, longest), longest)
        self.min_count, self.size, self.width, self.dropout = min_count, vocabulary, width, dropout

    def _terms(self, text: str) -> list[str]:
        return list(terms(text, self.of, *self.spans))

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """The commonest terms, and each one's inverse document frequency,
        log((1 + texts) / (1 + texts that have it)) + 1."""
        total, counts, texts = 0, Counter[str](), Counter[str]()
        for text in self.texts(cells):
            found = Counter(self._terms(text))
            counts.update(found)
            texts.update(found.keys())
            total += 1
        known = [term for term, count in texts.items() if count >= self.min_count]
        if not known:
            raise PlaitError(
                f"no term occurs in {self.min_count} of the training texts",
                hint="lower the representation's min_count, or give more texts",
            )
        kept = sorted(sorted(known, key=lambda term: (-counts[term], term))[: self.size])
        idf = [round(math.log((1 + total) / (1 + texts[term])) + 1, 5) for term in kept]
        return {"terms": kept, "idf": idf}

    def read(self, cell: Any, root: Path, state: State) -> Tensor:
        """(L, 2) int32: known terms, and their weights in millionths, of Euclidean length 1."""
        return torch.from_numpy(self.made_of(state, self._weigher)(as_text(cell)))

    def _weigher(self, state: State) -> TermWeights:
        return TermWeights(self.reading(state))

    def reading(self, state: State) -> State:
        """The terms, how they are counted, and their inverse frequencies where these count."""
        idf = state["idf"] if self.weight == "tf-idf" else None
        return {
            "kind": "terms", "of": self.of, "shortest": self.spans[0], "longest": self.spans[1],
            "terms": state["terms"], "idf": idf,
        }  # fmt: skip

    def token_spans(self, text: str, state: State) -> list[tuple[int, int]]:
        """The text: terms are in no order."""
        return [(0, len(text))]

    def example(self, state: State) -> Tensor:
        """Every term once."""
        count = len(state["terms"])
        return torch.stack([torch.arange(count), torch.ones(count)], dim=1).int()

    def vectors(self, rows: Sequence[NDArray[Any]], state: State) -> NDArray[np.float32]:
        """(N, terms): the terms' weights."""
        values = np.zeros((len(rows), len(state["terms"])), np.float32)
        for value, row in zip(values, rows, strict=True):
            value[row[:, 0]] = row[:, 1] / SCALE
        return values

    def encoder(self, state: State, pretrained: bool) -> Encoder:
        """The learned layer."""
        return BagEncoder(len(state["terms"]), self.width, self.dropout)


class BagEncoder(Encoder):
    """(L, 2) terms and weights -> Tokens (B, 1, width)."""

    def __init__(self, terms: int, width: int, dropout: float) -> None:
        super().__init__()
        self.trunk = nn.Identity()
        self.length, self.width, self.dropout = 1, width, dropout
        self.term = nn.Embedding(terms, width)
        nn.init.normal_(self.term.weight, std=width**-0.5)
        self.bias = nn.Parameter(torch.zeros(width))

    def prepare(self, items: Sequence[Tensor]) -> list[Tensor]:
        """The terms as they are."""
        return list(items)

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, L, 2) -> Tokens (B, 1, width): the terms' vectors, weighed and added."""
        mask = length_mask(lengths, prepared.shape[1])
        ids = torch.where(mask, prepared[..., 0], 0)
        weights = torch.where(mask, prepared[..., 1], 0).float() / SCALE  # (B, L)
        weights = nn.functional.dropout(weights, self.dropout, self.training)
        values = torch.einsum("bl,bld->bd", weights, self.term(ids)) + self.bias  # (B, D)
        present = lengths > 0
        values = torch.where(present[:, None], values, 0.0)
        return Tokens(values[:, None], present[:, None])
