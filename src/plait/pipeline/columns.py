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
from typing import Any

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

RANDOM = "random"
"""As the split column: rows are split at random, whatever the table's columns say."""
FEWEST = 5  # rows from which numbers that count them are no coincidence
UNNAMED = re.compile(r"column_\d+|unnamed: ?\d+|level_\d+|index")
IDENTIFIERS = {"id", "ids", "uuid", "guid", "uid", "pk", "key", "identifier", "index", "rowid"}
LABEL_WORDS = 3  # maximum words per label
LONGEST_WORD = 60  # characters of a cell that may be a category
NAMED, CERTAIN = 0.5, 0.8  # share of the cells that must be possible, or certain

Recognises = Callable[[Any], Match]

log = logging.getLogger("plait")


@dataclass(frozen=True)
class _Request:
    """The column that an input or an output needs: one of that name, or one of that kind.

    Attributes:
        path: "inputs.NAME" or "outputs.NAME".
        column: as the recipe names it.
        several: whether it reads several columns at once.
    """

    path: str
    column: ColumnName | None
    kind: str
    several: bool

    @property
    def name(self) -> str:
        """The input's or output's."""
        return self.path.partition(".")[2]

    @property
    def wanted(self) -> str:
        """The column that is looked for first."""
        return column_text(self.column or self.name)

    def named(self, table: Table) -> ColumnName | None:
        """The recipe's column; a list where several are read, even if written as one text."""
        if not (self.several and isinstance(self.column, str)):
            return self.column
        return _listed(self.column, table.columns)

    def misspelt(self, columns: Iterable[str]) -> str:
        """A hint at a column with nearly that name; empty if there is none."""
        close = nearest(self.wanted, columns)
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


def _input_requests(recipe: Recipe, parts: Parts) -> list[_Request]:
    return [
        _Request(f"inputs.{n}", s.column, s.modality, parts.modalities[n].several_columns)
        for n, s in recipe.inputs.items()
    ]


def _output_requests(recipe: Recipe, parts: Parts) -> list[_Request]:
    """Of the outputs that read a column."""
    return [
        _Request(f"outputs.{n}", s.column, s.kind, parts.outputs[n].columns == "several")
        for n, s in recipe.outputs.items()
        if parts.outputs[n].columns != "none"
    ]


def choose_columns(recipe: Recipe, parts: Parts, table: Table) -> dict[str, ColumnName]:
    """Input or output ("inputs.NAME") -> column: the recipe's, one of that name, or a guess."""
    used = {name for name in (split_column(recipe, table), recipe.data.group) if name is not None}
    # Outputs choose first: an input must not be guessed to be a target.
    requests = _output_requests(recipe, parts) + _input_requests(recipe, parts)
    chosen = _choose(table, requests, used)
    return dict(sorted(chosen.items(), key=lambda item: item[0].startswith("outputs.")))


def choose_scored_columns(
    recipe: Recipe, parts: Parts, table: Table, named: Mapping[str, ColumnName]
) -> dict[str, ColumnName]:
    """As `choose_columns`, without the inputs that the table lacks. Of predictions, where a target
    has the output's name rather than its column's, that column is read."""
    read = {n for s in recipe.inputs.values() for n in column_names(s.column or [])}
    requests = [_as_predicted(table, r, read) for r in _output_requests(recipe, parts)]
    outputs = _choose(table, requests)
    targets = [column for chosen in outputs.values() for column in column_names(chosen)]
    inputs = choose_present_columns(recipe, parts, table, named, targets)
    return {f"inputs.{name}": column for name, column in inputs.items()} | outputs


def _as_predicted(table: Table, request: _Request, inputs: Collection[str]) -> _Request:
    """A request for the column with the output's name, if the table has it instead of the named one
    and no input reads it."""
    named = request.named(table)
    lacks = isinstance(named, str) and named not in table.columns
    if not lacks or request.name not in table.columns or request.name in inputs:
        return request
    what = "%s has no column %r: its column %r, with the output's name, has the right answers"
    log.warning(what, table.path, named, request.name)
    return replace(request, column=request.name)


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
    missing: list[_Request] = []
    candidates = {name: cells for name, cells in table.columns.items() if name not in targets}
    for request in _input_requests(recipe.with_columns(named), parts):
        certain = bool({request.name, request.path} & set(named))
        reduced = request if certain else _present_only(table, request)
        there = table if certain or request.column else replace(table, columns=candidates)
        try:
            chosen[request.name] = _choose(there, [reduced])[request.path]
        except UsageError:
            if certain:
                raise
            missing.append(request)
    taken = {name for column in chosen.values() for name in column_names(column)}
    hints = [(request, request.misspelt(set(candidates) - taken)) for request in missing]
    if not chosen:
        raise UsageError(
            f"{table.path} has no column for any input",
            expected=", ".join(f"{r.wanted} ({r.kind})" for r in missing)
            + f"; it has {', '.join(candidates) or 'only the targets'}",
            hint="; ".join(hint for _, hint in hints if hint)
            or "name them with --column NAME=COLUMN",
        )
    for request, hint in hints:
        what = "%s has no column for the input %r, which is treated as missing%s"
        log.warning(what, table.path, request.name, hint and f"; {hint}")
    return chosen


