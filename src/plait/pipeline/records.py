"""Tables to records: which columns, which rows, which splits, what is learned from them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np

from plait.config.recipe import InputSpec, Recipe, one_column
from plait.data.cells import ErrorPolicy, is_missing
from plait.data.splits import split_rows
from plait.data.tables import (
    Table,
    cell_key,
    group_captions,
    read_table,
    split_key,
)
from plait.modalities.base import Modality
from plait.network import Network, Parts
from plait.pipeline.cache import FeatureSpace
from plait.pipeline.columns import certain_columns, guess_column, plain_columns
from plait.pipeline.features import (
    CachedRecords,
    Corruption,
    PreparedInput,
    Progress,
    content_keys,
    fill_cache,
)
from plait.pipeline.remember import remembered
from plait.types import (
    BadCell,
    ColumnName,
    PlaitError,
    State,
    UnseenLabel,
    UsageError,
    column_names,
    column_text,
)
from plait.util.suggest import did_you_mean, nearest

log = logging.getLogger("plait")

COMPARED = "split, as compared"
"""The column of the splits that a comparison made, in its own copy of the table."""

Column: TypeAlias = tuple[FeatureSpace, list[str | None], int]
"""An input's features: the cache, each row's key or None, the number of views."""


def open_table(
    recipe: Recipe,
    parts: Parts,
    table: Table | str | Path,
    named: Mapping[str, ColumnName] | None = None,
) -> tuple[Table, dict[str, ColumnName]]:
    """The table, one row a record, and the columns of the recipe's inputs and outputs.

    Rows of one photo (or sound, or clip) are one record with all their texts; rows of equal plain
    text stay apart, as the same sentence may well be said twice. With ``named``, the columns that
    the user names, the table may lack others: inputs without a column are missing, and not among
    the columns returned. Rows that were made records once stay so, whatever inputs another recipe
    takes of them.
    """
    rows = table if isinstance(table, Table) else read_table(table)
    if named is None:
        columns = choose_columns(recipe, parts, rows)
    else:
        columns = _choose_scored(recipe, parts, rows, named)
    [read, *others] = parts.modalities
    for name, output in parts.outputs.items():
        if (
            output.several_answers
            and not others
            and parts.modalities[read].media
            and not rows.records
        ):
            given = columns[f"inputs.{read}"]
            split, group = split_column(recipe, rows), recipe.data.group
            photos = {} if split is None else {split: split_key}
            photos |= {} if group is None else {group: cell_key}
            rows = group_captions(rows, given, str(columns[f"outputs.{name}"]), photos)
    return replace(rows, records=True), columns


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

    def misspelt(self, columns: Iterable[str]) -> str:
        """How to name one of the columns that is called nearly so; empty where none is."""
        close = nearest(column_text(self.column or self.name), columns)
        if close is None:
            return ""
        return f"did you mean {close!r}? name it with --column {self.name}={close}"


def _wishes(recipe: Recipe, parts: Parts) -> dict[str, _Wish]:
    """The inputs' by "inputs.NAME"."""
    return {
        f"inputs.{n}": _Wish(n, s.column, s.modality, parts.modalities[n].several_columns)
        for n, s in recipe.inputs.items()
    }


def choose_columns(recipe: Recipe, parts: Parts, table: Table) -> dict[str, ColumnName]:
    """ "inputs.NAME" and "outputs.NAME" -> column: named in the recipe, called so, or guessed."""
    used = {split_column(recipe, table), recipe.data.group} - {None}
    # The answers choose first: an input must not be guessed to be one of them.
    wishes = _output_wishes(recipe) | _wishes(recipe, parts)
    chosen = _choose(table, wishes, cast(set[str], used))
    return dict(sorted(chosen.items(), key=lambda item: item[0].startswith("outputs.")))


def _output_wishes(recipe: Recipe) -> dict[str, _Wish]:
    return {
        f"outputs.{name}": _Wish(name, spec.column, spec.kind, spec.component.columns == "several")
        for name, spec in recipe.outputs.items()
        if spec.component.columns != "none"
    }


