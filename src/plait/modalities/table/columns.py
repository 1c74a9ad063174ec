"""`columns`: every column a token, so that columns can be missing and can attend to each other.

Shapes: R records, C columns, N numbers a column, D width.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, WithJsonSchema

from plait.config.registry import register
from plait.data.values import is_gap
from plait.modalities import base
from plait.modalities.base import Dropout, Facts, Item, Modality
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
from plait.types import BadCell, PlaitError, State, UsageError
from plait.util.suggest import did_you_mean

log = logging.getLogger("plait")

READING_VERSION = 1  # raise it when the same cell would be read otherwise: old caches must miss
SCALE = 1_000_000  # numbers are kept as whole millionths
FARTHEST = 1000.0  # a scaled number is cut to this; 32 bits hold twice as much in millionths
NOISE = 0.05  # deviation of the noise on scaled numbers, in an augmented view
DROPPED = 0.1  # of the columns, in an augmented view
SAMPLES: Mapping[KindName, tuple[Any, Any]] = {
    "number": (0.5, 1.5),
    "category": ("one", "other"),
    "date": ("2024-02-29", "2024-12-31 18:30"),
}


@register("table", "columns")
class Columns(Modality):
    """Numbers, categories and dates, each column a token (FT-Transformer).

    A record is (C, 1 + N) int32: each column's id, and its numbers in millionths; (0, 1 + N) where
    all values are missing. Integers, because float16 would keep three digits of a number, and ids
    up to 2,048.
    """

    encoder_class = "plait.modalities.table.networks.ColumnsEncoder"
    vector_class = "plait.modalities.table.networks.ColumnsVectors"
    classical = True

    facts = Facts(
        widget="columns",
        noun="columns",
        hub_tasks={"category": "tabular-classification", "number": "tabular-regression"},
    )
    media = False
    several_columns = True
    fixed_length = True
    corruptions = ("noise", "lost columns")

    kinds: dict[str, KindName] | None = Field(
        None, description="column -> number, category or date; the others are guessed"
    )
    min_count: int = Field(2, ge=1, description="rarer categories count as unseen")
    categories: int = Field(
        1000, ge=1, le=100_000, description="maximum per column (the commonest)"
    )
    numbers: Literal["linear", "periodic"] = Field(
        "linear", description="how numbers become tokens: times a vector, or through learned waves"
    )
    layers: int = Field(1, ge=0, le=12, description="transformer blocks over the columns")
    width: int = Field(64, ge=8, le=2048, description="width of a token")
    dropout: Dropout = 0.1
    views: int = Field(1, ge=1, le=16, description="augmented versions (noise, lost columns)")

    @classmethod
    def example_cell(cls, columns: Sequence[str]) -> str:
        """Some of its columns, which are known by their names since training."""
        return "{" + ", ".join(f"{column!r}: ..." for column in columns[:2]) + "}"

    @cached_property
    def by_kind(self) -> dict[KindName, Kind]:
        """What reads a column of each kind."""
        return {
            "number": Number(),
            "category": Category(self.min_count, self.categories),
            "date": Date(),
        }

    @cached_property
    def columns(self) -> list[tuple[str, Kind, State]]:
        """Name, kind and state of each column that was learned."""
        return [(c["name"], self.by_kind[c["kind"]], c) for c in self.state["columns"]]

    @property
    def tag_names(self) -> Sequence[str]:
        """The categories, column by column, which an output may repeat."""
        return [word for _, kind, state in self.columns for word in kind.words(state)]

    @property
    def number_count(self) -> int:
        """N: the most numbers that any kind gives."""
        return max(kind.numbers for _, kind, _ in self.columns)

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
        _refuse_unknown(UsageError, self.kinds or {}, columns)
        return {"columns": [self._fit_column(name, values) for name, values in columns.items()]}

    def _fit_column(self, name: str, values: Sequence[Any]) -> State:
        kind = (self.kinds or {}).get(name) or likely_kind(values, self.by_kind)
        reader = self.by_kind[kind]
        good = [reader.parse(value) for value in values if reader.accepts(value)]
        if not good:
            raise PlaitError(
                f"column {name!r} has no {kind} in any training row" if values
                else f"column {name!r} is empty in all training rows",
                expected=reader.expected, hint="leave it out of the input's columns",
            )  # fmt: skip
        if len(set(good)) == 1:
            log.warning("column %r is %s in all training rows, so it is of no use", name, good[0])
        try:
            return {"name": name, "kind": kind, **reader.fit(good)}
        except PlaitError as error:
            raise _of_column(name, error) from None

    def read(self, cell: Any, root: Path) -> Item:
        """(C, 1 + N) int32; (0, 1 + N) where all values are missing.

        Raises:
            BadCell: the cell is not a mapping, has another column, or a value that can't be used.
        """
        values, item = _as_mapping(cell), self.example()
        _refuse_unknown(BadCell, values, [name for name, _, _ in self.columns])
        for row, (name, kind, state) in zip(item, self.columns, strict=True):
            value = values.get(name)
            if is_empty(value) or (kind.name == "number" and is_gap(value)):
                continue  # id 0, MISSING
            try:
                row[0], numbers = kind.code(kind.parse(value), state)
            except BadCell as error:
                raise _of_column(name, error) from None
            row[1 : 1 + len(numbers)] = [
                round(min(max(number, -FARTHEST), FARTHEST) * SCALE) for number in numbers
            ]
        return item if (item[:, 0] != MISSING).any() else item[:0]

    def content(self, cell: Any, root: Path) -> bytes:
        """The values that are there, as JSON, in the order of their names."""
        values = {str(n): v for n, v in _as_mapping(cell).items() if not is_empty(v)}
        return json.dumps(values, sort_keys=True, default=repr).encode()

    def request_type(self) -> Any:
        """A mapping from column to value; which ones there are, and of what kind."""
        columns = {name: kind.schema(state) for name, kind, state in self.columns}
        schema = {"type": "object", "properties": columns, "additionalProperties": False}
        return Annotated[dict[str, str | bool | int | float | None], WithJsonSchema(schema)]

    def augment(self, item: Item, view: int, seed: int) -> Item:
        """Noise on the numbers and, now and then, a column lost."""
        if view == 0 or not len(item):
            return item
        rng = base.view_generator(view, seed)
        item = _noisy(item, NOISE, rng)
        lost = rng.random(len(item)) < DROPPED
        there = item[:, 0] != MISSING
        return np.where(lost[:, None], 0, item) if (there & ~lost).any() else item

    def corrupt(self, item: Item, kind: str, strength: int) -> Item:
        """Noise of 0.1 to 1.6 deviations on the numbers, or a sixth to five sixths of the columns
        lost."""
        rng = base.item_generator(item)
        if kind == "noise":
            return _noisy(item, 0.1 * 2 ** (strength - 1), rng)
        lost = rng.permutation(len(item))[: max(1, round(len(item) * strength / 6))]
        worse = item.copy()
        worse[lost] = 0
        return worse

    def example(self) -> Item:
        """A missing value for each column."""
        return np.zeros((len(self.columns), 1 + self.number_count), np.int32)

    def samples(self) -> list[Any]:
        """A column of each kind, or those whose kinds are named; often enough to be learned."""
        kinds = self.kinds or {kind: kind for kind in SAMPLES}
        one, other = ({name: SAMPLES[kind][n] for name, kind in kinds.items()} for n in (0, 1))
        return [one] * self.min_count + [other] * self.min_count

    def fingerprint(self) -> str:
        """What was learned, and the version of the reading code."""
        return json.dumps(["columns", READING_VERSION, self.state], sort_keys=True)

    def segments(self, cell: Any, root: Path) -> Segments:
        """The columns; the values of those that are hidden are missing."""
        values, names = _as_mapping(cell), [name for name, _, _ in self.columns]
        self.read(cell, root)  # raises where a value can't be used

        def perturb(kept: Kept) -> Item:
            there = zip(names, kept, strict=True)
            return self.read({n: values.get(n) for n, here in there if here}, root)

        shown = [(n, "missing" if is_empty(values.get(n)) else str(values[n])) for n in names]
        return Listing(shown, perturb)


def _noisy(item: Item, deviation: float, rng: np.random.Generator) -> Item:
    """A record with noise on its scaled numbers; 0 stays 0."""
    noise = (rng.standard_normal(item.shape) * deviation * SCALE).round().astype(np.int32)
    noise[:, 0] = 0
    return np.where(item != 0, item + noise, item)


def _as_mapping(cell: Any) -> Mapping[Any, Any]:
    """The cell; raises BadCell if it is not a mapping."""
    if isinstance(cell, Mapping):
        return cell
    what = f"{cell!r:.60} is not a mapping of columns"
    raise BadCell(what, expected="a mapping, column -> value")


def _of_column(name: str, error: PlaitError) -> PlaitError:
    """The error, with the column that it is about."""
    what = f"column {name!r}: {error.what}"
    return type(error)(what, expected=error.expected, hint=error.hint)


def _refuse_unknown(kind: type[PlaitError], names: Iterable[Any], known: Iterable[str]) -> None:
    columns = list(known)
    for name in names:
        if name not in columns:
            raise kind(
                f"there is no column {name!r} among those of the input",
                expected=", ".join(columns), hint=did_you_mean(str(name), columns),
            )  # fmt: skip
