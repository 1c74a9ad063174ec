"""Free-running predictions of records, and their scores: what a user would get, no less."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from plait.data.cells import is_missing
from plait.evaluation.shares import input_shares
from plait.network import Batch, Network
from plait.outputs.scores import Intervals, Scorer, with_intervals
from plait.pipeline.features import CachedRecords, Progress
from plait.types import Prediction

Value: TypeAlias = str | int | float | None


def answer(
    network: Network, batch: Batch, shares: bool = False, **options: Any
) -> dict[str, list[Prediction]]:
    """A batch's predictions for every output, with each input's share where asked for."""
    found = network.predict(batch, **options)
    if not shares:
        return found
    return {
        name: [
            replace(prediction, shares=share)
            for prediction, share in zip(
                predictions, input_shares(network, batch, name, predictions), strict=True
            )
        ]
        for name, predictions in found.items()
    }


def evaluate_records(
    network: Network,
    records: CachedRecords,
    size: int,
    device: torch.device,
    progress: Progress | None = None,
    shares: bool = False,
    **options: Any,
) -> dict[str, list[Prediction]]:
    """Every record's prediction for every output, in the records' order; with each input's share
    of it where asked for."""
    network.eval()
    found: dict[str, list[Prediction]] = {name: [] for name in network.heads}
    for batch in records.batches(size):
        answers = answer(network, batch.to(device), shares, **options)
        for name, predictions in answers.items():
            found[name].extend(predictions)
        if progress:
            progress("answers", len(next(iter(found.values()))), len(records))
    return found


@torch.no_grad()
def embed_records(
    network: Network,
    records: CachedRecords,
    size: int,
    device: torch.device,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """(N, D) every record's fused vector, in the records' order."""
    network.eval()
    found: list[NDArray[np.float32]] = []
    for number, batch in enumerate(records.batches(size), start=1):
        found.append(network.fuse(batch.to(device)).pooled.float().cpu().numpy())
        if progress:
            progress("vectors", min(number * size, len(records)), len(records))
    return np.concatenate(found)


@dataclass(frozen=True)
class Group:
    """Scores of the records that share a value of a column.

    Attributes:
        value: the value, None where the cell is empty.
        records: how many they are.
        scores: by output and name, without those that are undefined for so few records.
        intervals: by output and score, its 95 % bootstrap percentile interval over these records.
    """

    value: Value
    records: int
    scores: Mapping[str, Mapping[str, float]]
    intervals: Mapping[str, Intervals]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON, each output's scores as in `Evaluation.to_json`."""
        scores = {
            name: dict(points)
            | {"intervals": {n: list(e) for n, e in self.intervals[name].items()}}
            for name, points in self.scores.items()
        }
        return {"value": self.value, "records": self.records, "scores": scores}


def score_groups(
    scorers: Mapping[str, Scorer],
    cells: Sequence[Any],
    set_metrics: Mapping[str, Collection[str]] | None = None,
) -> list[Group]:
    """The scores of the records with the same cell, the largest groups first; of equal size by
    their values, numbers as numbers.

    Args:
        scorers: each output's, of all records.
        cells: one a record.
        set_metrics: each output's `Output.set_metrics`: a group of one record goes without.
    """
    members: dict[Value, list[int]] = {}
    for record, cell in enumerate(cells):
        plain = cell if isinstance(cell, (str, int, float)) else str(cell)
        members.setdefault(None if is_missing(cell) else plain, []).append(record)
    ordered = sorted(members.items(), key=lambda item: (-len(item[1]), _order(item[0])))
    return [
        _score_group(scorers, value, np.array(records), set_metrics or {})
        for value, records in ordered
    ]


def _order(value: Value) -> tuple[float, str]:
    """Numbers by size, before texts by their letters."""
    return (value, "") if isinstance(value, (int, float)) else (np.inf, str(value))


def _score_group(
    scorers: Mapping[str, Scorer],
    value: Value,
    records: NDArray[np.int64],
    set_metrics: Mapping[str, Collection[str]],
) -> Group:
    points: dict[str, dict[str, float]] = {}
    intervals: dict[str, Intervals] = {}
    for name, scorer in scorers.items():
        found, ends = with_intervals(_of(records, scorer), len(records))
        undefined = set_metrics.get(name, ()) if len(records) == 1 else ()
        points[name] = {score: x for score, x in found.items() if score not in undefined}
        intervals[name] = {score: x for score, x in ends.items() if score not in undefined}
    return Group(value, len(records), points, intervals)


def _of(records: NDArray[np.int64], scorer: Scorer) -> Scorer:
    """Scores choices among these records."""
    return lambda rows: scorer(records[rows])
