"""What the command ``explain`` does: finds the record, explains its answer, writes and shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table as RichTable

from plait.data.tables import is_table_name, read_table
from plait.explain.explanation import Explanation, check_name
from plait.model import Model, load
from plait.pipeline.features import Progress
from plait.pipeline.records import choose_present_columns
from plait.render.console import console
from plait.render.html import shown
from plait.types import UsageError
from plait.util.files import is_folder


def explain_record(
    model_name: str,
    what: str | None,
    out: Path | None,
    *,
    row: int | None = None,
    inputs: Mapping[str, str] | None = None,
    output: str | None = None,
    table: str | None = None,
    columns: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
    as_json: bool = False,
    progress: Progress | None = None,
) -> None:
    """Explain one record and write a page, a picture or the numbers.

    Args:
        model_name: a shipped model or a package.
        what: the cell of a model with one input, or a table.
        out: the file to write; named after the record if not given.
        row: which row of the table.
        inputs: input -> cell, in place of ``what``.
        output: whose answer.
        table: training rows, of which the nearest are shown.
        columns: input -> column of the tables.
        options: of the decoding.
        as_json: print the numbers and write nothing.
        progress: called while the training rows are read.

    Raises:
        UsageError: no record is named, or too many.
        PlaitError: a cell can't be used, or captum is not installed.
    """
    target = out or Path(f"{_stem(what, row)}.explanation.html")
    check_name(target)
    model = load(model_name)
    record, root = _record(model, what, row, inputs or {}, columns or {})
    found = model.explain(
        record, root=root, output=output, table=table, columns=columns, progress=progress,
        **(options or {}),
    )  # fmt: skip
    if as_json:
        print(json.dumps(found.to_json(), ensure_ascii=False))
        return
    found.save(target)
    show(found)
    console.print(f"written to {target}", soft_wrap=True)


def _stem(what: str | None, row: int | None) -> str:
    """What a page is named after: its file, its table's row, or nothing more than it is one."""
    stem = Path(what).stem[:60] if what and "\n" not in what else ""
    return f"{stem}-{row}" if row is not None else (stem or "record")


def _record(
    model: Model,
    what: str | None,
    row: int | None,
    inputs: Mapping[str, str],
    columns: Mapping[str, str],
) -> tuple[Any, Path]:
    """The record, and the folder in which its paths start."""
    names = ", ".join(model.recipe.inputs)
    if (what is None) == (not inputs):
        raise UsageError(
            f"name the record to explain; the model takes {names}",
            expected="a file, a table with --row, or --input NAME=CELL",
        )
    if what is None:
        return inputs, Path()
    is_table = is_table_name(what) or is_folder(Path(what))
    if row is None and is_table:
        raise UsageError(f"{what} is a table", expected="--row with the number of a row")
    if row is None:
        return what, Path()
    rows = read_table(what)
    numbers = [rows.number(at) for at in range(len(rows))]
    if row not in numbers:
        raise UsageError(f"{what} has no row {row}", expected=f"1 to {max(numbers, default=0)}")
    chosen = choose_present_columns(model.recipe, model.parts, rows, columns)
    at = numbers.index(row)
    return {name: rows.column(column)[at] for name, column in chosen.items()}, rows.root


def show(found: Explanation) -> None:
    """The answer, the inputs' shares, and how each method does, on the terminal."""
    console.print(shown(found.prediction.value), soft_wrap=True)
    detected = found.asked.to_json(found.prediction).get("detected")
    if detected:
        words = ", ".join(f"{word} {probable:.2f}" for word, probable in detected.items())
        console.print(f"detected: {words}", soft_wrap=True)
    if len(found.shares) > 1:
        console.print(_shares(found))
        console.print(found.enough, soft_wrap=True)
    console.print(_methods(found))


def _shares(found: Explanation) -> RichTable:
    table = RichTable("input", "share")
    for name, share in found.shares.items():
        table.add_row(name, f"{share:+.3f}")
    for pair, together in found.pairs.items():
        table.add_row(f"{' with '.join(pair)}, beyond both", f"{together:+.3f}")
    return table


def _methods(found: Explanation) -> RichTable:
    """The areas below each method's curves, beside those of a random order."""
    table = RichTable("input", "method", "deletion", "insertion", "likeness to random weights")
    for name, seen in found.inputs.items():
        for method, of in seen.methods.items():
            areas = (of.curves.deletion.area, of.curves.insertion.area)
            like = "-" if of.likeness is None else f"{of.likeness:+.2f}"
            table.add_row(name, method, *(f"{area:.3f}" for area in areas), like)
        chance = (seen.chance.deletion.area, seen.chance.insertion.area)
        table.add_row(name, "random order", *(f"{area:.3f}" for area in chance), "")
    return table
