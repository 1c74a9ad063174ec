"""From a table to records: rows, splits, fitted components, cached features, batches."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.config.recipe import Recipe
from plait.data.cells import ErrorPolicy, MediaInfo
from plait.data.split_column import check_flags, check_split_names, split_key
from plait.data.splits import split_rows
from plait.data.tables import Table, as_table, cell_key, group_captions
from plait.data.values import is_missing
from plait.modalities.base import Modality
from plait.outputs.base import Output
from plait.pipeline.cache import FeatureSpace, remembered
from plait.pipeline.columns import (
    choose_columns,
    choose_scored_columns,
    split_column,
    tell_columns,
)
from plait.pipeline.engine import Batch, Engine, Parts, padded, to_row
from plait.pipeline.inputs import (
    Corruption,
    Features,
    InputReader,
    cache_features,
    content_keys,
    view_key,
    view_seed,
)
from plait.render.progress import Progress
from plait.types import (
    BadCell,
    ColumnName,
    EmptyTarget,
    PlaitError,
    State,
    UnseenLabel,
    UsageError,
    column_names,
    column_text,
)
from plait.util.files import digest

log = logging.getLogger("plait")

COMPARED = "split, as compared"
"""The column of the splits that a comparison made, in its own copy of the table."""


def open_table(
    recipe: Recipe,
    parts: Parts,
    table: Any,
    named: Mapping[str, ColumnName] | None = None,
) -> tuple[Table, dict[str, ColumnName]]:
    """The table with one row per record, and the columns of the recipe's inputs and outputs.

    Rows of one photo (or sound, or clip) are one record with all their texts; rows of equal plain
    text stay apart, as people may well say the same thing twice. Rows that were made records once
    stay records, whatever inputs another recipe reads.

    Args:
        recipe: whose inputs and outputs they are.
        parts: its components.
        table: what `as_table` takes.
        named: the columns that the user named, for a table to be scored, which may lack inputs:
            these aren't among the columns returned. None: every input must have a column.
    """
    rows = as_table(table, recipe.data.missing_texts)
    if named is None:
        columns = choose_columns(recipe, parts, rows)
        if not rows.records:
            tell_columns(rows, columns, {split_column(recipe, rows), recipe.data.group})
    else:
        columns = choose_scored_columns(recipe, parts, rows, named)
    [first, *others] = parts.modalities
    for name, output in parts.outputs.items():
        single = not others and parts.modalities[first].media and f"outputs.{name}" in columns
        if output.several_answers and single and not rows.records:
            split, group = split_column(recipe, rows), recipe.data.group
            keys: dict[str, Callable[[Any], Any]]
            keys = {} if split is None else {split: split_key(split, rows.column(split))}
            keys |= {} if group is None else {group: cell_key}
            target = str(columns[f"outputs.{name}"])
            rows = group_captions(rows, columns[f"inputs.{first}"], target, keys)
    return replace(rows, records=True), columns


def split_table(
    recipe: Recipe,
    parts: Parts,
    table: Table,
    columns: Mapping[str, ColumnName],
    to_learn: bool = True,
) -> dict[str, list[int]]:
    """The rows of train, val and test.

    Args:
        recipe: says how to split them.
        parts: its components.
        table: the records; unless they are ``to_learn`` from, it may lack inputs.
        columns: those of the inputs and outputs.
        to_learn: as in `split_rows`.

    Raises:
        UsageError: a comparison chose the splits, or an input that decides is missing, and the
            table doesn't have the splits.
    """
    column = split_column(recipe, table)
    if to_learn and recipe.data.split is None and recipe.data.group is None:
        used = {n for path in columns for n in column_names(columns[path])}
        check_flags({n: cells for n, cells in table.columns.items() if n not in used})
        if column is None:
            check_split_names({n: table.sample(n) for n in table.columns if n not in used})
    for name, modality in parts.modalities.items():
        lacks = modality.media and f"inputs.{name}" not in columns
        if lacks and column is None and not to_learn:
            raise UsageError(
                f"without the input {name!r} rows can't be split as they were in training",
                expected="a column that names each row's split",
            )
    if column == COMPARED and column not in table.columns:
        raise UsageError(
            f"the model was trained in a comparison, which split the rows; {table.path} does not "
            "say how, so the scores might be of rows that it learned from",
            expected="no --split, with a table of other rows",
            hint="for scores on its test rows: plait compare --test; to train it again: "
            "--set data.split=null",
        )
    media = [
        str(columns[f"inputs.{name}"])
        for name, modality in parts.modalities.items()
        if modality.media and f"inputs.{name}" in columns
    ]
    data = recipe.data
    splits = split_rows(
        table,
        column=column,
        ratios=data.ratios,
        group=data.group,
        media=media,
        seed=recipe.seed,
        overlap=data.overlap,
        to_learn=to_learn,
    )
    return {str(name): rows for name, rows in splits.items()}


def rows_of_split(
    recipe: Recipe, parts: Parts, table: Table, columns: Mapping[str, ColumnName], split: str
) -> list[int]:
    """The rows of train, val or test, split as in training. Raises UsageError if there is no such
    split, or the table does not tell which rows are in it."""
    splits = split_table(recipe, parts, table, columns, to_learn=False)
    if split not in splits:
        raise UsageError(f"there is no split {split!r}", expected="train, val or test")
    if not splits[split]:
        raise UsageError(f"the split {split!r} of {table.path} has no rows")
    return splits[split]


def warn_of_learned(
    recipe: Recipe, parts: Parts, table: Table, columns: Mapping[str, ColumnName]
) -> None:
    """Warn how many rows of a table to be scored a model learned from, as far as the table tells.

    For packages that keep no digests of their training records. Without a split column this holds
    only if it is the table that the model was trained on.
    """
    try:
        splits = split_table(recipe, parts, table, columns, to_learn=False)
    except PlaitError:  # the table doesn't say
        return
    refit = recipe.training.refit
    learned = len(some_rows(splits["train"], recipe.data.rows, recipe.seed))
    learned += len(splits["val"]) if refit else 0
    if not learned:
        return
    unseen = [name for name in ("test", "val") if splits[name] and not (refit and name == "val")]
    log.warning(
        "%sthe model learned from %d of these %d rows%s",
        "" if split_column(recipe, table) else "if it was trained on this table, ",
        learned, len(table),
        f": --split {unseen[0]} scores only the others" if unseen else "",
    )  # fmt: skip


def warn_of_unread(parts: Parts, table: Table, columns: Mapping[str, ColumnName]) -> None:
    """Warn for each input how many cells are not read in full, with an example. For files this is
    remembered."""
    for name, modality in parts.modalities.items():
        column = columns.get(f"inputs.{name}")
        if modality.reads_whole or column is None:
            continue
        cells, look = table.column(column), partial(_unread, modality, table.root)
        if modality.media:
            keys = content_keys(modality, cells, table.root)
            depends_on = json.dumps(["unread", modality.fingerprint(), keys])
            unread = remembered(depends_on, partial(look, cells))["rows"]
        else:
            unread = look(cells)["rows"]
        if unread:
            row, why = unread[0]
            log.warning(
                "column %r: %d of %d cells are not read in full; row %s, for example: %s",
                column_text(column), len(unread), len(table), table.number(row), why,
            )  # fmt: skip


def _unread(modality: Modality, root: Path, cells: Sequence[Any]) -> State:
    """The rows whose cells are not read in full, and why."""
    rows = []
    for row, cell in enumerate(cells):
        with suppress(BadCell):  # reported elsewhere
            if why := "" if is_missing(cell) else modality.unread(cell, root):
                rows.append((row, why))
    return {"rows": rows}


def some_rows(rows: Sequence[int], most: int | None, seed: int) -> list[int]:
    """At most ``most`` of the rows, drawn by the seed, in their order; all of them if None.

    A smaller draw is always part of a larger one.
    """
    drawn = np.random.default_rng(seed).permutation(len(rows))
    return [rows[at] for at in sorted(drawn[:most])]


def fit_parts(
    recipe: Recipe, parts: Parts, table: Table, columns: Mapping[str, ColumnName]
) -> Parts:
    """Every input and output, fitted to the training rows. Raises PlaitError if a component can't
    be fitted to its column; the message names the column."""
    inputs = {f"inputs.{name}": spec for name, spec in recipe.inputs.items()}
    partners = {path: spec.fit_with for path, spec in inputs.items()}
    partners |= {f"outputs.{name}": spec.fit_with for name, spec in recipe.outputs.items()}
    states: dict[str, State] = {}
    for path, component in parts.components.items():
        needed = path in inputs or component.columns != "none"
        paths = [p for p in (path, partners[path]) if p and (needed or p in columns)]
        own = [table.column(columns[p]) for p in paths]  # its column, and its partner's
        where = f"{path}, column {column_text(columns.get(path, ''))!r}"
        if own and all(map(is_missing, own[0])):
            raise PlaitError(
                f"{where}: all training cells are empty",
                expected="at least one that is not",
                hint="fill the column, or take it out of the recipe",
            )
        cells = own[0] if len(own) == 1 else list(chain.from_iterable(own))
        fit = partial(component.fit, cells, table.root)
        try:
            if path in inputs and component.fits_on_files:
                keys = content_keys(component, cells, table.root)
                about = [inputs[path].modality, inputs[path].representation, keys]
                states[path] = remembered(json.dumps(about, sort_keys=True), fit)
            else:
                states[path] = fit()
        except PlaitError as error:
            what = f"{where}: {error.what}"
            raise type(error)(what, expected=error.expected, hint=error.hint) from None
    return parts.with_inputs(states)


def file_keys(
    parts: Parts, table: Table, columns: Mapping[str, ColumnName]
) -> dict[str, list[str]]:
    """What the files of each input hold, as a short key for each row, empty without a file. A
    file that can't be read has a key, too, which changes once it can."""
    return {
        name: [(key or "")[-16:] for key in content_keys(
            modality, table.column(columns[f"inputs.{name}"]), table.root
        )]
        for name, modality in parts.modalities.items()
        if modality.media and f"inputs.{name}" in columns
    }  # fmt: skip


