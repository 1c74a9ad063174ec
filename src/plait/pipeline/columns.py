"""Which columns of a table are a recipe's inputs and outputs."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from plait.config.recipe import Recipe, one_column
from plait.data.tables import Table
from plait.pipeline.guess import SPLIT, certain_columns, guess_column, plain_columns
from plait.pipeline.parts import Parts
from plait.types import ColumnName, UsageError, column_names, column_text
from plait.util.suggest import did_you_mean, nearest

log = logging.getLogger("plait")


@dataclass(frozen=True)
class _Request:
    """The column that an input or an output needs: one of that name, or one of that kind.

    Attributes:
        column: as the recipe names it.
        several: whether it reads several columns at once.
    """

    name: str
    column: ColumnName | None
    kind: str
    several: bool = False

    def named(self, table: Table) -> ColumnName | None:
        """The recipe's column; a list where several are read, even if written as one text."""
        if not (self.several and isinstance(self.column, str)):
            return self.column
        one = self.column in table.columns
        return [self.column] if one else [part.strip() for part in self.column.split(",")]

    def misspelt(self, columns: Iterable[str]) -> str:
        """A hint at a column with nearly that name; empty if there is none."""
        close = nearest(column_text(self.column or self.name), columns)
        if close is None:
            return ""
        return f"did you mean {close!r}? name it with --column {self.name}={close}"


def _input_requests(recipe: Recipe, parts: Parts) -> dict[str, _Request]:
    """The inputs' by "inputs.NAME"."""
    return {
        f"inputs.{n}": _Request(n, s.column, s.modality, parts.modalities[n].several_columns)
        for n, s in recipe.inputs.items()
    }


def choose_columns(recipe: Recipe, parts: Parts, table: Table) -> dict[str, ColumnName]:
    """Input or output ("inputs.NAME") -> column: the recipe's, one of that name, or a guess."""
    used = {split_column(recipe, table), recipe.data.group} - {None}
    # Outputs choose first: an input must not be guessed to be a target.
    requests = _output_requests(recipe, parts) | _input_requests(recipe, parts)
    chosen = _choose(table, requests, cast(set[str], used))
    return dict(sorted(chosen.items(), key=lambda item: item[0].startswith("outputs.")))


def _output_requests(recipe: Recipe, parts: Parts) -> dict[str, _Request]:
    """Of the outputs that read a column."""
    return {
        f"outputs.{n}": _Request(n, s.column, s.kind, parts.outputs[n].columns == "several")
        for n, s in recipe.outputs.items()
        if parts.outputs[n].columns != "none"
    }


def choose_scored_columns(
    recipe: Recipe, parts: Parts, table: Table, named: Mapping[str, ColumnName]
) -> dict[str, ColumnName]:
    """As `choose_columns`, without the inputs that the table lacks."""
    outputs = _choose(table, _output_requests(recipe, parts), set())
    targets = [column for chosen in outputs.values() for column in column_names(chosen)]
    inputs = choose_present_columns(recipe, parts, table, named, targets)
    return {f"inputs.{name}": column for name, column in inputs.items()} | outputs


def choose_present_columns(
    recipe: Recipe,
    parts: Parts,
    table: Table,
    named: Mapping[str, ColumnName],
    targets: Collection[str] = (),
) -> dict[str, ColumnName]:
    """Input name -> column, for the inputs that the table has; the others are missing.

    Args:
        recipe: whose inputs they are.
        parts: its components.
        table: the user's.
        named: columns that the user named, as in `Recipe.with_columns`: they must exist.
        targets: columns of the outputs, which no input is guessed to be.

    Raises:
        UsageError: a named column does not exist, or the table has no input at all.
    """
    chosen: dict[str, ColumnName] = {}
    missing: dict[str, tuple[_Request, UsageError]] = {}
    candidates = {name: cells for name, cells in table.columns.items() if name not in targets}
    for path, request in _input_requests(recipe.with_columns(named), parts).items():
        certain = bool({request.name, path} & set(named))
        reduced = request if certain else _present_only(table, request)
        there = table if certain or request.column else replace(table, columns=candidates)
        try:
            chosen[request.name] = _choose(there, {path: reduced}, set())[path]
        except UsageError as error:
            if certain:
                raise
            missing[request.name] = request, error
    if not chosen:
        raise _no_input(table, candidates, list(missing.values()))
    taken = {name for column in chosen.values() for name in column_names(column)}
    for request, _ in missing.values():
        hint = request.misspelt(set(candidates) - taken)
        log.warning(
            "%s has no column for the input %r, which is treated as missing%s",
            table.path, request.name, hint and f"; {hint}",
        )  # fmt: skip
    return chosen


