"""Tables to records: which columns, which rows, which splits, what is learned from them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, cast

from plait.data.cache import FeatureSpace
from plait.data.splits import split_rows
from plait.data.tables import (
    Table,
    cell_key,
    certain_columns,
    group_captions,
    guess_column,
    plain_columns,
    read_table,
    split_key,
)
from plait.features import (
    BadCells,
    CachedRecords,
    Corruption,
    PreparedInput,
    Progress,
    fill_cache,
    is_missing,
)
from plait.network import Network, Parts
from plait.recipe import Recipe, one_column
from plait.types import BadCell, ColumnName, State, UsageError, column_names, column_text

log = logging.getLogger("plait")

Column: TypeAlias = tuple[FeatureSpace, list[str | None], int]
"""An input's features: the cache, each row's key or None, the number of views."""


def open_table(
    recipe: Recipe, parts: Parts, table: Table | str | Path
) -> tuple[Table, dict[str, ColumnName]]:
    """The table, one row a record, and the columns of the recipe's inputs and outputs."""
    rows = table if isinstance(table, Table) else read_table(table)
    columns = choose_columns(recipe, parts, rows)
    for name, output in parts.outputs.items():
        if output.several and len(parts.modalities) == 1:
            given = columns[f"inputs.{next(iter(parts.modalities))}"]
            split, group = _split_column(recipe, rows), recipe.data.group
            photos = {} if split is None else {split: split_key}
            photos |= {} if group is None else {group: cell_key}
            rows = group_captions(rows, given, str(columns[f"outputs.{name}"]), photos)
    return rows, columns


@dataclass(frozen=True)
class _Wish:
    """What an input or an output asks of the table: a column of that name, or of that kind.

    Attributes:
        column: as the recipe names it.
        several: whether it reads several columns at once.
    """

    name: str
    column: ColumnName | None
    kind: str
    several: bool = False

    def named(self, table: Table) -> ColumnName | None:
        """The recipe's column; of several, all names, also where they stand in one text."""
        if not (self.several and isinstance(self.column, str)):
            return self.column
        one = self.column in table.columns
        return [self.column] if one else [part.strip() for part in self.column.split(",")]


def _wishes(recipe: Recipe, parts: Parts) -> dict[str, _Wish]:
    """The inputs' by "inputs.NAME"."""
    return {
        f"inputs.{n}": _Wish(n, s.column, s.modality, parts.modalities[n].several_columns)
        for n, s in recipe.inputs.items()
    }


def choose_columns(recipe: Recipe, parts: Parts, table: Table) -> dict[str, ColumnName]:
    """ "inputs.NAME" and "outputs.NAME" -> column: named in the recipe, called so, or guessed."""
    inputs = _wishes(recipe, parts)
    outputs = {f"outputs.{n}": _Wish(n, s.column, s.kind) for n, s in recipe.outputs.items()}
    used = {_split_column(recipe, table), recipe.data.group} - {None}
    return _choose(table, inputs | outputs, cast(set[str], used))


def choose_present_columns(
    recipe: Recipe, parts: Parts, table: Table, named: Mapping[str, ColumnName]
) -> dict[str, ColumnName]:
    """Input name -> column of the inputs that the table has; those it lacks are missing.

    ``named`` are columns that the user names, as in `Recipe.with_columns`: they must be there.

    Raises:
        UsageError: one of those isn't, or the table has none.
    """
    chosen: dict[str, ColumnName] = {}
    lacking: list[UsageError] = []
    for path, wish in _wishes(recipe.with_columns(named), parts).items():
        certain = bool({wish.name, path} & set(named))
        wished = wish if certain else _of_those_there(table, wish)
        try:
            chosen[wish.name] = _choose(table, {path: wished}, set())[path]
        except UsageError as error:
            if certain:
                raise
            lacking.append(error)
            log.warning("%s has no column for the input %r: it is missing", table.path, wish.name)
    if not chosen:
        raise lacking[0]
    return chosen