def _choose_scored(
    recipe: Recipe, parts: Parts, table: Table, named: Mapping[str, ColumnName]
) -> dict[str, ColumnName]:
    """As `choose_columns`, without the inputs that the table lacks."""
    outputs = _choose(table, _output_wishes(recipe), set())
    answers = [column for chosen in outputs.values() for column in column_names(chosen)]
    inputs = choose_present_columns(recipe, parts, table, named, answers)
    return {f"inputs.{name}": column for name, column in inputs.items()} | outputs


def choose_present_columns(
    recipe: Recipe,
    parts: Parts,
    table: Table,
    named: Mapping[str, ColumnName],
    answers: Collection[str] = (),
) -> dict[str, ColumnName]:
    """Input name -> column of the inputs that the table has; those it lacks are missing.

    ``named`` are columns that the user names, as in `Recipe.with_columns`: they must be there.
    No input is guessed to be one of the ``answers``' columns.

    Raises:
        UsageError: one of those isn't, or the table has none.
    """
    chosen: dict[str, ColumnName] = {}
    lacking: dict[str, tuple[_Wish, UsageError]] = {}
    unanswered = {name: cells for name, cells in table.columns.items() if name not in answers}
    for path, wish in _wishes(recipe.with_columns(named), parts).items():
        certain = bool({wish.name, path} & set(named))
        wished = wish if certain else _of_those_there(table, wish)
        there = table if certain or wish.column else replace(table, columns=unanswered)
        try:
            chosen[wish.name] = _choose(there, {path: wished}, set())[path]
        except UsageError as error:
            if certain:
                raise
            lacking[wish.name] = wish, error
    if not chosen:
        raise _no_input(table, unanswered, list(lacking.values()))
    taken = {name for column in chosen.values() for name in column_names(column)}
    for wish, _ in lacking.values():
        hint = wish.misspelt(set(unanswered) - taken)
        log.warning(
            "%s has no column for the input %r: it is missing%s",
            table.path, wish.name, hint and f"; {hint}",
        )  # fmt: skip
    return chosen


def _no_input(
    table: Table, columns: Iterable[str], lacking: Sequence[tuple[_Wish, UsageError]]
) -> UsageError:
    """The error of a table without any input: what of an only one, or a list of them all."""
    if len(lacking) == 1:
        return lacking[0][1]
    wishes = [wish for wish, _ in lacking]
    hints = [hint for wish in wishes if (hint := wish.misspelt(columns))]
    return UsageError(
        f"{table.path} has no column for any input",
        expected=", ".join(f"{wish.name} ({wish.kind})" for wish in wishes)
        + f"; it has {', '.join(table.columns)}",
        hint="; ".join(hints) or "name them with --column NAME=COLUMN",
    )


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
    """A column for each: those that are named or called so, then guesses among what is left, of
    what may take all that is left at last."""
    chosen: dict[str, ColumnName] = {}
    for path, wish in wishes.items():
        named = wish.named(table)
        if named is not None:
            chosen[path] = _checked(table, path, wish, named)
        elif wish.name in table.columns:
            chosen[path] = [wish.name] if wish.several else wish.name
    for path, wish in sorted(wishes.items(), key=lambda item: item[1].several):
        if path not in chosen:
            taken = used | {name for column in chosen.values() for name in column_names(column)}
            guess = _guess_several if wish.several else _guess
            chosen[path] = guess(table, path, wish, taken)
    return {path: chosen[path] for path in wishes}


def _checked(table: Table, path: str, wish: _Wish, named: ColumnName) -> ColumnName:
    """The named columns; UsageError where there are none such, or too many."""
    if not wish.several and not isinstance(named, str):
        raise one_column(path, named)
    for name in column_names(named):
        if name not in table.columns:
            hint = did_you_mean(name, table.columns)
            raise UsageError(
                f"{table.path} has no column {name!r} for {path}",
                expected=f"one of: {', '.join(table.columns)}",
                hint=f"{hint} name it with --column {path}=NAME".strip(),
            )
    return named