def nothing_left(purpose: str, policy: ErrorPolicy) -> PlaitError:
    """The error if no record can be used; it quotes that of the first bad cell."""
    first = policy.failures[0] if policy.failures else "no row has a right answer"
    return PlaitError(f"no record {purpose}: {first}")


@dataclass(frozen=True)
class Targets(Sequence[Any]):
    """One output's targets, one per record; None for a record without a target.

    Attributes:
        output: whose they are.
        values: the targets; or, of an output whose targets are ``stored``, their keys in ``space``.
        space: the cache of arrays that need not fit in memory.
        input: the input whose geometry they move with; empty if they don't move.
        modality: that input's.
        infos: what the headers of its files claim, one per record.
    """

    output: Output
    values: Sequence[Any]
    space: FeatureSpace | None = None
    input: str = ""
    modality: Modality | None = None
    infos: Sequence[MediaInfo | None] = ()

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, row: Any) -> Any:
        """One record's target, as it was read."""
        value = self.values[row]
        return value if self.space is None or value is None else self.space.get([value])[0]

    def where(self, rows: Sequence[int]) -> Targets:
        """The targets of some records."""
        infos = [self.infos[row] for row in rows] if self.infos else ()
        return replace(self, values=[self.values[row] for row in rows], infos=infos)

    def batch(self, rows: Sequence[int], keys: Sequence[str | None], views: Any) -> list[Any]:
        """The targets of some records, whose inputs have these content keys and are shown in these
        views, moved with them."""
        assert self.modality is not None
        moved = []
        for row, view in zip(rows, views, strict=True):
            target, key, info = self[row], keys[row], self.infos[row]
            geometry = None
            if key is not None and info is not None:
                geometry = self.modality.geometry(info, int(view), view_seed(key))
            moved.append(target if geometry is None else self.output.move(target, geometry))
        return moved


