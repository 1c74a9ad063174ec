"""Scores a model on a table: free-running predictions against all references."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations, product, starmap
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from plait.config.recipe import Recipe
from plait.data.cells import ErrorPolicy, OnBad
from plait.data.tables import Table
from plait.data.values import is_missing
from plait.evaluation.predictions import (
    Predictions,
    check_subsets,
    decoding_options,
    embed_records,
    predict_records,
    read_references,
)
from plait.outputs.base import Output
from plait.outputs.scores import Intervals, Metrics, Scorer, with_intervals
from plait.package.format import Memory
from plait.pipeline.engine import Engine, Parts
from plait.pipeline.inputs import Corruption
from plait.pipeline.records import (
    Preparer,
    Records,
    nothing_left,
    open_table,
    rows_of_split,
    warn_of_learned,
    warn_of_unread,
)
from plait.render.numbers import number
from plait.render.progress import Progress
from plait.types import ColumnName, PlaitError, Prediction, UsageError

STRENGTHS = range(1, 6)  # of corruptions
CHECKS = ("subsets", "shares", "corruptions", "swapped", "vectors", "slow_metrics")
"""What an evaluation can do beside the scores, see `Model.evaluate`."""

log = logging.getLogger("plait")

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
        amount, text = (value, "") if isinstance(value, (int, float)) else (np.inf, str(value))
        return -len(records), amount, text

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


@dataclass(frozen=True)
class Evaluator:
    """One evaluation of a model (its recipe, fitted parts, engine and memory) on a table; see
    `Model.evaluate` for the settings."""

    recipe: Recipe
    parts: Parts
    engine: Engine
    memory: Memory
    split: str | None
    columns: Mapping[str, ColumnName]
    by: str | None
    on_bad: OnBad
    include_training: bool
    progress: Progress | None
    options: Mapping[str, Any]  # checks, and options of decoding

    def run(self, opened: Table) -> Evaluation:
        """The scores of a table's records, and what else the settings ask for; raises as
        `Model.evaluate`."""
        parts, engine = self.parts, self.engine
        outputs, names = parts.outputs, list(parts.modalities)
        checks = {name for name in CHECKS if self.options.get(name)}
        decoding = {name: v for name, v in self.options.items() if name not in CHECKS}
        if "shares" in checks:
            check_subsets(outputs)
        table, columns = self._open(opened)
        policy = ErrorPolicy(self.on_bad)
        preparer = Preparer(parts, engine, columns, policy, self.progress)
        records, kept = preparer.prepare(table, views=False)
        if not kept:
            raise nothing_left("can be scored", policy)
        seen = None
        if not opened.records and self.memory:
            records, kept, seen = self._unseen(preparer, records, table, kept)
        predict = partial(
            predict_records, parts, engine, progress=self.progress,
            options=decoding_options(parts, **decoding),
        )  # fmt: skip
        references = read_references(outputs, table, columns, kept)
        scoring = _Scoring(outputs, references, self.progress)
        predictions = predict(records, shares="shares" in checks)
        scorers = scoring.scorers(predictions)
        found = Evaluation(
            table, columns, kept, predictions, references,
            scoring.scores(predictions, "slow_metrics" in checks),
            policy.failures, by=self.by, outputs=outputs, seen=seen,
        )  # fmt: skip
        if self.by is not None:
            cells = table.column(self.by)
            set_metrics = {name: output.scored_by.set_metrics for name, output in outputs.items()}
            found.groups = score_groups(scorers, [cells[row] for row in kept], set_metrics)
        if "subsets" in checks:
            fewer = (s for size in range(1, len(names)) for s in combinations(names, size))
            found.subsets = {
                subset: scoring.ablation(predict(records.with_inputs(subset)), scorers)
                for subset in fewer
            } | {tuple(names): Ablation(predictions, found.scores, {})}
        if "swapped" in checks:
            found.swapped = {
                name: scoring.ablation(predict(records.with_swapped(name)), scorers)
                for name in names
            }
        if "corruptions" in checks:
            found.corrupted = [
                Corrupted(name, how, scoring.scores(predict(
                    preparer.corrupted(table, records, kept, name, how)
                )))
                for name, modality in parts.modalities.items()
                for how in starmap(Corruption, product(modality.corruptions, STRENGTHS))
            ]  # fmt: skip
        if "vectors" in checks:
            found.vectors = embed_records(engine, records, self.progress)
        return found

    def _open(self, opened: Table) -> tuple[Table, dict[str, ColumnName]]:
        """The table's records that are to be scored, and their columns."""
        recipe, parts = self.recipe.with_columns(self.columns), self.parts
        table, columns = open_table(recipe, parts, opened, self.columns)
        if self.by is not None:
            opened.column(self.by)  # raises if there is none
            if self.by not in table.columns:
                raise UsageError(
                    f"rows of {opened.path} that form one record differ in column {self.by!r}",
                    expected="a column that is the same in all rows of a record",
                )
        if self.split is not None:
            if self.split == "val" and recipe.training.refit:
                log.warning("the model learned from the validation rows too (training.refit)")
            which = rows_of_split(recipe, parts, table, columns, self.split)
            table = table.where(which)
        elif not opened.records and not self.memory:
            warn_of_learned(recipe, parts, table, columns)
        if not opened.records:
            warn_of_unread(parts, table, columns)
        return table, columns

    def _unseen(
        self, preparer: Preparer, records: Records, table: Table, rows: list[int]
    ) -> tuple[Records, list[int], Seen]:
        """Without the records that the model learned from or was chosen by, unless the user asks
        for them; either way they are counted, and a warning says so."""
        digests = preparer.digests(records, table, rows)
        seen = Seen(*self.memory.count(digests))
        if not seen:
            return records, rows, seen
        what = seen.counts
        if self.include_training or self.split in ("train", "val"):
            log.warning("of these %s records, the model %s", f"{len(rows):,}", what)
            return records, rows, seen
        unseen = [at for at, digest in enumerate(digests) if digest not in self.memory]
        if not unseen:
            raise PlaitError(
                f"of these {len(rows):,} records, the model {what}: none is left to score",
                expected="records that are new to the model",
                hint="score another table or --split test; --include-training scores them anyway",
            )
        log.warning(
            "of these %s records, the model %s; they are left out (--include-training scores "
            "them, too)", f"{len(rows):,}", what,
        )  # fmt: skip
        return records.where(unseen), [rows[at] for at in unseen], replace(seen, left_out=True)