def _of_those_there(table: Table, wish: _Wish) -> _Wish:
    """The wish for several columns without those that the table lacks, unless it lacks all."""
    names = wish.named(table)
    if names is None or isinstance(names, str):
        return wish
    there = [name for name in names if name in table.columns]
    lacks = [name for name in names if name not in there]
    if there and lacks:
        log.warning("%s has no column %s: missing values", table.path, column_text(lacks))
    return replace(wish, column=there or names)


def _choose(table: Table, wishes: Mapping[str, _Wish], used: set[str]) -> dict[str, ColumnName]:
    """A column for each; those that may take all that are left choose last."""
    chosen: dict[str, ColumnName] = {}
    for path, wish in sorted(wishes.items(), key=lambda item: item[1].several):
        named = wish.named(table)
        if named is not None:
            chosen[path] = _checked(table, path, wish, named)
        elif wish.name in table.columns:
            chosen[path] = [wish.name] if wish.several else wish.name
        else:
            guess = _guess_several if wish.several else _guess
            chosen[path] = guess(table, path, wish.kind, used)
        used = used | set(column_names(chosen[path]))
    return {path: chosen[path] for path in wishes}


def _checked(table: Table, path: str, wish: _Wish, named: ColumnName) -> ColumnName:
    """The named columns; UsageError where there are none such, or too many."""
    if not wish.several and not isinstance(named, str):
        raise one_column(path, named)
    for name in column_names(named):
        if name not in table.columns:
            raise UsageError(
                f"{table.path} has no column {name!r} for {path}",
                expected=f"one of: {', '.join(table.columns)}",
                mend=f"name it with --column {path}=NAME",
            )
    return named


def _guess(table: Table, path: str, kind: str, used: set[str]) -> ColumnName:
    guess = guess_column(table, cast(Any, kind))
    if guess is None:
        raise _none_looks_like(table, path, kind)
    others = [c for c in certain_columns(table, cast(Any, kind)) if c != guess]
    if others:
        log.warning(
            "%s is taken to be column %r, not %s; name another with --column %s=NAME",
            path, guess, " or ".join(map(repr, others)), path,
        )  # fmt: skip
    return guess


def _guess_several(table: Table, path: str, kind: str, used: set[str]) -> ColumnName:
    """All plain columns that nothing else uses."""
    found = plain_columns(table, used)
    if not found:
        raise _none_looks_like(table, path, kind)
    log.warning(
        "%s is taken to be the columns %s; name others with --column %s=NAME,NAME",
        path, column_text(found), path,
    )  # fmt: skip
    return found


def _none_looks_like(table: Table, path: str, kind: str) -> UsageError:
    return UsageError(
        f"no column of {table.path} looks like {kind}",
        expected=f"one of: {', '.join(table.columns)}",
        mend=f"name it with --column {path}=NAME",
    )


def split_table(
    recipe: Recipe, parts: Parts, table: Table, columns: Mapping[str, ColumnName]
) -> dict[str, list[int]]:
    """train, val and test rows."""
    media = [str(columns[f"inputs.{name}"]) for name, m in parts.modalities.items() if m.media]
    found = split_rows(
        table,
        column=_split_column(recipe, table),
        ratios=recipe.data.ratios,
        group=recipe.data.group,
        media=media,
        seed=recipe.seed,
        overlap=recipe.data.overlap,
    )
    return {str(name): rows for name, rows in found.items()}


def _split_column(recipe: Recipe, table: Table) -> str | None:
    """Named in the recipe, or guessed; none where the split is by group."""
    if recipe.data.split is not None or recipe.data.group is not None:
        return recipe.data.split
    return guess_column(table, "split")


def rows_of_split(
    recipe: Recipe, parts: Parts, table: Table, columns: Mapping[str, ColumnName], split: str
) -> list[int]:
    """The rows of train, val or test, split as training would."""
    splits = split_table(recipe, parts, table, columns)
    if split not in splits:
        raise UsageError(f"there is no split {split!r}", expected="train, val or test")
    if not splits[split]:
        raise UsageError(f"the split {split!r} of {table.path} has no rows")
    return splits[split]


