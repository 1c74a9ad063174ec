"""The results of an evaluation: predictions, references and scores."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from plait.data.tables import Table
from plait.data.values import is_missing
from plait.outputs.base import Output
from plait.outputs.scores import Intervals, Scorer, with_intervals
from plait.pipeline.inputs import Corruption
from plait.render.numbers import number
from plait.types import ColumnName, Prediction

Value: TypeAlias = str | int | float | None
"""What the records of a group have in common; None where the cell is empty."""


@dataclass(frozen=True)
class Corrupted:
    """Scores by output with one input corrupted in one way."""

    input: str
    how: Corruption
    scores: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"input": self.input, **vars(self.how), "scores": _all_json(self.scores)}


@dataclass(frozen=True)
class Drop:
    """How much a score drops when the same records are answered with less."""

    score: str  # its name, the first of the output's best metrics
    value: float  # the score with all inputs minus the score without
    interval: tuple[float, float]  # 95 %, from resamples that both share (paired bootstrap)

    @classmethod
    def between(cls, name: str, full: Scorer, ablated: Scorer, records: int) -> Drop:
        """The drop of the score ``name`` between two sets of answers to the same records."""
        value, interval = with_intervals(
            lambda rows: {name: full(rows)[name] - ablated(rows)[name]}, records
        )
        return cls(name, value[name], interval[name])

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"score": self.score, "value": self.value, "interval": list(self.interval)}


@dataclass(frozen=True)
class Ablation:
    """The same records answered without some inputs, or with another record's in their place."""

    predictions: Mapping[str, list[Prediction]]  # by output, one for each record
    scores: Mapping[str, Any]  # by output
    lost: Mapping[str, Drop]  # by output; empty where nothing was taken away

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"scores": _all_json(self.scores), "lost": _all_json(self.lost)}


