"""What an evaluation found: predictions, references and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.data.tables import Table
from plait.evaluation.predictions import Group
from plait.outputs.base import Output
from plait.outputs.scores import Scorer, with_intervals
from plait.package.card import number
from plait.pipeline.features import Corruption
from plait.types import ColumnName, Prediction


@dataclass(frozen=True)
class Corrupted:
    """Scores by output with one input made worse in one way."""

    input: str
    how: Corruption
    scores: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        scores = {name: scores.to_json() for name, scores in self.scores.items()}
        return {"input": self.input, **vars(self.how), "scores": scores}


@dataclass(frozen=True)
class Lost:
    """How much less a score is with less, or something else, than the model was given.

    Attributes:
        score: its name, the first of the output's best metrics.
        value: the score of all records, less that of the same records then.
        interval: 95 %, by resampling records (paired bootstrap).
    """

    score: str
    value: float
    interval: tuple[float, float]

    @classmethod
    def between(cls, name: str, whole: Scorer, then: Scorer, records: int) -> Lost:
        """Of the score ``name`` of the same records, answered twice."""
        value, interval = with_intervals(
            lambda rows: {name: whole(rows)[name] - then(rows)[name]}, records
        )
        return cls(name, value[name], interval[name])

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"score": self.score, "value": self.value, "interval": list(self.interval)}


@dataclass(frozen=True)
class Again:
    """The same records answered again, with less or with something else.

    Attributes:
        predictions: by output, a record each.
        scores: by output.
        lost: by output, how much less than with all that there is.
    """

    predictions: Mapping[str, list[Prediction]]
    scores: Mapping[str, Any]
    lost: Mapping[str, Lost]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "scores": {name: scores.to_json() for name, scores in self.scores.items()},
            "lost": {name: lost.to_json() for name, lost in self.lost.items()},
        }


class Evaluation:
    """What `Model.evaluate` found: predictions, references and scores, row by row."""

    def __init__(
        self,
        table: Table,
        columns: Mapping[str, ColumnName],
        rows: Sequence[int],
        predictions: Mapping[str, list[Prediction]],
        references: Mapping[str, list[Any]],
        scores: Mapping[str, Any],
        problems: Sequence[str],
        subsets: Mapping[tuple[str, ...], Again] | None = None,
        corrupted: Sequence[Corrupted] = (),
        by: str | None = None,
        groups: Sequence[Group] = (),
        swapped: Mapping[str, Again] | None = None,
        vectors: NDArray[np.float32] | None = None,
        outputs: Mapping[str, Output] | None = None,
    ) -> None:
        self.vectors, self.outputs = vectors, outputs or {}
        self.by, self.groups = by, groups
        self.subsets, self.corrupted, self.swapped = subsets or {}, corrupted, swapped or {}
        self.table, self.columns, self.rows = table, columns, rows
        self.predictions, self.references = predictions, references
        self.scores, self.failures = scores, problems

    def __str__(self) -> str:
        """A line an output: its scores that have intervals, by the names that Python has."""
        lines = []
        for output, scores in self.scores.items():
            found = scores.to_json()
            values = [f"{name} {number(found[name])}" for name in found["intervals"]]
            lines.append(f"{output}, {number(len(self.rows))} records: {', '.join(values)}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<plait.Evaluation {'; '.join(str(self).splitlines())}>"

    def shares(self) -> dict[str, dict[str, dict[str, float]]]:
        """By output and input: its mean share of the answers, and the mean size of its share;
        empty where they were not asked for."""
        found: dict[str, dict[str, dict[str, float]]] = {}
        for name, predictions in self.predictions.items():
            inputs = predictions[0].shares if predictions else {}
            for part in inputs:
                values = np.array([prediction.shares[part] for prediction in predictions])
                found.setdefault(name, {})[part] = {
                    "mean": float(values.mean()), "size": float(np.abs(values).mean())
                }  # fmt: skip
        return found

    def to_json(self) -> dict[str, Any]:
        """The scores of every output, the columns, the number of records, the bad cells, and the
        inputs' shares, the scores with each subset of them, or with one of them made worse, and
        those of each group of rows, where they were asked for."""
        found = {
            "records": len(self.rows),
            "columns": dict(self.columns),
            "bad": list(self.failures),
            "scores": {name: scores.to_json() for name, scores in self.scores.items()},
        }
        if shares := self.shares():
            found["shares"] = shares
        if self.subsets:
            found["subsets"] = [
                {"inputs": list(subset), **again.to_json()}
                for subset, again in self.subsets.items()
            ]
        if self.swapped:
            found["swapped"] = [
                {"input": name, **again.to_json()} for name, again in self.swapped.items()
            ]
        if self.corrupted:
            found["corrupted"] = [corrupted.to_json() for corrupted in self.corrupted]
        if self.by is not None:
            found["by"] = self.by
            found["groups"] = [group.to_json() for group in self.groups]
        return found
