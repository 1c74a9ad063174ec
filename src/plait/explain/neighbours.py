"""The records of a table as people see them, and those that a model sees as most similar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.config.recipe import Recipe
from plait.data.cells import ErrorPolicy
from plait.data.index import Hit, Index, Name
from plait.data.paths import peek
from plait.data.tables import Table
from plait.data.values import is_missing
from plait.evaluation.predictions import embed_records
from plait.explain.explainer import Probe
from plait.explain.explanation import Neighbour
from plait.pipeline.engine import Engine, Parts
from plait.pipeline.records import Preparer, nothing_left, open_table, rows_of_split
from plait.render.progress import Progress
from plait.types import BadCell, ColumnName

NEAREST, NEAREST_OTHER = 6, 3  # that are shown; the latter with another right answer
LONGEST_TEXT = 160  # letters of a cell


@dataclass(frozen=True)
class Album:
    """A table's records as people see them."""

    parts: Parts
    table: Table
    columns: Mapping[str, ColumnName]  # "inputs.NAME" and "outputs.NAME" -> column

    def look(self, row: int) -> tuple[str, NDArray[np.uint8] | None]:
        """A record's texts and values in one line, and its first picture: (H, W, 3), None where it
        has none."""
        texts, pixels = [], None
        for name, modality in self.parts.modalities.items():
            cell = self._cell(name, row)
            if is_missing(cell):
                continue
            if not modality.media:
                texts.append(_text(cell))
            if pixels is None:
                with suppress(BadCell):
                    pixels = modality.picture(cell, self.table.root)
        return "; ".join(texts), pixels

    def name(self, row: int) -> str:
        """The name of the record's first file, or the number of its row."""
        for name, modality in self.parts.modalities.items():
            file = peek(self._cell(name, row))
            if modality.media and isinstance(file, str):
                return Path(file).name
        return f"row {self.table.number(row)}"

    def _cell(self, name: str, row: int) -> Any:
        column = self.columns.get(f"inputs.{name}")
        return None if column is None else self.table.column(column)[row]


def _text(cell: Any) -> str:
    if isinstance(cell, Mapping):
        cell = ", ".join(f"{name} {value}" for name, value in cell.items() if not is_missing(value))
    text = " ".join(str(cell).split())
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"


def find_neighbours(
    probe: Probe,
    engine: Engine,
    recipe: Recipe,
    parts: Parts,
    table: Table | str | Path,
    columns: Mapping[str, ColumnName],
    progress: Progress | None,
) -> tuple[list[Neighbour], list[Neighbour]]:
    """The training records whose fused vectors are most similar to the explained record's, and the
    most similar ones whose right answer is not the given one; none of the latter for outputs whose
    answers can be worded in several ways. Cells that can't be used are passed over.
    Raises PlaitError if the table has no training records.
    """
    recipe = recipe.with_columns(columns)
    rows, chosen = open_table(recipe, parts, table, columns)
    rows = rows.where(rows_of_split(recipe, parts, rows, chosen, "train"))
    policy = ErrorPolicy("skip")
    records, kept = Preparer(parts, engine, chosen, policy, progress).prepare(rows, views=False)
    if not kept:
        raise nothing_left("can be compared", policy)
    index = Index()
    index.add(kept, embed_records(engine, records, progress))
    hits = index.search(engine.embed(probe.batch), len(index))[0]
    output = parts.outputs[probe.output]
    cells = rows.column(chosen[f"outputs.{probe.output}"])
    answers: dict[Name, Any] = {
        row: first_reference(output.reference(cells[row], rows.root)) for row in kept
    }
    others = [hit for hit in hits if answers[hit.name] != probe.answer]
    album = Album(parts, rows, chosen)

    def described(some: Sequence[Hit]) -> list[Neighbour]:
        return [
            Neighbour(rows.number(row), score, answers[row], *album.look(row))
            for row, score in ((int(name), score) for name, score in some)
        ]

    shown = 0 if output.several_answers else NEAREST_OTHER
    return described(hits[:NEAREST]), described(others[:shown])


def first_reference(reference: Any) -> Any:
    """A right answer; the first where there are several."""
    return reference[0] if isinstance(reference, list) else reference
