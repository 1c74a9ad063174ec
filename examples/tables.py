"""What the example scripts share: they read a table with the columns that they need."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import plait


def read_rows(path: str | Path, *columns: str) -> tuple[list[dict[str, Any]], Path]:
    """A table's cells of these columns, row by row, and the folder that its files lie from. Cells
    of a CSV file are texts as they are written: ``01`` is a name, and no number.

    Raises:
        SystemExit: it can't be read, or lacks a column or a cell; one line says what is wrong.
    """
    try:
        table = plait.read_table(path)
        cells = zip(*map(table.column, columns), strict=True)
        rows = [dict(zip(columns, row, strict=True)) for row in cells]
    except plait.PlaitError as error:
        raise SystemExit(str(error)) from None
    if Path(path).suffix.lower() == ".csv":
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            rows = [{name: row[name] or None for name in columns} for row in csv.DictReader(file)]
    for number, row in enumerate(rows, start=1):
        for column, cell in row.items():
            if cell is None:
                raise SystemExit(f"{path} row {number} has no {column}")
    return rows, table.root
