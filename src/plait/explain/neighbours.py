"""Records of a table as people can look at them, and those that a model sees as most alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from plait.config.recipe import Recipe
from plait.data.cells import ErrorPolicy, is_missing
from plait.data.tables import Table, read_table
from plait.evaluation.predictions import embed_records
from plait.explain.explanation import Neighbour
from plait.explain.probe import Probe
from plait.network import Network, Parts
from plait.pipeline.features import Progress
from plait.pipeline.records import Preparer, nothing_left, open_table, rows_of_split
from plait.types import BadCell, ColumnName, State

NEAREST, OTHERS = 6, 3  # that are shown; the latter of another right answer
AT_ONCE = 64  # records whose vectors are computed
LETTERS = 160  # of a cell


@dataclass(frozen=True)
class Album:
    """A table's records, to be looked at.

    Attributes:
        columns: "inputs.NAME" and "outputs.NAME" -> column.
    """

    parts: Parts
    states: Mapping[str, State]
    table: Table
    columns: Mapping[str, ColumnName]

    def look(self, row: int) -> tuple[str, NDArray[np.uint8] | None]:
        """What of a record can be written, and what can be seen: (H, W, 3), None where nothing."""
        texts, pixels = [], None
        for name, modality in self.parts.modalities.items():
            column = self.columns.get(f"inputs.{name}")
            cell = None if column is None else self.table.column(column)[row]
            if is_missing(cell):
                continue
            if not modality.media:
                texts.append(_written(cell))
            if pixels is None:
                try:
                    fitted = modality.with_state(self.states[f"inputs.{name}"])
                    pixels = fitted.picture(cell, self.table.root)
                except BadCell:
                    continue
        return "; ".join(texts), pixels

    def name(self, row: int) -> str:
        """A file's name where the record has one, else the number of its row."""
        for path, column in self.columns.items():
            cell = self.table.column(column)[row] if path.startswith("inputs.") else None
            kind = self.parts.modalities.get(path.removeprefix("inputs."))
            if kind is not None and kind.media and isinstance(cell, (str, Path)):
                return Path(cell).name
        return f"row {self.table.number(row)}"


def _written(cell: Any) -> str:
    if isinstance(cell, Mapping):
        cell = ", ".join(f"{name} {value}" for name, value in cell.items() if not is_missing(value))
    text = " ".join(str(cell).split())
    return text if len(text) <= LETTERS else f"{text[:LETTERS]}…"


def find_neighbours(
    probe: Probe,
    network: Network,
    recipe: Recipe,
    parts: Parts,
    states: Mapping[str, State],
    table: Table | str | Path,
    columns: Mapping[str, ColumnName],
    progress: Progress | None,
) -> tuple[list[Neighbour], list[Neighbour]]:
    """The training records whose fused vectors point most nearly the same way, and the nearest
    of those whose right answer is another than was given; of the latter none where an answer may
    be worded in several ways. Cells that can't be used are passed over.

    Raises:
        PlaitError: the table has no training records.
    """
    recipe = recipe.with_columns(columns)
    opened = table if isinstance(table, Table) else read_table(table)
    rows, taken = open_table(recipe, parts, opened, columns)
    rows = rows.where(rows_of_split(recipe, parts, rows, taken, "train"))
    bad = ErrorPolicy("skip")
    records, kept = Preparer(parts, states, network, taken, bad, progress).prepare(
        rows, views=False
    )
    if not kept:
        raise nothing_left("can be compared", bad)
    vectors = embed_records(network, records, AT_ONCE, probe.device, progress)
    with torch.no_grad():
        own = network.fuse(probe.batch).pooled.float().cpu().numpy()[0]
    output = parts.outputs[probe.output]
    cells = rows.column(taken[f"outputs.{probe.output}"])
    answers = [_one(output.reference(cells[row], rows.root)) for row in kept]
    album, likeness = Album(parts, states, rows, taken), cosines(vectors, own)
    order = np.argsort(-likeness, kind="stable").tolist()
    others = [] if output.several_answers else [at for at in order if answers[at] != probe.answer]

    def shown(some: Sequence[int]) -> list[Neighbour]:
        return [
            Neighbour(
                rows.number(kept[at]), float(likeness[at]), answers[at], *album.look(kept[at])
            )
            for at in some
        ]  # fmt: skip

    return shown(order[:NEAREST]), shown(others[:OTHERS])


def _one(reference: Any) -> Any:
    """A right answer; the first of several."""
    return reference[0] if isinstance(reference, list) else reference


def cosines(vectors: NDArray[np.float32], own: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N, D) and (D,) -> (N,) of the angles between them."""
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(own)
    return (vectors @ own).astype(np.float64) / np.maximum(lengths, 1e-12)
