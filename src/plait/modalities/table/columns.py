"""`columns`: every column a token, so that columns can be missing and can attend to each other.

Shapes: B records, C columns, N numbers a column, D width.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, WithJsonSchema
from torch import Tensor, nn

from plait.config.registry import register
from plait.data.media import MediaInfo
from plait.modalities.base import Classical, Encoder, Modality
from plait.modalities.segments import Kept, Listing, Segments
from plait.modalities.table.kinds import (
    MISSING,
    Category,
    Date,
    Kind,
    KindName,
    Number,
    is_empty,
    likely_kind,
)
from plait.modalities.table.reading import (
    SCALE,
    as_mapping,
    code_columns,
    numbers_of,
    of_column,
    unknown,
)
from plait.nn.blocks import EncoderBlock, present_tokens
from plait.types import PlaitError, State, Tokens, UsageError

log = logging.getLogger("plait")

READING_VERSION = 1  # raise it when the same cell would be read otherwise: old caches must miss
NOISE = 0.05  # deviation of the noise on scaled numbers, in an augmented view
DROPPED = 0.1  # of the columns, in an augmented view
FREQUENCIES = 16  # of a number's periodic features
SPREAD = 0.3  # deviation of those frequencies at the start, in turns per standard deviation
SAMPLES: Mapping[KindName, tuple[Any, Any]] = {
    "number": (0.5, 1.5),
    "category": ("one", "other"),
    "date": ("2024-02-29", "2024-12-31 18:30"),
}


@register("table", "columns")
class Columns(Modality, Classical):
    """Numbers, categories and dates, each column a token (FT-Transformer)."""

    media = False
    several_columns = True
    of_one_length = True
    corruptions = ("noise", "lost columns")

    def __init__(
        self,
        *,
        kinds: Annotated[
            dict[str, KindName] | None,
            Field(description="column: number, category or date; those not named are guessed"),
        ] = None,
        min_count: Annotated[int, Field(ge=1, description="rarer categories count as unseen")] = 2,
        categories: Annotated[
            int, Field(ge=1, le=100_000, description="of a column at the most, the commonest")
        ] = 1000,
        numbers: Annotated[
            Literal["linear", "periodic"],
            Field(description="linear: number times a vector; periodic: through learned waves"),
        ] = "linear",
        layers: Annotated[
            int, Field(ge=0, le=12, description="blocks in which columns attend to each other")
        ] = 1,
        width: Annotated[int, Field(ge=8, le=2048, description="width of a token")] = 64,
        dropout: Annotated[float, Field(ge=0, lt=1, description="dropout")] = 0.1,
        views: Annotated[
            int, Field(ge=1, le=16, description="augmented versions (noise, lost columns) to cache")
        ] = 1,
    ) -> None:
        self.named, self.numbers = kinds or {}, numbers
        self.layers, self.width, self.dropout, self.views = layers, width, dropout, views
        self.min_count = min_count
        self.kinds: dict[KindName, Kind] = {
            "number": Number(), "category": Category(min_count, categories), "date": Date(),
        }  # fmt: skip

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """Each column's kind, and the scale, categories or range of its values.

        Values that can't be used are left out here, and named when they are read.

        Raises:
            PlaitError: a column has no value at all, or none that comes again.
            UsageError: ``kinds`` names a column that is not there.
        """
        columns: dict[str, list[Any]] = {}
        for cell in cells:
            for name, value in (cell if isinstance(cell, Mapping) else {}).items():
                columns.setdefault(name, []).extend([] if is_empty(value) else [value])
        if not columns:
            raise PlaitError("all training cells are empty", expected="at least one value")
        for name in self.named:
            if name not in columns:
                raise unknown(UsageError, name, columns)
        return {"columns": [self._learn(name, values) for name, values in columns.items()]}

    def _learn(self, name: str, values: Sequence[Any]) -> State:
        kind = self.named.get(name) or likely_kind(values, self.kinds)
        good = [self.kinds[kind].parse(v) for v in values if self.kinds[kind].accepts(v)]
        if not good:
            raise PlaitError(
                f"column {name!r} has no {kind} in any training row" if values
                else f"column {name!r} is empty in all training rows",
                expected=self.kinds[kind].expected, hint="leave it out of the input's columns",
            )  # fmt: skip
        if len(set(good)) == 1:
            log.warning("column %r is %s in all training rows and tells nothing", name, good[0])
        try:
            return {"name": name, "kind": kind, **self.kinds[kind].fit(good)}
        except PlaitError as error:
            raise of_column(PlaitError, name, error) from None

    def read(self, cell: Any, root: Path, state: State) -> Tensor:
        """`code_columns`, as a tensor."""
        return torch.from_numpy(code_columns(cell, state["columns"]))

    def _numbers(self, state: State) -> int:
        return numbers_of(state["columns"])

    def reading(self, state: State) -> State:
        """The columns, as they were learned."""
        return {"kind": "columns", "columns": state["columns"]}

    def content(self, cell: Any, root: Path) -> bytes:
        """The values that are there, as JSON, in the order of their names."""
        values = {str(n): v for n, v in as_mapping(cell).items() if not is_empty(v)}
        return json.dumps(values, sort_keys=True, default=repr).encode()

    def media_info(self, cell: Any, root: Path) -> MediaInfo:
        """Nothing: a row has neither pixels nor seconds."""
        return MediaInfo()

    def request_type(self, state: State) -> Any:
        """A mapping from column to value; which ones there are, and of what kind."""
        columns = {c["name"]: self.kinds[c["kind"]].schema(c) for c in state["columns"]}
        schema = {"type": "object", "properties": columns, "additionalProperties": False}
        return Annotated[dict[str, str | bool | int | float | None], WithJsonSchema(schema)]

    def augment(self, item: Tensor, view: int) -> Tensor:
        """View 0 the record; others with noise on their numbers and, now and then, a column lost.

        What is drawn depends on the view and the values alone.
        """
        if view == 0 or not len(item):
            return item
        generator = torch.Generator().manual_seed(view * 7919 + int(item.sum()) % 1_000_003)
        noise = torch.randn(item.shape, generator=generator) * NOISE * SCALE
        noise[:, 0] = 0.0
        item = torch.where(item != 0, item + noise.round().int(), item)
        lost = torch.rand(len(item), generator=generator) < DROPPED
        there = item[:, 0] != MISSING
        return item.masked_fill(lost[:, None], 0) if bool((there & ~lost).any()) else item

    def corrupt(self, item: Tensor, kind: str, strength: int) -> Tensor:
        """Noise of 0.1 to 1.6 deviations on the numbers, or a sixth to five sixths of the columns
        lost."""
        generator = torch.Generator().manual_seed(int(item.sum()) % 1_000_003)
        if kind == "noise":
            noise = torch.randn(item.shape, generator=generator) * 0.1 * 2 ** (strength - 1)
            noise[:, 0] = 0.0
            return torch.where(item != 0, item + (noise * SCALE).round().int(), item)
        order = torch.randperm(len(item), generator=generator)
        lost = order[: max(1, round(len(item) * strength / 6))]
        return item.index_fill(0, lost, 0)

    def example(self, state: State) -> Tensor:
        """Missing values, as many as there are columns."""
        return torch.zeros(len(state["columns"]), 1 + self._numbers(state), dtype=torch.int32)

    def samples(self) -> list[Any]:
        """A column of each kind, or those whose kinds are named; often enough to be learned."""
        kinds = self.named or {kind: kind for kind in SAMPLES}
        return [
            {name: SAMPLES[kind][number] for name, kind in kinds.items()}
            for number in (0, 1)
            for _ in range(self.min_count)
        ]

    def fingerprint(self, state: State) -> str:
        """What was learned, and the version of the reading code."""
        return json.dumps(["columns", READING_VERSION, state], sort_keys=True)

    def picture(self, cell: Any, root: Path, state: State) -> Tensor | None:
        """None: plain columns have none."""
        return None

    def segments(self, cell: Any, root: Path, state: State) -> Segments:
        """The columns; the values of those that are hidden are missing."""
        values, names = as_mapping(cell), [column["name"] for column in state["columns"]]
        self.read(cell, root, state)  # raises where a value can't be used

        def keep(kept: Kept) -> Tensor:
            there = zip(names, kept, strict=True)
            return self.read({n: values.get(n) for n, here in there if here}, root, state)

        shown = [(n, "missing" if is_empty(values.get(n)) else str(values[n])) for n in names]
        return Listing(shown, keep)

    def vectors(self, rows: Sequence[NDArray[Any]], state: State) -> NDArray[np.float32]:
        """(N, D): of each column its scaled numbers, and which of its ids it has."""
        values = np.stack(rows)  # (N, C, 1 + numbers)
        numbers = values[..., 1:].reshape(len(values), -1) / SCALE
        sizes = [self.kinds[column["kind"]].ids(column) for column in state["columns"]]
        ids = [np.eye(size)[values[:, at, 0]] for at, size in enumerate(sizes)]
        return np.concatenate([numbers, *ids], axis=1).astype(np.float32)

    def encoder(self, state: State, pretrained: bool) -> Encoder:
        """The columns' tokens; nothing is pretrained."""
        kinds = [self.kinds[column["kind"]] for column in state["columns"]]
        ids = [kind.ids(column) for kind, column in zip(kinds, state["columns"], strict=True)]
        return ColumnsEncoder(
            ids, [kind.numbers > 0 for kind in kinds], numbers_of(state["columns"]), self
        )


