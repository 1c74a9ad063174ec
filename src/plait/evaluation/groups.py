"""Scores of groups of records that share a value of a column."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from plait.data.values import is_missing
from plait.outputs.scores import Intervals, Scorer, with_intervals

Value: TypeAlias = str | int | float | None


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
        scores, ends = with_intervals(partial(_score_some, scorer, records), len(records))
        undefined = set_metrics.get(name, ()) if len(records) == 1 else ()
        points[name] = {score: x for score, x in scores.items() if score not in undefined}
        intervals[name] = {score: x for score, x in ends.items() if score not in undefined}
    return Group(value, len(records), points, intervals)


def _score_some(
    scorer: Scorer, records: NDArray[np.int64], rows: NDArray[np.int64]
) -> dict[str, float]:
    """The scores of a choice among ``records``."""
    return scorer(records[rows])