def _no_input(
    table: Table, columns: Iterable[str], missing: Sequence[tuple[_Request, UsageError]]
) -> UsageError:
    """The error for a table that has none of the inputs."""
    if len(missing) == 1:
        return missing[0][1]
    requests = [request for request, _ in missing]
    hints = [hint for request in requests if (hint := request.misspelt(columns))]
    return UsageError(
        f"{table.path} has no column for any input",
        expected=", ".join(f"{request.name} ({request.kind})" for request in requests)
        + f"; it has {', '.join(table.columns)}",
        hint="; ".join(hints) or "name them with --column NAME=COLUMN",
    )


def _present_only(table: Table, request: _Request) -> _Request:
    """A request for several columns without those that the table lacks, unless it lacks all."""
    names = request.named(table)
    if names is None or isinstance(names, str):
        return request
    there = [name for name in names if name in table.columns]
    lacks = [name for name in names if name not in there]
    if there and lacks:
        log.warning("%s has no column %s: missing values", table.path, column_text(lacks))
    return replace(request, column=there or names)


def _choose(
    table: Table, requests: Mapping[str, _Request], used: set[str]
) -> dict[str, ColumnName]:
    """A column for each request: first those that are named, then guesses among the rest; inputs
    that may take all remaining columns come last."""
    chosen: dict[str, ColumnName] = {}
    for path, request in requests.items():
        named = request.named(table)
        if named is not None:
            chosen[path] = _checked(table, path, request, named)
        elif request.name in table.columns:
            chosen[path] = [request.name] if request.several else request.name
    for path, request in sorted(requests.items(), key=lambda item: item[1].several):
        if path not in chosen:
            taken = used | {name for column in chosen.values() for name in column_names(column)}
            guess = _guess_several if request.several else _guess
            chosen[path] = guess(table, path, request, taken)
    return {path: chosen[path] for path in requests}


def _checked(table: Table, path: str, request: _Request, named: ColumnName) -> ColumnName:
    """The named columns; UsageError if one does not exist, or there are too many."""
    if not request.several and not isinstance(named, str):
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


def _guess(table: Table, path: str, request: _Request, used: set[str]) -> ColumnName:
    left = replace(table, columns={n: c for n, c in table.columns.items() if n not in used})
    guess = guess_column(left, request.kind)
    if guess is None:
        raise _no_such_column(left, path, request)
    others = [c for c in certain_columns(left, request.kind) if c != guess]
    if others:
        log.warning(
            "using column %r for %s, not %s; choose another with --column %s=NAME",
            guess, path, " or ".join(map(repr, others)), path,
        )  # fmt: skip
    return guess


def _guess_several(table: Table, path: str, request: _Request, used: set[str]) -> ColumnName:
    """All plain columns that nothing else uses."""
    columns = plain_columns(table, used)
    if not columns:
        raise _no_such_column(table, path, request)
    log.warning(
        "using the columns %s for %s; choose others with --column %s=NAME,NAME",
        column_text(columns), path, path,
    )  # fmt: skip
    return columns


def _no_such_column(table: Table, path: str, request: _Request) -> UsageError:
    if hint := request.misspelt(table.columns):
        what = "target" if path.startswith("outputs.") else "input"
        return UsageError(f"the {what} {request.name!r} is not in {table.path}", hint=hint)
    return UsageError(
        f"no column of {table.path} looks like {request.kind}",
        expected=f"one of: {', '.join(table.columns)}",
        hint=f"name it with --column {path}=NAME",
    )


def split_column(recipe: Recipe, table: Table) -> str | None:
    """The column that names each row's split, the recipe's or a guess; None if rows are split by
    group."""
    if recipe.data.split is not None or recipe.data.group is not None:
        return recipe.data.split
    return guess_column(table, SPLIT)
