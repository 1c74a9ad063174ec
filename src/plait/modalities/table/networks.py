"""The networks of the table representations.

Shapes: B records, C columns, N numbers a column, D width.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

import torch
from torch import Tensor, nn

from plait.modalities.table.columns import SCALE, Columns
from plait.modalities.table.kinds import FIRST, MISSING
from plait.nn.base import Encoder, VectorEncoder
from plait.nn.blocks import EncoderBlock, present_tokens
from plait.types import Tags, Tokens

FREQUENCIES = 16  # of a number's periodic features
SPREAD = 0.3  # deviation of those frequencies at the start, in turns per standard deviation


class ColumnsEncoder(Encoder):
    """(C, 1 + N) ids and numbers -> Tokens (B, C, D) (Gorishniy et al. 2021, arXiv:2106.11959).

    A column's token is its id's vector, which for a number or a date is the bias, plus what is
    made of its numbers. A missing value has an id, and so a vector, of each column's own.
    """

    offsets: Tensor
    numeric: Tensor
    categories: Tensor
    words: Tensor

    def __init__(self, table: Columns, pretrained: bool) -> None:
        super().__init__()
        self.trunk = nn.Identity()
        ids = [kind.ids(state) for _, kind, state in table.columns]
        numeric = [kind.numbers > 0 for _, kind, _ in table.columns]
        self.length, self.width = len(ids), table.width
        starts = list(accumulate(ids, initial=0))
        self.register_buffer("offsets", torch.tensor(starts[:-1]), persistent=False)
        self.register_buffer("numeric", torch.tensor(numeric), persistent=False)
        words = [len(kind.words(state)) for _, kind, state in table.columns]
        of_category = [column for column, count in enumerate(words) if count]
        firsts = [start for start, n in zip(accumulate(words, initial=0), words, strict=False) if n]
        self.register_buffer("categories", torch.tensor(of_category), persistent=False)
        self.register_buffer("words", torch.tensor(firsts), persistent=False)
        self.vector = nn.Embedding(starts[-1], self.width)
        nn.init.normal_(self.vector.weight, std=self.width**-0.5)
        make = {"linear": LinearNumbers, "periodic": PeriodicNumbers}[table.numbers]
        count = table.number_count
        self.numbers = make(len(ids), count, self.width) if count else None
        self.drop = nn.Dropout(table.dropout)
        heads = next(heads for heads in (8, 4, 2, 1) if self.width % heads == 0)
        self.blocks = nn.ModuleList(
            EncoderBlock(self.width, heads, table.dropout) for _ in range(table.layers)
        )
        self.norm = nn.LayerNorm(self.width) if table.layers else nn.Identity()

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, C, 1 + N) -> Tokens (B, C, D)."""
        present = lengths > 0  # a record that is there has all columns
        prepared = torch.where(present[:, None, None], prepared, 0)
        ids = prepared[..., 0]  # (B, C)
        x = self.vector(ids + self.offsets)  # (B, C, D)
        if self.numbers is not None:
            there = (ids != MISSING) & self.numeric
            x = x + torch.where(there[..., None], self.numbers(prepared[..., 1:] / SCALE), 0.0)
        x, all_columns = self.drop(x), torch.ones_like(ids, dtype=torch.bool)
        for block in self.blocks:
            x = block(x, all_columns)
        tokens = present_tokens(self.norm(x), present)
        return replace(tokens, tags=self._tags(ids)) if len(self.words) else tokens

    def _tags(self, ids: Tensor) -> Tags:
        """The categories of all columns that have some, of ids (B, C)."""
        known = ids[:, self.categories] - FIRST  # (B, K)
        return Tags(self.words + known.clamp(min=0).long(), (known >= 0).float())


class ColumnsVectors(VectorEncoder):
    """(C, 1 + N) ids and numbers -> Tokens (B, 1, D): of each column its scaled numbers, and which
    of its ids it has."""

    scaled = True

    def __init__(self, table: Columns, pretrained: bool) -> None:
        super().__init__(table, pretrained)
        self.sizes = [kind.ids(state) for _, kind, state in table.columns]
        self.width = len(self.sizes) * table.number_count + sum(self.sizes)

    def vectors(self, prepared: Tensor, lengths: Tensor) -> Tensor:
        """(B, C, 1 + N) -> (B, D)."""
        ids = prepared[..., 0].long()
        each = [
            nn.functional.one_hot(ids[:, at], size).float() for at, size in enumerate(self.sizes)
        ]
        return torch.cat([prepared[..., 1:].flatten(1) / SCALE, *each], dim=1)


class LinearNumbers(nn.Module):
    """(B, C, N) -> (B, C, D): each number times a vector of its own, added up by column.

    Columns that have fewer numbers than others, or none, leave some of the vectors unused.
    """

    def __init__(self, columns: int, numbers: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(columns, numbers, width) * width**-0.5)

    def forward(self, numbers: Tensor) -> Tensor:
        """(B, C, N) -> (B, C, D)."""
        return torch.einsum("bcn,cnd->bcd", numbers, self.weight)


class PeriodicNumbers(nn.Module):
    """(B, C, N) -> (B, C, D): sines and cosines of each number times learned frequencies, through a
    linear layer of each column (Gorishniy et al. 2022, arXiv:2203.05556)."""

    def __init__(self, columns: int, numbers: int, width: int) -> None:
        super().__init__()
        self.frequency = nn.Parameter(torch.randn(columns, numbers, FREQUENCIES) * SPREAD)
        self.linear = LinearNumbers(columns, 2 * numbers * FREQUENCIES, width)

    def forward(self, numbers: Tensor) -> Tensor:
        """(B, C, N) -> (B, C, D)."""
        turns = 2 * torch.pi * numbers[..., None] * self.frequency  # (B, C, N, F)
        return self.linear(torch.cat([turns.sin(), turns.cos()], dim=-1).flatten(2))
