"""What the command ``predict`` does: a table in, answers out, printed or written as CSV or JSON.
Other commands write answers in the same way.

Each output's values stand under its name. With several outputs, everything else about an answer
has the output's name before it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from plait.data.cells import ErrorPolicy, check_policy
from plait.data.paths import peek
from plait.data.tables import Table, as_table
from plait.data.values import is_missing
from plait.outputs.base import Output
from plait.pipeline.columns import choose_present_columns
from plait.render.progress import Progress
from plait.runtime.engines import load
from plait.types import ColumnName, Prediction, UsageError
from plait.util.files import write_atomically

ROW = "row"
"""The title of a row's number, which identifies a record, with its plain cells."""
DIGITS = 4  # of scores and probabilities
ALL = ""
"""Stands for all titles: where there are several outputs, each title has its output's name."""
Answers: TypeAlias = Mapping[str, Prediction]
"""One record's predictions by output."""
Row: TypeAlias = tuple[Mapping[str, Any], Answers | None]
"""What identifies a record, by title, and its answers; None if there are none."""


@dataclass(frozen=True)
class AnswerSettings:
    """How records are answered, and where the answers go."""

    options: Mapping[str, Any]  # of decoding
    out: Path | None = None  # a .csv or .json file; without one they are printed
    as_json: bool = False
    on_bad: str = "stop"  # what to do with cells that can't be used
    engine: str = "torch"


@dataclass(frozen=True)
class PredictSettings(AnswerSettings):
    """How the rows of a table are answered."""

    columns: Mapping[str, str] = field(default_factory=dict)  # where the guess would be wrong
    shares: bool = False  # also each input's share of the answers


def predict_table(
    model_name: str, table: Any, settings: PredictSettings, progress: Progress | None = None
) -> None:
    """Answer every row of a table, and write or print the answers. Raises UsageError if there is no
    such model, table or column, or the file can't be written, and PlaitError if a cell can't be
    used and the policy is ``stop``."""
    model = load(model_name, settings.engine)
    rows = as_table(table, model.recipe.data.missing_texts)
    policy = ErrorPolicy(check_policy(settings.on_bad))
    model.decoding_options(**settings.options)  # checked before any row is read
    out, outputs = settings.out, model.parts.outputs
    write = writer(out, outputs) if out else None
    columns = choose_present_columns(model.recipe, model.parts, rows, settings.columns)
    answers = model.predict_table(
        rows, columns, policy=policy, shares=settings.shares, progress=progress, **settings.options
    )
    answered: Iterator[Row] = zip(_identities(rows, columns, outputs), answers, strict=True)
    if settings.as_json or write is None:
        print(to_json(answered, outputs))
    else:
        print(f"{write(answered)} of {len(rows)} rows answered, written to {out}")
    show_failures(policy)


def _identities(
    table: Table, columns: Mapping[str, ColumnName], outputs: Collection[str]
) -> Iterator[dict[str, Any]]:
    """Each row's number, as errors name it, and the cells of inputs that read one column: texts,
    paths and numbers. Others, such as a photo's bytes, are left empty. A column with the name of an
    output, and the number if a column is named "row", get another title."""
    single = [column for column in columns.values() if isinstance(column, str)]
    titles: dict[str, Sequence[Any]] = {}
    for column in sorted(single, key=lambda column: column in outputs):
        titles[free(column, "input", {*outputs, *titles})] = table.column(column)
    numbered = free(ROW, "table", {*titles, *outputs})
    for row in range(len(table)):
        identity: dict[str, Any] = {numbered: table.number(row)}
        for title, cells in titles.items():
            cell = cells[row]
            plain = isinstance(peek(cell), (str, int, float)) and not is_missing(cell)
            identity[title] = cell if plain else None
        yield identity


def show_failures(policy: ErrorPolicy) -> None:
    """Name the cells that could not be used, on the error stream."""
    if policy.failures:
        from plait.render.console import show_bad  # rich is slow to import

        show_bad(policy.failures)


