"""A record of plain columns as whole numbers. Knows no torch.

Shapes: C columns, N numbers a column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.modalities.table.kinds import (
    MISSING,
    Category,
    Coded,
    Date,
    Kind,
    KindName,
    Number,
    is_empty,
)
from plait.types import BadCell, PlaitError, State
from plait.util.suggest import did_you_mean

SCALE = 1_000_000  # numbers are kept as whole millionths
FARTHEST = 1000.0  # a scaled number is cut to this; 32 bits hold twice as much in millionths
# What they learn by is of no matter here.
KINDS: Mapping[KindName, Kind] = {"number": Number(), "category": Category(1, 1), "date": Date()}


def code_columns(cell: Any, columns: Sequence[State]) -> NDArray[np.int32]:
    """(C, 1 + N): each column's id, and its numbers in millionths; (0, 1 + N) where all values are
    missing.

    Whole numbers, because float16 would keep three digits of a number, and ids up to 2,048.

    Args:
        cell: a mapping, column -> value.
        columns: each one's name, its kind, and what that learned.

    Raises:
        BadCell: it is no mapping, has another column, or a value that can't be used.
    """
    values, known = as_mapping(cell), [column["name"] for column in columns]
    for name in values:
        if name not in known:
            raise unknown(BadCell, name, known)
    size = numbers_of(columns)
    rows = [_row(*_code(values.get(column["name"]), column), size) for column in columns]
    item = np.array(rows, np.int32)
    return item if (item[:, 0] != MISSING).any() else item[:0]


def _code(value: Any, column: State) -> Coded:
    if is_empty(value):
        return MISSING, []
    kind = KINDS[column["kind"]]
    try:
        return kind.code(kind.parse(value), column)
    except BadCell as error:
        raise of_column(BadCell, column["name"], error) from None


def numbers_of(columns: Sequence[State]) -> int:
    """N: as many as the kind that has most."""
    return max(KINDS[column["kind"]].numbers for column in columns)


def _row(id_: int, numbers: Sequence[float], size: int) -> list[int]:
    """The id and the numbers in millionths, with zeros behind them up to ``size`` numbers."""
    kept = [round(min(max(number, -FARTHEST), FARTHEST) * SCALE) for number in numbers]
    return [id_, *kept, *[0] * (size - len(kept))]


def as_mapping(cell: Any) -> Mapping[Any, Any]:
    """The cell, or BadCell where it is no mapping."""
    if not isinstance(cell, Mapping):
        raise BadCell(f"{cell!r:.60} is no set of columns", expected="a mapping, column -> value")
    return cell


def of_column(kind: type[PlaitError], name: str, error: PlaitError) -> PlaitError:
    """The error, told of a column."""
    return kind(f"column {name!r}: {error.what}", expected=error.expected, hint=error.hint)


def unknown(kind: type[PlaitError], name: Any, known: Iterable[str]) -> PlaitError:
    """The error of a column that the input doesn't have."""
    found = list(known)
    return kind(
        f"there is no column {name!r} among those of the input",
        expected=", ".join(found), hint=did_you_mean(str(name), found),
    )  # fmt: skip
