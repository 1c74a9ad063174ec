"""Further tables to learn from, beside the one that is trained on: `data.sources` of a recipe."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.config.recipe import Recipe
from plait.data.lazy import Columns, joined, mapped
from plait.data.paths import WEB, find_file
from plait.data.tables import Table, as_table, table_digest
from plait.pipeline.columns import split_column
from plait.pipeline.engine import Parts
from plait.pipeline.records import file_keys, open_table, split_table
from plait.types import ColumnName, PlaitError, UsageError, column_names
from plait.util.files import digest


@dataclass(frozen=True)
class Learned:
    """A table that a model learns from, as its package remembers it.

    Attributes:
        name: the source's; empty for the table itself.
        path: where it came from.
        digest: of its cells, before anything is left out.
        rows: how many of its rows are for training.
        weight: how often an epoch shows each, on average.
    """

    name: str
    path: str
    digest: str
    rows: int
    weight: float


@dataclass(frozen=True)
class Mixture:
    """A table with the rows of all sources behind its own.

    Attributes:
        table: all rows, of the columns that are read; relative paths of the sources' are absolute.
        splits: the rows of train, val and test, and of ``calibration``: what probabilities are
            fitted to, the rows of val and those that the sources have for validation.
        sources: (rows,) the number of each row's source, 0 for the table itself; None if there are
            no sources.
        learned: the table itself, and the sources in their order.
    """

    table: Table
    splits: Mapping[str, Sequence[int]]
    sources: NDArray[np.int64] | None
    learned: Sequence[Learned]

    @property
    def sizes(self) -> dict[str, int]:
        """How many rows each split has, to be shown; without those for calibration where they are
        the rows of val."""
        sizes = {name: len(rows) for name, rows in self.splits.items()}
        if sizes["calibration"] == sizes["val"]:
            del sizes["calibration"]
        return sizes


class SourceRow(int):
    """The number of a source's row, which messages show with the source."""

    source: str

    def __str__(self) -> str:
        return f"{int(self)} of data.sources.{self.source}"


@dataclass(frozen=True)
class _Source:
    """A source's rows, those for validation first.

    Attributes:
        table: the rows that may be used.
        columns: of the inputs and outputs.
        keys: of each row's files.
        validating: how many rows are for validation.
        learned: what is remembered of it.
    """

    table: Table
    columns: Mapping[str, ColumnName]
    keys: Sequence[set[str]]
    validating: int
    learned: Learned


def with_sources(
    recipe: Recipe,
    parts: Parts,
    table: Table,
    columns: Mapping[str, ColumnName],
    splits: Mapping[str, list[int]],
) -> Mixture:
    """A table and the sources of its recipe as one; the table itself if there are none.

    A source with a split column is learned from by its rows for training; by those for validation
    only probabilities are fitted, as the best weights are those that score best on the table. A
    file that is among the table's rows for validation or test is left out of the sources, and one
    that is learned from is left out of their rows for validation, unless the recipe's
    ``data.overlap`` is ``keep``.

    Raises:
        PlaitError: a source can't be read, or has nothing to learn from.
        UsageError: a column is missing; or a file is in two splits and ``data.overlap`` is
            ``stop``.
    """
    train, calibration = list(splits["train"]), list(splits["val"])
    main = Learned("", str(table.path), table_digest(table), len(train), recipe.data.weight)
    if not recipe.data.sources:
        return Mixture(table, {**splits, "calibration": calibration}, None, [main])
    held_out = [row for name, rows in splits.items() if name != "train" for row in rows]
    judging = set().union(*_file_keys(parts, table.where(held_out), columns))
    found = [_source(recipe, parts, name, judging) for name in recipe.data.sources]
    taught = set().union(
        *_file_keys(parts, table.where(train), columns),
        *(keys for source in found for keys in source.keys[source.validating :]),
    )
    read = {name for column in columns.values() for name in column_names(column)}
    cells = {name: [values] for name, values in table.columns.items() if name in read}
    sources, numbers = [np.zeros(len(table), np.int64)], list(map(table.number, range(len(table))))
    for number, source in enumerate(found, start=1):
        start, rows = len(numbers), range(len(source.table))
        keys = source.keys[: source.validating]
        seen = _shared(recipe, source.learned.name, keys, taught, "are learned from")
        calibration += [start + row for row in rows[: source.validating] if row not in seen]
        train += [start + row for row in rows[source.validating :]]
        sources.append(np.full(len(rows), number))
        for row in map(SourceRow, map(source.table.number, rows)):
            row.source = source.learned.name
            numbers.append(row)
        for name, values in _renamed(parts, source, columns).items():
            cells[name].append(values)
    together: Columns = {name: joined(pieces) for name, pieces in cells.items()}
    whole = replace(table, columns=together, numbers=numbers)
    new = {**splits, "train": train, "calibration": calibration}
    learned = [main, *(source.learned for source in found)]
    return Mixture(whole, new, np.concatenate(sources), learned)