@dataclass(frozen=True)
class _Scoring:
    """Scores the same records, however they were answered."""

    outputs: Mapping[str, Output]
    references: Mapping[str, list[Any]]
    progress: Progress | None

    def scores(self, predictions: Predictions, slow: bool = False) -> dict[str, Any]:
        """By output, with intervals."""
        if self.progress:
            self.progress("scores", 0, 1)  # some take seconds to start
        return {n: scorer.scores(slow=slow) for n, scorer in self.scorers(predictions).items()}

    def scorers(self, predictions: Predictions) -> dict[str, Metrics]:
        """By output, of any choice of the records."""
        return {n: o.scorer(predictions[n], self.references[n]) for n, o in self.outputs.items()}

    def ablation(self, predictions: Predictions, whole: Mapping[str, Scorer]) -> Ablation:
        """The scores of other answers, and how much lower they are than those of the whole ones."""
        scorers = self.scorers(predictions)

        def drop(name: str) -> Drop:
            score, full, less = (
                self.outputs[name].scored_by.best_metrics[0],
                whole[name],
                scorers[name],
            )
            value, interval = with_intervals(
                lambda rows: {score: full(rows)[score] - less(rows)[score]}, len(predictions[name])
            )
            return Drop(score, value[score], interval[score])

        lost = {name: drop(name) for name in self.outputs}
        return Ablation(predictions, self.scores(predictions), lost)