class ColumnsEncoder(Encoder):
    """(C, 1 + N) ids and numbers -> Tokens (B, C, D) (Gorishniy et al. 2021, arXiv:2106.11959).

    A column's token is its id's vector, which for a number or a date is the bias, plus what is
    made of its numbers. A missing value has an id, and so a vector, of each column's own.
    """

    offsets: Tensor
    numeric: Tensor

    def __init__(
        self, ids: Sequence[int], numeric: Sequence[bool], numbers: int, columns: Columns
    ) -> None:
        super().__init__()
        self.trunk = nn.Identity()
        self.length, self.width = len(ids), columns.width
        starts = list(accumulate(ids, initial=0))
        self.register_buffer("offsets", torch.tensor(starts[:-1]), persistent=False)
        self.register_buffer("numeric", torch.tensor(numeric), persistent=False)
        self.vector = nn.Embedding(starts[-1], self.width)
        nn.init.normal_(self.vector.weight, std=self.width**-0.5)
        make = {"linear": LinearNumbers, "periodic": PeriodicNumbers}[columns.numbers]
        self.numbers = make(len(ids), numbers, self.width) if numbers else None
        self.drop = nn.Dropout(columns.dropout)
        heads = next(heads for heads in (8, 4, 2, 1) if self.width % heads == 0)
        self.blocks = nn.ModuleList(
            EncoderBlock(self.width, heads, columns.dropout) for _ in range(columns.layers)
        )
        self.norm = nn.LayerNorm(self.width) if columns.layers else nn.Identity()

    def prepare(self, items: Sequence[Tensor]) -> list[Tensor]:
        """The ids and numbers as they are."""
        return list(items)

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
        return present_tokens(self.norm(x), present)


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