def _guess(table: Table, path: str, wish: _Wish, used: set[str]) -> ColumnName:
    left = replace(table, columns={n: c for n, c in table.columns.items() if n not in used})
    guess = guess_column(left, wish.kind)
    if guess is None:
        raise _none_looks_like(left, path, wish)
    others = [c for c in certain_columns(left, wish.kind) if c != guess]
    if others:
        log.warning(
            "%s is taken to be column %r, not %s; name another with --column %s=NAME",
            path, guess, " or ".join(map(repr, others)), path,
        )  # fmt: skip
    return guess


def _guess_several(table: Table, path: str, wish: _Wish, used: set[str]) -> ColumnName:
    """All plain columns that nothing else uses."""
    found = plain_columns(table, used)
    if not found:
        raise _none_looks_like(table, path, wish)
    log.warning(
        "%s is taken to be the columns %s; name others with --column %s=NAME,NAME",
        path, column_text(found), path,
    )  # fmt: skip
    return found


def _none_looks_like(table: Table, path: str, wish: _Wish) -> UsageError:
    if hint := wish.misspelt(table.columns):
        what = "target" if path.startswith("outputs.") else "input"
        return UsageError(f"the {what} {wish.name!r} is not in {table.path}", hint=hint)
    return UsageError(
        f"no column of {table.path} looks like {wish.kind}",
        expected=f"one of: {', '.join(table.columns)}",
        hint=f"name it with --column {path}=NAME",
    )


def split_table(
    recipe: Recipe,
    parts: Parts,
    table: Table,
    columns: Mapping[str, ColumnName],
    to_learn: bool = True,
) -> dict[str, list[int]]:
    """train, val and test rows; ``to_learn`` as of `split_rows`.

    Raises:
        UsageError: a comparison chose them, and the table doesn't say how.
    """
    column = split_column(recipe, table)
    if column == COMPARED and column not in table.columns:
        raise UsageError(
            f"the model was trained in a comparison, which split the rows; {table.path} does not "
            "say how, so rows that it learned from might be scored",
            expected="no --split, with a table of other rows",
            hint="for scores of its test rows: plait compare --test; to train it anew: "
            "--set data.split=null",
        )
    media = [
        str(columns[f"inputs.{name}"])
        for name, modality in parts.modalities.items()
        if modality.media and f"inputs.{name}" in columns
    ]
    found = split_rows(
        table,
        column=column,
        ratios=recipe.data.ratios,
        group=recipe.data.group,
        media=media,
        seed=recipe.seed,
        overlap=recipe.data.overlap,
        to_learn=to_learn,
    )
    return {str(name): rows for name, rows in found.items()}


def split_column(recipe: Recipe, table: Table) -> str | None:
    """Named in the recipe, or guessed; none where the split is by group."""
    if recipe.data.split is not None or recipe.data.group is not None:
        return recipe.data.split
    return guess_column(table, "split")


def rows_of_split(
    recipe: Recipe, parts: Parts, table: Table, columns: Mapping[str, ColumnName], split: str
) -> list[int]:
    """The rows of train, val or test, split as training would.

    Raises:
        UsageError: there is no such split, or it can't be told which rows are in it.
    """
    splits = _splits_again(recipe, parts, table, columns)
    if split not in splits:
        raise UsageError(f"there is no split {split!r}", expected="train, val or test")
    if not splits[split]:
        raise UsageError(f"the split {split!r} of {table.path} has no rows")
    return splits[split]


def _splits_again(
    recipe: Recipe, parts: Parts, table: Table, columns: Mapping[str, ColumnName]
) -> dict[str, list[int]]:
    """As `split_table`, of a table that may lack inputs."""
    for name, modality in parts.modalities.items():
        lacks = modality.media and f"inputs.{name}" not in columns
        if lacks and split_column(recipe, table) is None:
            raise UsageError(
                f"without the input {name!r} rows can't be split as they were in training",
                expected="a column that names each row's split",
            )
    return split_table(recipe, parts, table, columns, to_learn=False)


