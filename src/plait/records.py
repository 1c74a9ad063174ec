"""Tables to records: which columns, which rows, which splits, what is learned from them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
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
from plait.recipe import Recipe
from plait.types import BadCell, State, UsageError

log = logging.getLogger("plait")

Column: TypeAlias = tuple[FeatureSpace, list[str | None], int]
"""An input's features: the cache, each row's key or None, the number of views."""


def open_table(
    recipe: Recipe, parts: Parts, table: Table | str | Path
) -> tuple[Table, dict[str, str]]:
    """The table, one row a record, and the columns of the recipe's inputs and outputs."""
    rows = table if isinstance(table, Table) else read_table(table)
    columns = choose_columns(recipe, rows)
    for name, output in parts.outputs.items():
        if output.several and len(parts.modalities) == 1:
            given = columns[f"inputs.{next(iter(parts.modalities))}"]
            split, group = _split_column(recipe, rows), recipe.data.group
            photos = {} if split is None else {split: split_key}
            photos |= {} if group is None else {group: cell_key}
            rows = group_captions(rows, given, columns[f"outputs.{name}"], photos)
    return rows, columns


def choose_columns(recipe: Recipe, table: Table) -> dict[str, str]:
    """ "inputs.NAME" and "outputs.NAME" -> column: named in the recipe, called so, or guessed."""
    inputs = {f"inputs.{n}": (n, s.column, s.modality) for n, s in recipe.inputs.items()}
    outputs = {f"outputs.{n}": (n, s.column, s.kind) for n, s in recipe.outputs.items()}
    return _choose(table, inputs | outputs)


def choose_present_columns(recipe: Recipe, table: Table) -> dict[str, str]:
    """Input name -> column of the inputs that the table has; those it lacks are missing.

    Raises:
        UsageError: it has none.
    """
    chosen: dict[str, str] = {}
    lacking: list[UsageError] = []
    for name, spec in recipe.inputs.items():
        path = f"inputs.{name}"
        try:
            chosen[name] = _choose(table, {path: (name, spec.column, spec.modality)})[path]
        except UsageError as error:
            lacking.append(error)
            log.warning("%s has no column for the input %r: it is missing", table.path, name)
    if not chosen:
        raise lacking[0]
    return chosen


def _choose(table: Table, specs: Mapping[str, tuple[str, str | None, str]]) -> dict[str, str]:
    chosen: dict[str, str] = {}
    for path, (name, column, kind) in specs.items():
        if column is not None:
            if column not in table.columns:
                raise UsageError(
                    f"{table.path} has no column {column!r} for {path}",
                    expected=f"one of: {', '.join(table.columns)}",
                    mend=f"name it with --column {path}=NAME",
                )
            chosen[path] = column
        elif name in table.columns:
            chosen[path] = name
        else:
            guess = guess_column(table, cast(Any, kind))
            if guess is None:
                raise UsageError(
                    f"no column of {table.path} looks like {kind}",
                    expected=f"one of: {', '.join(table.columns)}",
                    mend=f"name it with --column {path}=NAME",
                )
            others = [c for c in certain_columns(table, cast(Any, kind)) if c != guess]
            if others:
                log.warning(
                    "%s is taken to be column %r, not %s; name another with --column %s=NAME",
                    path, guess, " or ".join(map(repr, others)), path,
                )  # fmt: skip
            chosen[path] = guess
    return chosen


def split_table(
    recipe: Recipe, parts: Parts, table: Table, columns: Mapping[str, str]
) -> dict[str, list[int]]:
    """train, val and test rows."""
    media = [columns[f"inputs.{name}"] for name, m in parts.modalities.items() if m.media]
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
    recipe: Recipe, parts: Parts, table: Table, columns: Mapping[str, str], split: str
) -> list[int]:
    """The rows of train, val or test, split as training would."""
    splits = split_table(recipe, parts, table, columns)
    if split not in splits:
        raise UsageError(f"there is no split {split!r}", expected="train, val or test")
    if not splits[split]:
        raise UsageError(f"the split {split!r} of {table.path} has no rows")
    return splits[split]


def learn_states(parts: Parts, table: Table, columns: Mapping[str, str]) -> dict[str, State]:
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
    columns: Mapping[str, str]
    bad: BadCells
    progress: Progress | None = None

    def prepare(self, table: Table, *, views: bool) -> tuple[CachedRecords, list[int]]:
        """A table's records, and the rows that they come from (bad ones left out)."""
        self.network.eval()
        inputs = {name: self._input(name, table, views) for name in self.parts.modalities}
        targets = {name: self._targets(name, table) for name in self.parts.outputs}
        rows = [row for row in range(len(table)) if self._usable(table, row, inputs, targets)]
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

    def _meet(self, table: Table, column: str, row: int, error: BadCell) -> None:
        self.bad.meet(table.number(row), column, error)

    def _usable(
        self, table: Table, row: int, inputs: Mapping[str, Column], targets: Mapping[str, list[Any]]
    ) -> bool:
        """With all its targets and, unless bad cells count as missing, all its inputs."""
        there = [keys[row] is not None for _, keys, _ in inputs.values()]
        cells = [table.column(self.columns[f"inputs.{name}"])[row] for name in inputs]
        if all(map(is_missing, cells)):
            self.bad.problems.append(f"row {table.number(row)}: no input that could be used")
        wanted = all(there) if self.bad.policy == "skip" else any(there)
        return wanted and all(values[row] is not None for values in targets.values())