@dataclass(frozen=True)
class Group:
    """Scores of the records that share a value of a column."""

    value: Value
    records: int  # how many they are
    scores: Mapping[str, Mapping[str, float]]  # by output, of those defined for so few records
    intervals: Mapping[str, Intervals]  # by output: 95 %, by bootstrap over these records

    def to_json(self) -> dict[str, Any]:
        """As plain JSON, each output's scores as in `Evaluation.to_json`."""
        scores = {
            name: {**points, "intervals": {n: list(e) for n, e in self.intervals[name].items()}}
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
        cells: one per record.
        set_metrics: each output's `Metrics.set_metrics`: a group of one record goes without.
    """
    members: dict[Value, list[int]] = {}
    for record, cell in enumerate(cells):
        plain = cell if isinstance(cell, (str, int, float)) else str(cell)
        members.setdefault(None if is_missing(cell) else plain, []).append(record)

    def score(name: str, records: NDArray[np.int64]) -> tuple[dict[str, float], Intervals]:
        scorer, size = scorers[name], len(records)
        points, intervals = with_intervals(lambda rows: scorer(records[rows]), size)
        for metric in (set_metrics or {}).get(name, ()) if size == 1 else ():
            points.pop(metric, None)
            intervals.pop(metric, None)
        return points, intervals

    def order(item: tuple[Value, list[int]]) -> tuple[int, float, str]:
        value, records = item  # numbers come before texts
        number, text = (value, "") if isinstance(value, (int, float)) else (np.inf, str(value))
        return -len(records), number, text

    groups = []
    for value, records in sorted(members.items(), key=order):
        scored = {name: score(name, np.array(records)) for name in scorers}
        points = {name: points for name, (points, _) in scored.items()}
        intervals = {name: intervals for name, (_, intervals) in scored.items()}
        groups.append(Group(value, len(records), points, intervals))
    return groups


@dataclass(frozen=True)
class Seen:
    """How many records of a table the model knew before it was scored.

    Attributes:
        training: records that it learned from.
        validation: other records, by which its weights were chosen.
        left_out: whether these records are left out of the scores.
    """

    training: int = 0
    validation: int = 0
    left_out: bool = False

    def __bool__(self) -> bool:
        return bool(self.training or self.validation)

    @property
    def counts(self) -> str:
        """``learned from 64 and was chosen by 32``."""
        counts = {"learned from": self.training, "was chosen by": self.validation}
        return " and ".join(f"{how} {count:,}" for how, count in counts.items() if count)

    def __str__(self) -> str:
        if not self:
            return "the model learned from none of these records"
        which = "other records of the table, which are left out"
        return f"the model {self.counts} {which if self.left_out else 'of these records'}"


@dataclass(eq=False, repr=False)
class Evaluation:
    """What `Model.evaluate` returns: predictions, references and scores, record by record.

    Attributes:
        table: the records that were read.
        columns: input or output -> its column.
        rows: which of the table's rows were scored, N of them.
        predictions: by output, N each.
        references: by output, N right answers each.
        scores: by output; each has ``to_json``, and its scores by name.
        failures: a line for each cell that could not be used.
        subsets: names of inputs -> the scores with these alone, the others missing.
        corrupted: the scores with one input corrupted.
        by: the column that groups the rows.
        groups: the scores of each group.
        swapped: input -> the scores with another record's in its place.
        vectors: (N, D) the records' fused vectors.
        outputs: the model's, which know how their answers are shown.
        seen: how many records the model knew before; None if it doesn't remember any.

    What was not asked for is empty, or None.

    Examples:
        >>> requests = {"text": ["describe it", "translate it"], "intent": ["caption", "none"]}
        >>> scores = plait.load("intents").evaluate(requests).scores["intent"]
        >>> scores["accuracy"], scores.intervals["accuracy"]
        (0.5, (0.0, 1.0))
    """

    table: Table
    columns: Mapping[str, ColumnName]
    rows: Sequence[int]
    predictions: Mapping[str, list[Prediction]]
    references: Mapping[str, list[Any]]
    scores: Mapping[str, Any]
    failures: Sequence[str]
    subsets: Mapping[tuple[str, ...], Ablation] = field(default_factory=dict)
    corrupted: Sequence[Corrupted] = ()
    by: str | None = None
    groups: Sequence[Group] = ()
    swapped: Mapping[str, Ablation] = field(default_factory=dict)
    vectors: NDArray[np.float32] | None = None
    outputs: Mapping[str, Output] = field(default_factory=dict)
    seen: Seen | None = None

    def __str__(self) -> str:
        """A line for each output: its scores that have intervals, by their names in Python."""
        lines = []
        for output, scores in _all_json(self.scores).items():
            values = [f"{name} {number(scores[name])}" for name in scores["intervals"]]
            lines.append(f"{output}, {number(len(self.rows))} records: {', '.join(values)}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<plait.Evaluation {'; '.join(str(self).splitlines())}>"

    def shares(self) -> dict[str, dict[str, dict[str, float]]]:
        """By output and input: the mean of its shares of the answers, and their mean size; empty
        where shares were not asked for."""
        return {
            name: {
                part: {
                    "mean": float(np.mean([p.shares[part] for p in predictions])),
                    "size": float(np.mean([abs(p.shares[part]) for p in predictions])),
                }
                for part in predictions[0].shares
            }
            for name, predictions in self.predictions.items()
            if predictions and predictions[0].shares
        }

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: the number of records, the columns, the bad cells, every output's scores, how
        many records the model knew, and whatever else was asked for."""
        result = {
            "records": len(self.rows),
            "columns": dict(self.columns),
            "bad": list(self.failures),
            "scores": _all_json(self.scores),
        }
        if self.seen is not None:
            result["seen"] = vars(self.seen)
        asked: dict[str, Any] = {
            "shares": self.shares(),
            "subsets": [{"inputs": list(s), **a.to_json()} for s, a in self.subsets.items()],
            "swapped": [{"input": name, **a.to_json()} for name, a in self.swapped.items()],
            "corrupted": [corrupted.to_json() for corrupted in self.corrupted],
        }
        result |= {name: found for name, found in asked.items() if found}
        if self.by is not None:
            result |= {"by": self.by, "groups": [group.to_json() for group in self.groups]}
        return result


def _all_json(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.to_json() for name, value in values.items()}