def warn_of_learned(
    recipe: Recipe, parts: Parts, table: Table, columns: Mapping[str, ColumnName]
) -> None:
    """Says how many rows of a table to be scored the model learned from, where that can be told.

    Without a split column that is so only of the table that it was trained on, and it may be
    another one.
    """
    try:
        splits = _splits_again(recipe, parts, table, columns)
    except PlaitError:  # the table doesn't say
        return
    refit = recipe.training.refit
    learned = len(some_rows(splits["train"], recipe.data.rows, recipe.seed))
    learned += len(splits["val"]) if refit else 0
    if not learned:
        return
    unseen = [name for name in ("test", "val") if splits[name] and not (refit and name == "val")]
    log.warning(
        "%s%d of these %d rows were learned from%s",
        "" if split_column(recipe, table) else "if the model was trained on this table, ",
        learned, len(table),
        f": --split {unseen[0]} scores only those that were not" if unseen else "",
    )  # fmt: skip


def warn_of_unread(
    parts: Parts, states: Mapping[str, State], table: Table, columns: Mapping[str, ColumnName]
) -> None:
    """Says of each input how many cells are not read whole, and why not for one of them."""
    for name, modality in parts.modalities.items():
        column = columns.get(f"inputs.{name}")
        if modality.reads_whole or column is None:
            continue
        fitted = modality.with_state(states[f"inputs.{name}"])
        found = _unread(fitted, table.column(column), table.root)
        if found:
            row, why = found[0]
            log.warning(
                "column %r: %d of %d cells are not read whole, row %d for one: %s",
                column_text(column), len(found), len(table), table.number(row), why,
            )  # fmt: skip


def _unread(modality: Modality, cells: Sequence[Any], root: Path) -> list[tuple[int, str]]:
    """Which rows' cells are not read whole, and why; of files as remembered, if they were asked
    before."""

    def look() -> State:
        found = []
        for row, cell in enumerate(cells):
            with suppress(BadCell):  # it is told elsewhere
                why = "" if is_missing(cell) else modality.unread(cell, root)
                found += [(row, why)] if why else []
        return {"found": found}

    if not modality.media:
        return list(look()["found"])
    keys = content_keys(modality, cells, root)
    depends_on = json.dumps(["unread", modality.fingerprint(), keys])
    return [(row, why) for row, why in remembered(depends_on, look)["found"]]


def some_rows(rows: Sequence[int], most: int | None, seed: int) -> list[int]:
    """So many of the rows at the most, drawn by the seed, in their order; all of them where None.
    Fewer are always among more."""
    drawn = np.random.default_rng(seed).permutation(len(rows))
    return [rows[at] for at in sorted(drawn[:most])]


def fit_states(
    recipe: Recipe, parts: Parts, table: Table, columns: Mapping[str, ColumnName]
) -> dict[str, State]:
    """What every input and output learns from the training rows, or learned from the same before.

    Raises:
        PlaitError: nothing can be learned from a column; the message names it.
    """
    learns: Mapping[str, Callable[[Sequence[Any]], State]] = {
        f"inputs.{name}": partial(_learn_input, recipe.inputs[name], modality, table.root)
        for name, modality in parts.modalities.items()
    } | {
        f"outputs.{name}": partial(output.fit, root=table.root)
        for name, output in parts.outputs.items()
    }
    partners = {f"inputs.{name}": spec.learn_with for name, spec in recipe.inputs.items()}
    partners |= {f"outputs.{name}": spec.learn_with for name, spec in recipe.outputs.items()}
    return {
        path: _learned(path, learn, table, [columns[p] for p in (path, partners[path]) if p])
        for path, learn in learns.items()
    }


def _learn_input(spec: InputSpec, modality: Modality, root: Path, cells: Sequence[Any]) -> State:
    if not modality.fits_on_files:
        return modality.fit(cells, root)
    keys = content_keys(modality, cells, root)
    depends_on = json.dumps([spec.modality, spec.representation, keys], sort_keys=True)
    return remembered(depends_on, lambda: modality.fit(cells, root))


def _learned(
    path: str,
    learn: Callable[[Sequence[Any]], State],
    table: Table,
    columns: Sequence[ColumnName],
) -> State:
    """What is learned from the part's own column, and from its partner's where it has one."""
    cells, where = table.column(columns[0]), f"{path}, column {column_text(columns[0])!r}"
    if all(map(is_missing, cells)):
        raise PlaitError(
            f"{where}: all training cells are empty", expected="one at least that is not",
            hint="fill the column, or take it out of the recipe",
        )  # fmt: skip
    try:
        for other in columns[1:]:
            cells = [*cells, *table.column(other)]
        return learn(cells)
    except PlaitError as error:
        raise type(error)(
            f"{where}: {error.what}", expected=error.expected, hint=error.hint
        ) from None