@dataclass(frozen=True)
class Records:
    """Records whose inputs lie prepared in the cache; batches come in any order.

    Attributes:
        inputs, targets: by name.
        count: of the records.
        sources: (count,) the number of each record's source, 0 for the table itself; None if all
            are of the table.
    """

    inputs: Mapping[str, Features]
    targets: Mapping[str, Targets]
    count: int
    sources: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return self.count

    def where(self, rows: Sequence[int]) -> Records:
        """Only these records, in this order."""
        inputs = {
            name: replace(features, keys=[features.keys[row] for row in rows])
            for name, features in self.inputs.items()
        }
        targets = {name: targets.where(rows) for name, targets in self.targets.items()}
        sources = None if self.sources is None else self.sources[list(rows)]
        return Records(inputs, targets, len(rows), sources)

    def with_inputs(self, names: Collection[str]) -> Records:
        """The same records with all other inputs missing."""
        inputs = {
            name: features if name in names else replace(features, keys=[None] * self.count)
            for name, features in self.inputs.items()
        }
        return replace(self, inputs=inputs)

    def with_swapped(self, name: str, seed: int = 0) -> Records:
        """The same records, each with this input of another record whose content differs."""
        keys = self.inputs[name].keys
        order = np.random.default_rng(seed).permutation(self.count).tolist()
        swapped: list[str | None] = [None] * self.count
        for place, row in enumerate(order):
            others = (keys[order[(place + step) % self.count]] for step in range(1, self.count))
            swapped[row] = next((k for k in others if k is not None and k != keys[row]), keys[row])
        features = replace(self.inputs[name], keys=swapped)
        return replace(self, inputs={**self.inputs, name: features})

    def batch(self, rows: Sequence[int], rng: np.random.Generator | None = None) -> Batch:
        """The rows as a batch; with ``rng`` each in a random view, else as they are."""
        prepared: dict[str, NDArray[Any]] = {}
        lengths: dict[str, NDArray[np.int64]] = {}
        views: dict[str, Any] = {}
        for name, features in self.inputs.items():
            some = rng is not None and features.views
            views[name] = rng.integers(0, some, len(rows)) if rng and some else [0] * len(rows)
            wanted = {
                at: view_key(key, int(view))
                for at, (row, view) in enumerate(zip(rows, views[name], strict=True))
                if (key := features.keys[row]) is not None
            }
            cached = features.space.get(list(wanted.values()))
            values = dict(zip(wanted, cached, strict=True))
            prepared[name], lengths[name] = padded(
                [values.get(at) for at in range(len(rows))], features.space.example
            )
        found = {
            name: targets.batch(rows, self.inputs[targets.input].keys, views[targets.input])
            if targets.input
            else [targets[row] for row in rows]
            for name, targets in self.targets.items()
        }
        return Batch(prepared, lengths, found)

    def batches(self, size: int) -> Iterator[Batch]:
        """All rows in order."""
        for start in range(0, self.count, size):
            yield self.batch(range(start, min(start + size, self.count)))


