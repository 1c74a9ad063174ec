"""Which columns of a table are a recipe's inputs and outputs.

The usual names of a modality's column, and the cells it recognises, are declared by the modality;
nothing here names one.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from numbers import Real
from typing import Any, cast

from plait.config import registry
from plait.config.recipe import Recipe, one_column
from plait.data.dates import is_date
from plait.data.lazy import LazyColumn
from plait.data.split_column import find_split_column
from plait.data.tables import Table
from plait.data.values import NUMBER, is_missing
from plait.modalities.base import Match
from plait.pipeline.engine import Parts
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
        return _listed(self.column, table.columns)

    def misspelt(self, columns: Iterable[str]) -> str:
        """A hint at a column with nearly that name; empty if there is none."""
        close = nearest(column_text(self.column or self.name), columns)
        if close is None:
            return ""
        return f"did you mean {close!r}? name it with --column {self.name}={close}"


def _listed(text: str, columns: Collection[str]) -> list[str]:
    """The columns in a list with commas, whose names may have commas themselves: the longest name
    that is a column is one."""
    parts, names = text.split(","), list[str]()
    while parts:
        joined = {",".join(parts[:end]).strip(): end for end in range(len(parts), 0, -1)}
        name = next((name for name in joined if name in columns), parts[0].strip())
        names.append(name)
        parts = parts[joined[name] :]
    return names


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
    left_out = {name: numbers_rows(name, cells) for name, cells in table.columns.items()}
    each = [f"{name} ({why})" if why else name for name, why in left_out.items()]
    return UsageError(
        f"no column of {table.path} looks like {request.kind}",
        expected=f"one of: {', '.join(each)}",
        hint=f"name it with --column {path}=NAME",
    )


def split_column(recipe: Recipe, table: Table) -> str | None:
    """The column that names each row's split, the recipe's or a guess; None if rows are split at
    random or by group."""
    named = recipe.data.split
    if named == RANDOM and named not in table.columns:
        return None
    if named is not None or recipe.data.group is not None:
        return named
    used = {n for s in recipe.outputs.values() for n in column_names(s.column or [])}
    return find_split_column({n: table.sample(n) for n in table.columns if n not in used})


RANDOM = "random"
"""As the split column: rows are split at random, whatever the table's columns say."""
FEWEST = 5  # rows from which numbers that count them are no coincidence
UNNAMED = re.compile(r"column_\d+|unnamed: ?\d+|level_\d+|index")
IDENTIFIERS = {"id", "ids", "uuid", "guid", "identifier", "index"}
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
        wanted: a modality or a kind of output.
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
    """The unused columns of numbers, booleans, dates, or words that recur, without those that only
    number or name the rows."""
    left = [name for name in table.columns if name not in set(used)]
    return [
        name
        for name in left
        if _share(table, name, _is_plain) > CERTAIN
        and _recurs(table, name)
        and not numbers_rows(name, table.columns[name])
    ]


def numbers_rows(name: str, cells: Sequence[Any]) -> str:
    """Why a column tells nothing but which row it is; empty if it tells more.

    An unnamed column of different whole numbers is what `to_csv` makes of a frame's index; numbers
    that count the rows from 0 or 1, and different values in a column such as ``id``, are no better.
    """
    if isinstance(cells, LazyColumn) or len(cells) < FEWEST:
        return ""
    values = [cell for cell in cells if not is_missing(cell)]
    if any(not isinstance(v, (int, str)) or isinstance(v, bool) for v in values):
        return ""
    different = len(set(map(str, values))) == len(cells)
    if different and all(isinstance(value, int) for value in values):
        counts = values == list(range(values[0], values[0] + len(cells))) and values[0] in (0, 1)
        if counts or UNNAMED.fullmatch(name.lower()):
            return "row numbers"
    tokens = re.findall("[a-z]+", re.sub("([a-z])([A-Z])", r"\1_\2", name).lower())
    return "identifiers" if different and tokens and tokens[-1] in IDENTIFIERS else ""


def tell_columns(
    table: Table, columns: Mapping[str, ColumnName], others: Iterable[str | None]
) -> None:
    """Say what becomes of cells that stand for nothing, and of columns that nothing reads.

    Args:
        table: the records.
        columns: of the inputs and outputs.
        others: columns that serve otherwise, such as the split.
    """
    used = {name for column in columns.values() for name in column_names(column)}
    for name in table.columns:
        if name in used and (gone := table.empty.get(name)):
            texts = ", ".join(f"{text} {count:,}" for text, count in sorted(gone.items()))
            log.warning("column %r: cells that count as empty: %s", name, texts)
    unused = []
    for name, cells in table.columns.items():
        gathered = re.sub(r"[_ -]?\d+$", "", name) in used  # caption_0, caption_1...
        if name not in {*used, *others} and not gathered:
            why = numbers_rows(name, cells)
            unused.append(f"{name} ({why})" if why else name)
    if unused:
        log.warning("not used: %s", ", ".join(unused))


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
}  # fmt: skip