def _present_only(table: Table, request: _Request) -> _Request:
    """A request for several columns without those that the table lacks, unless it lacks all."""
    names = request.named(table)
    if names is None or isinstance(names, str):
        return request
    there = [name for name in names if name in table.columns]
    lacks = [name for name in names if name not in there]
    if there and lacks:
        log.warning(
            "%s has no column %s, whose values count as missing", table.path, column_text(lacks)
        )
    return replace(request, column=there or names)


def _choose(
    table: Table, requests: Sequence[_Request], used: Collection[str] = ()
) -> dict[str, ColumnName]:
    """A column for each request: first those that are named, then guesses among the rest; inputs
    that may take all remaining columns come last."""
    chosen: dict[str, ColumnName] = {}
    for request in requests:
        named = request.named(table)
        if named is not None:
            _check_named(table, request, named)
            chosen[request.path] = named
        elif request.name in table.columns:
            chosen[request.path] = [request.name] if request.several else request.name
    for request in sorted(requests, key=lambda request: request.several):
        if request.path not in chosen:
            taken = {name for column in chosen.values() for name in column_names(column)}
            chosen[request.path] = _guess(table, request, {*used, *taken})
    return {request.path: chosen[request.path] for request in requests}


def _check_named(table: Table, request: _Request, named: ColumnName) -> None:
    """Raise UsageError if one of the named columns does not exist, or there are too many."""
    if not request.several and not isinstance(named, str):
        raise one_column(request.path, named)
    for name in column_names(named):
        if name not in table.columns:
            hint = did_you_mean(name, table.columns)
            raise UsageError(
                f"{table.path} has no column {name!r} for {request.path}",
                expected=f"one of: {', '.join(table.columns)}",
                hint=f"{hint} name it with --column {request.path}=NAME".strip(),
            )


def _guess(table: Table, request: _Request, used: set[str]) -> ColumnName:
    """An unused column of the request's kind; all plain ones where several are read."""
    path, left = request.path, {n: c for n, c in table.columns.items() if n not in used}
    if request.several:
        if columns := plain_columns(table, used):
            what = "using the columns %s for %s; choose others with --column %s=NAME,NAME"
            log.warning(what, column_text(columns), path, path)
            return columns
    else:
        table = replace(table, columns=left)
        guess = guess_column(table, request.kind)
        if guess is not None:
            others = [c for c in certain_columns(table, request.kind) if c != guess]
            if others:
                what = "using column %r for %s, not %s; choose another with --column %s=NAME"
                log.warning(what, guess, path, " or ".join(map(repr, others)), path)
            return guess
    if hint := request.misspelt(table.columns):
        what = "target" if path.startswith("outputs.") else "input"
        raise UsageError(f"the {what} {request.name!r} is not in {table.path}", hint=hint)
    left_out = {name: numbers_rows(name, cells) for name, cells in table.columns.items()}
    each = [f"{name} ({why})" if why else name for name, why in left_out.items()]
    raise UsageError(
        f"no column of {table.path} is called {request.name!r} or holds {request.kind} data",
        expected=f"one of: {', '.join(each) or 'columns that are not used yet'}",
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

    def certain(cell: Any) -> bool:
        return recognises(cell) == "certain"

    return [name for name in table.columns if _share(table, name, certain) > CERTAIN]


def plain_columns(table: Table, used: Iterable[str]) -> list[str]:
    """The unused columns of numbers, booleans, dates, or words that recur, without those that only
    number or name the rows."""
    left = [name for name in table.columns if name not in set(used)]
    plain = [name for name in left if _share(table, name, _is_plain) > CERTAIN]
    return [n for n in plain if _recurs(table, n) and not numbers_rows(n, table.columns[n])]


def numbers_rows(name: str, cells: Sequence[Any]) -> str:
    """Why a column tells nothing but which row it is; empty if it tells more.

    An unnamed column of different whole numbers is what `to_csv` makes of a frame's index; numbers
    that count the rows, up from 0 or 1 or down to it, and different values in a column such as
    ``id``, are no better.
    """
    if isinstance(cells, LazyColumn) or len(cells) < FEWEST:
        return ""
    values = [cell for cell in cells if not is_missing(cell)]
    # Whole numbers, as a column of them with an empty cell is often written.
    values = [int(v) if isinstance(v, float) and v.is_integer() else v for v in values]
    if any(not isinstance(v, (int, str)) or isinstance(v, bool) for v in values):
        return ""
    different = len(values) >= FEWEST and len(set(map(str, values))) == len(values)
    if different and all(isinstance(value, int) for value in values):
        up = values if values[0] < values[-1] else values[::-1]
        counts = up[0] in (0, 1) and up == list(range(up[0], up[0] + len(cells)))
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