def writer(path: Path, outputs: Mapping[str, Output]) -> Callable[[Iterable[Row]], int]:
    """A function that writes rows to a file of the path's kind and returns how many of them have
    answers. Raises UsageError if files of that name can't be written."""
    formats = {".csv": to_csv, ".json": to_json}
    text_of = formats.get(path.suffix.lower())
    if text_of is None:
        raise UsageError(
            f"can't write answers to {path}", expected="a name ending in .csv or .json"
        )

    def write(rows: Iterable[Row]) -> int:
        all_rows = list(rows)
        # Names of files may be any bytes; they are written as they are.
        text = text_of(all_rows, outputs).encode("utf-8", "surrogateescape")
        write_atomically(path, text)
        return sum(answers is not None for _, answers in all_rows)

    return write


def to_csv(rows: Iterable[Row], outputs: Mapping[str, Output]) -> str:
    """A line for each record; the cells of records without answers are empty."""
    rows = list(rows)
    taken, scores = set(_taken(rows, outputs)), dict[str, str]()
    for name, output in outputs.items():
        if output.shows_score:
            scores[name] = _title("score", name, taken)
            taken.add(scores[name])
    lines = [(identity, _cells(answers, outputs, scores, taken)) for identity, answers in rows]
    titles: dict[str, None] = dict.fromkeys(title for identity, _ in lines for title in identity)
    for name in outputs:  # an output's columns stand together
        titles |= dict.fromkeys([name, *([scores[name]] if name in scores else [])])
        titles |= {title: None for _, cells in lines for title in cells.get(name, {})}
    file = io.StringIO(newline="")
    table = csv.DictWriter(file, list(titles), restval="")
    table.writeheader()
    for identity, cells in lines:
        table.writerow({**identity} | {k: v for own in cells.values() for k, v in own.items()})
    return file.getvalue()


def _taken(rows: Iterable[Row], outputs: Collection[str]) -> frozenset[str]:
    """The titles that what belongs to an answer, such as its score, can't have; all of them where
    there are several outputs."""
    titles = {title for identity, _ in rows for title in identity}
    return frozenset(titles | {*outputs} | ({ALL} if len(outputs) > 1 else set()))


def _cells(
    answers: Answers | None,
    outputs: Mapping[str, Output],
    scores: Mapping[str, str],
    taken: Collection[str],
) -> dict[str, dict[str, Any]]:
    """Output -> title -> cell; ``scores`` are the titles of the outputs' scores."""
    cells: dict[str, dict[str, Any]] = {}
    used = set(taken)
    for name, prediction in (answers or {}).items():
        output = outputs[name]
        own: dict[str, Any] = {name: output.to_cell(prediction.value)}
        if name in scores:
            own[scores[name]] = f"{prediction.score:.4f}"
        more = [(f"{name}_{key}", cell) for key, cell in output.extra_cells(prediction).items()]
        for source, share in prediction.shares.items():
            whose = f"{name}_{source}" if ALL in taken else source
            more.append((f"share_{whose}", f"{share:.4f}"))
        for rank, other in enumerate(prediction.alternatives, start=2):
            more.append((f"{name}_{rank}", output.to_cell(other.value)))
        for title, cell in more:
            own[free(title, name, used)] = cell
            used |= own.keys()
        cells[name] = own
    return cells


def to_json(rows: Iterable[Row], outputs: Mapping[str, Output]) -> str:
    """A list with an object for each record; the values of records without answers are null."""
    objects, rows = [], list(rows)
    taken = _taken(rows, outputs)
    for identity, answers in rows:
        record = {**identity} | (dict.fromkeys(outputs) if answers is None else {})
        for name, prediction in (answers or {}).items():
            output = outputs[name]
            own = output.to_json(prediction, DIGITS)
            record[name] = own.pop("value")
            own["alternatives"] = [
                {name: other.pop("value"), **other} for other in own["alternatives"]
            ]
            if not output.shows_score:
                del own["score"]
            record |= {_title(key, name, taken): value for key, value in own.items()}
        objects.append(record)
    return json.dumps(objects, ensure_ascii=False, indent=2)


def _title(key: str, output: str, taken: Collection[str]) -> str:
    return free(f"{output}_{key}" if ALL in taken else key, output, taken)


def free(title: str, before: str, taken: Collection[str]) -> str:
    """The title, with ``before`` in front of it as often as it takes to be none of those taken."""
    while title in taken:
        title = f"{before}_{title}"
    return title
