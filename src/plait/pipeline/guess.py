"""Guesses which column of a table an input or output should read, by names and cells.

The usual names of a modality's column, and the cells it recognises, are declared by the modality;
nothing here names one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from decimal import Decimal
from numbers import Real
from typing import Any

from plait.config import registry
from plait.data.dates import is_date
from plait.data.readers import NUMBER
from plait.data.tables import SPLIT_WORDS, Table
from plait.modalities.base import Match
from plait.types import UsageError

SPLIT = "split"
LABEL_WORDS = 3  # maximum words per label
LONGEST_WORD = 60  # characters of a cell that may be a category
NAMED, CERTAIN = 0.5, 0.8  # share of the cells that must be possible, or certain

Recognises = Callable[[Any], Match]


def guess_column(table: Table, wanted: str) -> str | None:
    """The column that most likely holds what is wanted; None if there is none.

    First choice is a column with a usual name and possible cells, then the first column whose
    cells can't be anything else.

    Args:
        table: the records.
        wanted: a modality, a kind of output, or `SPLIT`.
    """
    names, recognises = _hints(wanted)
    known = {name.lower(): name for name in reversed(table.columns)}
    for name in names:
        if name in known and _share(table, known[name], lambda c: recognises(c) != "no") > NAMED:
            return known[name]
    return next(iter(certain_columns(table, wanted)), None)


def certain_columns(table: Table, wanted: str) -> list[str]:
    """The columns whose cells can only be what is wanted."""
    _, recognises = _hints(wanted)
    return [
        name
        for name in table.columns
        if _share(table, name, lambda cell: recognises(cell) == "certain") > CERTAIN
    ]


def plain_columns(table: Table, used: Iterable[str]) -> list[str]:
    """The unused columns of numbers, booleans, dates, or words that recur."""
    left = [name for name in table.columns if name not in set(used)]
    return [
        name for name in left if _share(table, name, _is_plain) > CERTAIN and _recurs(table, name)
    ]


def modality_of(cell: Any) -> str | None:
    """The modality of a cell that can only be a file of this modality; None for other cells."""
    for kind in registry.modalities():
        modality = registry.modality(kind)
        if modality.media and modality.recognises(cell) == "certain":
            return kind
    return None


def _hints(wanted: str) -> tuple[Iterable[str], Recognises]:
    """The usual names of the column, likeliest first, and the test of its cells."""
    if wanted in _TARGETS:
        return _TARGETS[wanted]
    if wanted in registry.modalities():
        modality = registry.modality(wanted)
        return modality.facts.column_names, modality.recognises
    try:
        output: Any = registry.find("output", wanted).cls
    except UsageError:
        return (), lambda cell: "no"
    return getattr(output, "column_names", ()), getattr(output, "recognises", lambda cell: "no")


def _share(table: Table, name: str, test: Callable[[Any], bool]) -> float:
    """The share of a sample of non-empty cells that pass a test."""
    sample = table.sample(name)
    return sum(map(test, sample)) / len(sample) if sample else 0.0


def _recurs(table: Table, name: str) -> bool:
    """Whether a column has few different words, if any: no names, no free text."""
    words = [
        cell
        for cell in table.sample(name)
        if isinstance(cell, str) and not (NUMBER.fullmatch(cell.strip()) or is_date(cell))
    ]
    return len(set(words)) <= max(1, len(words) // 2)


def _is_plain(cell: Any) -> bool:
    if isinstance(cell, str):
        return len(cell) <= LONGEST_WORD and modality_of(cell) is None
    return isinstance(cell, (Real, Decimal, date))


def _category(cell: Any) -> Match:
    """Anything short may be a category."""
    plain = isinstance(cell, (str, bool, int)) and modality_of(cell) is None
    return "possible" if plain else "no"


def _number(cell: Any) -> Match:
    """Any number may be the target."""
    number = isinstance(cell, (int, float)) and not isinstance(cell, bool)
    return "possible" if number else "no"


def _labels(cell: Any) -> Match:
    """A list of short texts; longer ones are captions."""
    if isinstance(cell, list):
        short = all(isinstance(item, str) and len(item.split()) <= LABEL_WORDS for item in cell)
        return "certain" if short else "no"
    return _category(cell)


def _split(cell: Any) -> Match:
    known = isinstance(cell, str) and cell.strip().lower() in SPLIT_WORDS
    return "certain" if known else "no"


_TARGETS: dict[str, tuple[tuple[str, ...], Recognises]] = {
    "category": (("label", "class", "category", "target", "sentiment", "y"), _category),
    "number": (
        ("number", "target", "value", "score", "rating", "price", "amount", "steering", "angle",
         "age", "y"),
        _number,
    ),
    "labels": (
        ("labels", "tags", "classes", "categories", "genres", "topics", "keywords"), _labels,
    ),
    SPLIT: (("split", "set", "partition", "subset"), _split),
}  # fmt: skip