def nothing_left(for_what: str, bad: ErrorPolicy) -> PlaitError:
    """The error where no record can be used, with the first cell's."""
    first = bad.failures[0] if bad.failures else "there are no rows"
    return PlaitError(f"no record {for_what}: {first}")


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
    bad: ErrorPolicy
    progress: Progress | None = None

    def prepare(self, table: Table, *, views: bool) -> tuple[CachedRecords, list[int]]:
        """A table's records, and the rows that they come from (bad ones left out).

        Args:
            table: its rows.
            views: whether the records are to be learned from, each in several versions.
        """
        self.network.eval()
        spoilt: set[int] = set()
        inputs = {n: self._input(n, table, views, spoilt) for n in self.parts.modalities}
        targets = {name: self._targets(name, table, views) for name in self.parts.outputs}
        rows = [
            row
            for row in self._with_input(table, inputs)
            if any(keys[row] is not None for _, keys, _ in inputs.values())
            and all(values[row] is not None for values in targets.values())
            and not (self.bad.policy == "skip" and row in spoilt)
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
        """Records of `prepare`, from these rows, with one input made worse; its bad cells were met
        there."""
        met = replace(self, bad=ErrorPolicy(self.bad.policy))
        space, keys, count = met._input(name, table.where(rows), False, set(), corruption)
        return replace(records, inputs={**records.inputs, name: (space, keys, count)})

    def _input(
        self, name: str, table: Table, views: bool, spoilt: set[int],
        corruption: Corruption | None = None,
    ) -> Column:  # fmt: skip
        """An input's features; rows with a bad cell are added to ``spoilt``."""
        modality, encoder = self.parts.modalities[name], self.network.encoder(name)
        state = self.states[f"inputs.{name}"]
        source = PreparedInput(name, modality, encoder, state, table.root, corruption)
        count = modality.views if views else 1
        device = next(self.network.parameters()).device

        def handle(row: int, error: BadCell) -> None:
            self._meet(table, self.columns[f"inputs.{name}"], row, error)
            spoilt.add(row)

        cells = self._cells(name, table)
        space, keys = fill_cache(source, cells, count, handle, device, self.progress)
        return space, keys, count

    def _cells(self, name: str, table: Table) -> Sequence[Any]:
        """An input's cells, all empty where the table has no column for it."""
        column = self.columns.get(f"inputs.{name}")
        return [None] * len(table) if column is None else table.column(column)

    def _targets(self, name: str, table: Table, learn: bool) -> list[Any]:
        """Each row's target, None where it has none."""
        column = self.columns[f"outputs.{name}"]
        output = self.parts.outputs[name].with_state(self.states[f"outputs.{name}"])
        targets: list[Any] = []
        unlearned: dict[int, UnseenLabel] = {}
        for row, cell in enumerate(table.column(column)):
            try:
                targets.append(output.read(cell, table.root))
            except BadCell as error:
                if isinstance(error, UnseenLabel) and not learn:
                    unlearned[table.number(row)] = error
                    targets.append(error.target)
                else:
                    self._meet(table, column, row, error)
                    targets.append(None)
        self.bad.note_unseen_labels(column_text(column), unlearned)
        return targets

    def _meet(self, table: Table, column: ColumnName, row: int, error: BadCell) -> None:
        self.bad.handle(table.number(row), column_text(column), error)

    def _with_input(self, table: Table, inputs: Mapping[str, Column]) -> Iterator[int]:
        """The rows that are not empty; the others are named."""
        cells = [self._cells(name, table) for name in inputs]
        for row in range(len(table)):
            # Cells are looked at only where needed: they may lie in a large file.
            nothing = all(keys[row] is None for _, keys, _ in inputs.values())
            if nothing and all(is_missing(column[row]) for column in cells):
                self.bad.failures.append(f"row {table.number(row)}: no input that could be used")
            else:
                yield row
