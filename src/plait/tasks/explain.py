"""What the command ``explain`` adds to `Model.explain`: finding the record, showing the result."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from plait.data.paths import allow_web, peek
from plait.data.readers import is_table_name
from plait.data.tables import read_table
from plait.explain.explanation import Curves, Explanation
from plait.model import Model
from plait.pipeline.columns import choose_present_columns
from plait.render.console import console, show_rows
from plait.render.numbers import shown
from plait.types import UsageError
from plait.util.files import is_folder

MOST = 8  # words that are listed


def page_name(what: str | None, row: int | None) -> Path:
    """The name of a page whose user gave none: that of the file, or of the table and its row."""
    known = peek(what)  # bytes if it is a file in base64
    stem = Path(known).stem[:60] if isinstance(known, str) and "\n" not in known else ""
    stem = f"{stem}-{row}" if row is not None else (stem or "record")
    return Path(f"{stem}.explanation.html")


def find_record(
    model: Model,
    what: str | None,
    row: int | None,
    inputs: Mapping[str, str],
    columns: Mapping[str, str],
    allow_urls: bool = False,
) -> tuple[Any, Path]:
    """The record to explain, and the folder that its paths are relative to.

    Args:
        model: whose inputs the record has.
        what: the cell of a model with one input, or a table.
        row: the row of the table, counted from 1.
        inputs: input -> cell, instead of ``what``.
        columns: input -> column of the table, where the guess would be wrong.
        allow_urls: as of `read_table`; also of ``what`` and ``inputs``.

    Raises:
        UsageError: no record is named, or more than one.
        PlaitError: the table can't be read.
    """
    if (what is None) == (not inputs):
        raise UsageError(
            f"name one record to explain; the model's inputs are {', '.join(model.recipe.inputs)}",
            expected="a file, a table with --row, or --input NAME=CELL",
        )
    allowed = allow_web if allow_urls else str
    if what is None:
        return {name: allowed(cell) for name, cell in inputs.items()}, Path()
    if row is None:
        if is_table_name(what) or is_folder(Path(what)):
            raise UsageError(f"{what} is a table", expected="--row with the number of a row")
        return allowed(what), Path()
    table = read_table(what, model.recipe.data.missing_texts, allow_urls)
    numbers = [table.number(at) for at in range(len(table))]
    if row not in numbers:
        raise UsageError(f"{what} has no row {row}", expected=f"1 to {max(numbers, default=0)}")
    chosen = choose_present_columns(model.recipe, model.parts, table, columns)
    at = numbers.index(row)
    return {name: table.column(column)[at] for name, column in chosen.items()}, table.root


def show(explanation: Explanation) -> None:
    """The answer, each input's share of it, and how well each method explains it."""
    console.print(shown(explanation.prediction.value), soft_wrap=True)
    for title, weights in explanation.answering.clues(explanation.prediction).items():
        words = [f"{word} {weight:.2f}" for word, weight in islice(weights.items(), MOST)]
        if words:
            console.print(f"{title}: {', '.join(words)}", soft_wrap=True)
    if len(explanation.shares) > 1:
        shares = [(name, f"{share:+.3f}") for name, share in explanation.shares.items()]
        for pair, together in explanation.interactions.items():
            shares.append((f"{' with '.join(pair)}, beyond both", f"{together:+.3f}"))
        show_rows(("input", "share"), shares)
        console.print(explanation.enough, soft_wrap=True)
    rows = []
    for name, explained in explanation.inputs.items():
        for method, found in explained.methods.items():
            like = "-" if found.similarity is None else f"{found.similarity:+.2f}"
            rows.append((name, method, *_areas(found.curves), like))
        rows.append((name, "random order", *_areas(explained.random_order), ""))
    show_rows(("input", "method", "deletion", "insertion", "likeness to random weights"), rows)


def _areas(curves: Curves) -> tuple[str, str]:
    return f"{curves.deletion.area:.3f}", f"{curves.insertion.area:.3f}"