def _source(recipe: Recipe, parts: Parts, name: str, judging: set[str]) -> _Source:
    """A source without the files of these keys. Raises as `with_sources`."""
    own, opened, columns = _opened(recipe, parts, name)
    validating, training = list[int](), list(range(len(opened)))
    if split_column(own, opened) is not None:
        splits = split_table(own, parts, opened, columns)
        validating, training = splits["val"], splits["train"]
    rows = opened.where([*validating, *training])
    keys = _file_keys(parts, rows, columns)
    shared = _shared(recipe, name, keys, judging, "the table validates or tests on")
    left = [row for row in range(len(rows)) if row not in shared]
    first = sum(row < len(validating) for row in left)
    if len(left) == first:
        raise PlaitError(
            f"data.sources.{name}: {opened.path} has no rows to learn from",
            expected="rows for training, of files that are not for validation or test",
        )
    weight = recipe.data.sources[name].weight
    learned = Learned(name, str(opened.path), table_digest(opened), len(left) - first, weight)
    return _Source(rows.where(left), columns, [keys[row] for row in left], first, learned)


def _shared(
    recipe: Recipe, name: str, keys: Sequence[set[str]], others: set[str], use: str
) -> set[int]:
    """The rows of a source, by the keys of their files, that are to be left out: their files are
    among others, which are used otherwise. Raises UsageError if ``data.overlap`` is ``stop``."""
    shared = {row for row, own in enumerate(keys) if own & others}
    if shared and recipe.data.overlap == "stop":
        raise UsageError(
            f"data.sources.{name}: {len(shared)} of its rows use files that {use}",
            expected="no shared files",
            hint="take them out, or set data.overlap=drop",
        )
    return shared if recipe.data.overlap == "drop" else set()


def source_digests(recipe: Recipe, parts: Parts) -> list[str]:
    """A digest of each source's cells and of the files that they name. Raises as `open_table`."""
    opened = (_opened(recipe, parts, name) for name in recipe.data.sources)
    return [
        digest(table_digest(rows), json.dumps(file_keys(parts, rows, taken)))
        for _, rows, taken in opened
    ]


def _opened(recipe: Recipe, parts: Parts, name: str) -> tuple[Recipe, Table, dict[str, ColumnName]]:
    """A source's own recipe, its records, and its columns.

    The columns that the recipe names are those of the main table. Where a source lacks one, its own
    is guessed, also that of its splits where those of the table are drawn.
    """
    table = as_table(recipe.data.sources[name].table, recipe.data.missing_texts)
    split = recipe.data.split if recipe.data.split in table.columns else None
    # Without a split column, a group would have the rows split by it.
    group = recipe.data.group if split and recipe.data.group in table.columns else None
    sections: dict[str, Any] = {
        section: {
            part: spec.model_copy(update={"column": None}) if _lacks(table, spec.column) else spec
            for part, spec in getattr(recipe, section).items()
        }
        for section in ("inputs", "outputs")
    }
    # Nor is a row for training drawn to validate on.
    ratios = (1.0, 0.0, 0.0)
    data = recipe.data.model_copy(update={"split": split, "group": group, "ratios": ratios})
    own = recipe.model_copy(update={"data": data, **sections})
    return own, *open_table(own, parts, table)


def _lacks(table: Table, column: ColumnName | None) -> bool:
    """Whether a table lacks a column. Of several, which are not guessed, the error will say so."""
    return isinstance(column, str) and column not in table.columns


def _file_keys(parts: Parts, table: Table, columns: Mapping[str, ColumnName]) -> list[set[str]]:
    """The content keys of each row's files."""
    of_inputs = file_keys(parts, table, columns).values()
    each = [{key for key in keys if key} for keys in zip(*of_inputs, strict=True)]
    return each or [set[str]() for _ in range(len(table))]  # no input reads files


def _renamed(
    parts: Parts, source: _Source, columns: Mapping[str, ColumnName]
) -> dict[str, Sequence[Any]]:
    """A source's cells by the names that their columns have in the table, its files' paths made
    absolute."""
    found: dict[str, Sequence[Any]] = {}
    absolute = partial(_absolute, source.table.root)
    for path, column in columns.items():
        media = parts.components[path].media
        theirs = column_names(source.columns[path])
        for ours, name in zip(column_names(column), theirs, strict=True):
            cells = source.table.column(name)
            found[ours] = mapped(absolute, cells) if media else cells
    return found


def _absolute(root: Path, cell: Any) -> Any:
    """A cell that names a file below ``root``, with the file's own path."""
    if not isinstance(cell, (str, Path)) or not str(cell).strip() or WEB.match(str(cell)):
        return cell
    found = find_file(cell, root)
    return str(found) if isinstance(found, Path) else found