def learn_states(parts: Parts, table: Table, columns: Mapping[str, ColumnName]) -> dict[str, State]:
    """What every input and output learns from the training rows."""
    states: dict[str, State] = {}
    for name, modality in parts.modalities.items():
        cells = table.column(columns[f"inputs.{name}"])
        states[f"inputs.{name}"] = modality.learn(cells, table.root)
    for name, output in parts.outputs.items():
        cells = table.column(columns[f"outputs.{name}"])
        states[f"outputs.{name}"] = output.learn(cells)
    return states


@dataclass(frozen=True)
class Preparer:
    """Turns tables into cached records, with what the network's parts have learned.

    Attributes:
        bad: where cells that can't be used are counted.
    """

    parts: Parts
    states: Mapping[str, State]
    network: Network
    columns: Mapping[str, ColumnName]
    bad: BadCells
    progress: Progress | None = None

    def prepare(self, table: Table, *, views: bool) -> tuple[CachedRecords, list[int]]:
        """A table's records, and the rows that they come from (bad ones left out)."""
        self.network.eval()
        inputs = {name: self._input(name, table, views) for name in self.parts.modalities}
        targets = {name: self._targets(name, table) for name in self.parts.outputs}
        rows = [
            row for row in self._with_input(table, inputs) if self._usable(row, inputs, targets)
        ]
        records = CachedRecords(
            {n: (space, [keys[r] for r in rows], c) for n, (space, keys, c) in inputs.items()},
            {name: [values[r] for r in rows] for name, values in targets.items()},
            len(rows),
        )
        return records, rows

    def corrupted(
        self, table: Table, records: CachedRecords, rows: Sequence[int], name: str,
        corruption: Corruption,
    ) -> CachedRecords:  # fmt: skip
        """Records of `prepare`, from these rows, with one input made worse."""
        space, keys, count = self._input(name, table.where(rows), False, corruption)
        return replace(records, inputs={**records.inputs, name: (space, keys, count)})

    def _input(
        self, name: str, table: Table, views: bool, corruption: Corruption | None = None
    ) -> Column:
        path, modality = f"inputs.{name}", self.parts.modalities[name]
        encoder, column = self.network.encoder(name), self.columns[f"inputs.{name}"]
        state = self.states[path]
        source = PreparedInput(name, modality, encoder, state, table.root, corruption)
        count = modality.views if views else 1
        device = next(self.network.parameters()).device
        meet = partial(self._meet, table, column)
        space, keys = fill_cache(source, table.column(column), count, meet, device, self.progress)
        return space, keys, count

    def _targets(self, name: str, table: Table) -> list[Any]:
        column = self.columns[f"outputs.{name}"]
        read = self.parts.outputs[name].reader(self.states[f"outputs.{name}"])
        targets: list[Any] = []
        for row, cell in enumerate(table.column(column)):
            try:
                targets.append(read(cell))
            except BadCell as error:
                self._meet(table, column, row, error)
                targets.append(None)
        return targets

    def _meet(self, table: Table, column: ColumnName, row: int, error: BadCell) -> None:
        self.bad.meet(table.number(row), column_text(column), error)

    def _with_input(self, table: Table, inputs: Mapping[str, Column]) -> Iterator[int]:
        """The rows that are not empty; the others are named."""
        cells = [table.column(self.columns[f"inputs.{name}"]) for name in inputs]
        for row in range(len(table)):
            # Cells are looked at only where needed: they may lie in a large file.
            nothing = all(keys[row] is None for _, keys, _ in inputs.values())
            if nothing and all(is_missing(column[row]) for column in cells):
                self.bad.problems.append(f"row {table.number(row)}: no input that could be used")
            else:
                yield row

    def _usable(
        self, row: int, inputs: Mapping[str, Column], targets: Mapping[str, list[Any]]
    ) -> bool:
        """With all its targets and, unless bad cells count as missing, all its inputs."""
        there = [keys[row] is not None for _, keys, _ in inputs.values()]
        wanted = all(there) if self.bad.policy == "skip" else any(there)
        return wanted and all(values[row] is not None for values in targets.values())
