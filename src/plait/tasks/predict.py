"""What the command ``predict`` does: a table in, an answer for each row out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plait.data.cells import ErrorPolicy, check_policy
from plait.data.tables import Table, read_table
from plait.data.values import is_missing
from plait.pipeline.columns import choose_present_columns
from plait.render.progress import Progress
from plait.runtime.engines import load
from plait.tasks.write import Row, to_json, writer
from plait.types import ColumnName

ROW = "row"
"""The title of the rows' numbers in what is written."""


@dataclass(frozen=True)
class PredictSettings:
    """How a table is answered.

    Attributes:
        columns: input -> column, where the guess would be wrong.
        options: of decoding.
        on_bad: what to do with cells that can't be used.
        shares: also each input's share of the answers.
        engine: ``torch`` or ``onnx``.
    """

    columns: Mapping[str, str]
    options: Mapping[str, Any]
    on_bad: str = "stop"
    shares: bool = False
    engine: str = "torch"


def predict_table(
    model_name: str,
    table: str,
    settings: PredictSettings,
    out: Path,
    as_json: bool,
    progress: Progress | None = None,
) -> None:
    """Answer every row of a table, and write or print the answers.

    Raises:
        UsageError: there is no such model, table or column, or ``out`` can't be written.
        PlaitError: a cell can't be used and the policy is ``stop``.
    """
    model, rows = load(model_name, settings.engine), read_table(table)
    policy = ErrorPolicy(check_policy(settings.on_bad))
    model.decoding_options(**settings.options)  # checked before any row is read
    write = writer(out, model.parts.outputs)
    columns = choose_present_columns(model.recipe, model.parts, rows, settings.columns)
    answers = model.predict_table(
        rows, columns, policy=policy, shares=settings.shares, progress=progress, **settings.options
    )
    answered: Iterator[Row] = zip(_identities(rows, columns), answers, strict=True)
    if as_json:
        print(to_json(answered, model.parts.outputs))
    else:
        print(f"{write(answered)} of {len(rows)} rows answered, written to {out}")
    if policy.failures:
        from plait.render.console import show_bad  # rich is slow to import

        show_bad(policy.failures)


def _identities(table: Table, columns: Mapping[str, ColumnName]) -> Iterator[dict[str, Any]]:
    """Each row's number, as errors name it, and the cells of inputs that read one column: texts,
    paths and numbers. Others, such as a photo's bytes, are left empty."""
    single = {c: table.column(c) for c in columns.values() if isinstance(c, str) and c != ROW}
    for row in range(len(table)):
        identity: dict[str, Any] = {ROW: table.number(row)}
        for column, cells in single.items():
            plain = isinstance(cells[row], (str, int, float)) and not is_missing(cells[row])
            identity[column] = cells[row] if plain else None
        yield identity