@dataclass(frozen=True)
class Preparer:
    """Turns tables into cached records.

    Attributes:
        parts: fitted.
        engine: runs the frozen parts of the encoders.
        columns: "inputs.NAME" and "outputs.NAME" -> column.
        policy: what happens with cells that can't be used.
        progress: called while features are computed.
    """

    parts: Parts
    engine: Engine
    columns: Mapping[str, ColumnName]
    policy: ErrorPolicy
    progress: Progress | None = None

    def prepare(self, table: Table, *, views: bool) -> tuple[Records, list[int]]:
        """A table's records, and their rows in it: rows with bad cells are left out by the policy.

        Args:
            table: its rows.
            views: whether the records are to be learned from, each in several versions.
        """
        records, left_out = self.prepare_inputs(table, views=views)
        targets = {name: self._targets(name, table, views) for name in self.parts.outputs}
        rows = [
            row
            for row in range(len(table))
            if row not in left_out
            and all(target.values[row] is not None for target in targets.values())
        ]
        return replace(records, targets=targets).where(rows), rows

    def prepare_inputs(self, table: Table, *, views: bool = False) -> tuple[Records, set[int]]:
        """All of a table's rows as records without targets, and the rows that can't be answered:
        those without an input that can be used and, by the policy ``skip``, those with a bad cell.
        """
        bad: set[int] = set()
        inputs = {name: self._input(name, table, views, bad) for name in self.parts.modalities}
        cells = [self._cells(name, table) for name in inputs]
        left_out = bad if self.policy.policy == "skip" else set()
        for row in range(len(table)):
            if all(features.keys[row] is None for features in inputs.values()):
                left_out.add(row)
                # Cells are looked at only where needed: they may lie in a large file.
                if all(is_missing(column[row]) for column in cells):
                    line = f"row {table.number(row)}: no input that could be used"
                    self.policy.failures.append(line)
        return Records(inputs, {}, len(table)), left_out

    def corrupted(
        self, table: Table, records: Records, rows: Sequence[int], name: str, how: Corruption
    ) -> Records:
        """Records of `prepare`, from these rows, with one input made worse; its bad cells were
        handled there."""
        quiet = replace(self, policy=ErrorPolicy(self.policy.policy))
        features = quiet._input(name, table.where(rows), False, set(), how)
        return replace(records, inputs={**records.inputs, name: features})

    def _input(
        self, name: str, table: Table, views: bool, bad: set[int],
        corruption: Corruption | None = None,
    ) -> Features:  # fmt: skip
        """An input's features; rows with a bad cell are added to ``bad``."""
        modality = self.parts.modalities[name]
        reader = InputReader(name, modality, self.engine, table.root, corruption)

        def handle(row: int, error: BadCell) -> None:
            column = column_text(self.columns[f"inputs.{name}"])
            self.policy.handle(table.number(row), column, error)
            bad.add(row)

        cells, count = self._cells(name, table), modality.views if views else 1
        return cache_features(reader, cells, count, handle, self.progress)

    def _cells(self, name: str, table: Table) -> Sequence[Any]:
        """An input's cells, all empty if the table has no column for it."""
        column = self.columns.get(f"inputs.{name}")
        return [None] * len(table) if column is None else table.column(column)

    def _targets(self, name: str, table: Table, learn: bool) -> Targets:
        """An output's targets; None for rows without one."""
        output, column = self.parts.outputs[name], self.columns.get(f"outputs.{name}")
        title = column_text(column or name)
        values: list[Any] = []
        unseen: dict[int, UnseenLabel] = {}
        unknown: dict[str, None] = {}
        empty: list[int] = []
        space = None
        if output.stored:
            example, named = to_row(output.example()), digest("targets", output.fingerprint())
            space = FeatureSpace(named, example.shape, example.dtype)
        for row, cell in enumerate([None] * len(table) if column is None else table.column(column)):
            try:
                if space is None:
                    values.append(output.read(cell, table.root))
                    continue
                key = digest(output.content(cell, table.root))
                if key not in space:
                    space.add({key: to_row(output.read(cell, table.root))})
                values.append(key)
            except EmptyTarget:
                empty.append(table.number(row))
                values.append(None)
            except BadCell as error:
                if isinstance(error, UnseenLabel) and not learn:
                    unseen[table.number(row)] = error
                    unknown[str(cell)] = None
                    values.append(error.target)
                else:
                    self.policy.handle(table.number(row), title, error)
                    values.append(None)
        if empty:
            log.warning(
                "column %r: %d of %d rows have no right answer and are left out (row %s first)",
                title, len(empty), len(values), empty[0],
            )  # fmt: skip
        if 2 * len(unseen) > len(values) - len(empty):
            raise PlaitError(
                f"column {title!r}: the model doesn't know {len(unseen):,} of the "
                f"{len(values) - len(empty):,} right answers: {', '.join(list(unknown)[:5])}",
                expected=next(iter(unseen.values())).expected,
                hint="choose another column with --column, or write the answers as the model does",
            )
        self.policy.note_unseen_labels(title, unseen)
        if not output.bound:
            return Targets(output, values, space)
        source = output.bound_input(list(self.parts.modalities))
        modality = self.parts.modalities[source]
        infos: list[MediaInfo | None] = []
        for cell in self._cells(source, table):
            try:
                infos.append(None if is_missing(cell) else modality.media_info(cell, table.root))
            except BadCell:  # reported when it was read
                infos.append(None)
        return Targets(output, values, space, source, modality, infos)

    def digests(self, records: Records, table: Table, rows: Sequence[int]) -> list[int]:
        """What each record of `prepare` holds, as a 64-bit number: by these a package knows the
        records that it learned from.

        Two records are the same if their inputs are. Plain texts and numbers may well be the same
        by chance: without a file among the inputs, the targets must be the same too.
        """
        keys = [features.keys for features in records.inputs.values()]
        targets: list[Sequence[Any]] = []
        if not any(modality.media for modality in self.parts.modalities.values()):
            paths = (f"outputs.{name}" for name in self.parts.outputs)
            targets = [table.column(self.columns[path]) for path in paths if path in self.columns]
        return [
            int(digest(*(k[at] or "" for k in keys), *(repr(c[row]) for c in targets))[:16], 16)
            for at, row in enumerate(rows)
        ]
