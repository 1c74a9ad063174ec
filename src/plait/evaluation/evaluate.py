"""Scores a model on a table: free-running predictions against all references."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any

from plait.config.recipe import Recipe
from plait.data.cells import ErrorPolicy, OnBad
from plait.data.tables import Table
from plait.evaluation.groups import score_groups
from plait.evaluation.predictions import (
    Predictions,
    decoding_options,
    embed_records,
    predict_records,
)
from plait.evaluation.results import Ablation, Corrupted, Drop, Evaluation
from plait.outputs.scores import Scorer
from plait.package.format import Memory
from plait.pipeline.engine import Engine, Parts
from plait.pipeline.inputs import Corruption, Progress
from plait.pipeline.records import (
    Preparer,
    Records,
    nothing_left,
    open_table,
    rows_of_split,
    warn_of_learned,
    warn_of_unread,
)
from plait.types import ColumnName, PlaitError, UsageError

STRENGTHS = range(1, 6)  # of corruptions
CHECKS = ("subsets", "shares", "corruptions", "swapped", "vectors")
"""What an evaluation can do beside the scores, see `Model.evaluate`."""

log = logging.getLogger("plait")


@dataclass(frozen=True)
class Settings:
    """How a table is scored; see `Model.evaluate` for their meaning."""

    split: str | None = None
    columns: Mapping[str, ColumnName] = field(default_factory=dict)
    by: str | None = None
    checks: Collection[str] = ()
    on_bad: OnBad = "stop"
    include_training: bool = False
    progress: Progress | None = None
    decoding: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluator:
    """One evaluation of a model on a table.

    Attributes:
        recipe: the model's.
        parts: its fitted components.
        engine: runs its network.
        memory: the records that it learned from.
        settings: how the table is scored.
    """

    recipe: Recipe
    parts: Parts
    engine: Engine
    memory: Memory
    settings: Settings

    def run(self, opened: Table) -> Evaluation:
        """The scores of a table's records, and what else the settings ask for.

        Raises:
            PlaitError: a cell can't be used and the policy is ``stop``; or no record is left.
            UsageError: there is no column ``by``, or its values differ within a record.
        """
        settings = self.settings
        table, columns = self._rows(opened)
        policy = ErrorPolicy(settings.on_bad)
        preparer = Preparer(self.parts, self.engine, columns, policy, settings.progress)
        records, kept = preparer.prepare(table, views=False)
        if not kept:
            raise nothing_left("can be scored", policy)
        if not opened.records:
            records, kept = self._unseen(preparer, records, table, kept)
        references = {
            name: [
                output.reference(cell, table.root)
                for cell in _cells(table, columns.get(f"outputs.{name}"), kept)
            ]
            for name, output in self.parts.outputs.items()
        }
        scored = _Scored(self, references)
        predictions = scored.predict(records, "shares" in settings.checks)
        whole = scored.scorers(predictions)
        groups = []
        if settings.by is not None:
            set_metrics = {name: out.set_metrics for name, out in self.parts.outputs.items()}
            cells = _cells(table, settings.by, kept)
            groups = score_groups(whole, cells, set_metrics)
        scores = scored.scores(predictions)
        subsets = {
            subset: scored.ablation(records.with_inputs(subset), whole)
            if len(subset) < len(self.parts.modalities)
            else Ablation(predictions, scores, {})
            for subset in (_subsets(list(self.parts.modalities)) if self._wants("subsets") else ())
        }
        return Evaluation(
            table, columns, kept, predictions, references, scores, policy.failures,
            subsets=subsets,
            swapped={
                name: scored.ablation(records.with_swapped(name), whole)
                for name in (self.parts.modalities if self._wants("swapped") else ())
            },
            corrupted=[
                Corrupted(name, how, scored.scores(scored.predict(
                    preparer.corrupted(table, records, kept, name, how)
                )))
                for name, how in (self._corruptions() if self._wants("corruptions") else ())
            ],
            by=settings.by,
            groups=groups,
            vectors=embed_records(self.engine, records, settings.progress)
            if self._wants("vectors")
            else None,
            outputs=self.parts.outputs,
        )  # fmt: skip

    def _wants(self, check: str) -> bool:
        return check in self.settings.checks

    def _rows(self, opened: Table) -> tuple[Table, dict[str, ColumnName]]:
        """The table's records that are to be scored, and their columns."""
        settings = self.settings
        recipe = self.recipe.with_columns(settings.columns)
        table, columns = open_table(recipe, self.parts, opened, settings.columns)
        if settings.by is not None:
            opened.column(settings.by)  # raises if there is none
            if settings.by not in table.columns:
                raise UsageError(
                    f"rows of {opened.path} that are one record differ in column {settings.by!r}",
                    expected="a column that is the same in all rows of a record",
                )
        if settings.split is not None:
            if settings.split == "val" and recipe.training.refit:
                log.warning("the model learned from the validation rows too (training.refit)")
            which = rows_of_split(recipe, self.parts, table, columns, settings.split)
            table = table.where(which)
        elif not opened.records and not self.memory:
            warn_of_learned(recipe, self.parts, table, columns)
        if not opened.records:
            warn_of_unread(self.parts, table, columns)
        return table, columns

    def _unseen(
        self, preparer: Preparer, records: Records, table: Table, rows: list[int]
    ) -> tuple[Records, list[int]]:
        """Without the records that the model learned from or was chosen by, unless the user asks
        for them; either way a warning counts them."""
        digests = preparer.digests(records, table, rows)
        counts = self.memory.count(digests)
        if not counts:
            return records, rows
        what = " and ".join(f"{how} {count:,}" for how, count in counts.items())
        if self.settings.include_training or self.settings.split in ("train", "val"):
            log.warning("of these %s records, the model %s", f"{len(rows):,}", what)
            return records, rows
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
        return records.where(unseen), [rows[at] for at in unseen]

    def _corruptions(self) -> list[tuple[str, Corruption]]:
        return [
            (name, Corruption(kind, strength))
            for name, modality in self.parts.modalities.items()
            for kind in modality.corruptions
            for strength in STRENGTHS
        ]


@dataclass(frozen=True)
class _Scored:
    """Predicts the same records in several ways, and scores each."""

    evaluator: Evaluator
    references: Mapping[str, list[Any]]

    @cached_property
    def options(self) -> Mapping[str, Any]:
        """How answers are found."""
        return decoding_options(self.evaluator.parts, **self.evaluator.settings.decoding)

    def predict(self, records: Records, shares: bool = False) -> Predictions:
        """Every record's predictions."""
        parts, progress = self.evaluator.parts, self.evaluator.settings.progress
        return predict_records(
            parts, self.evaluator.engine, records, self.options, shares, progress
        )

    def scores(self, predictions: Predictions) -> dict[str, Any]:
        """By output, with intervals."""
        if self.evaluator.settings.progress:
            self.evaluator.settings.progress("scores", 0, 1)  # some take seconds to start
        outputs = self.evaluator.parts.outputs
        return {n: out.scores(predictions[n], self.references[n]) for n, out in outputs.items()}

    def scorers(self, predictions: Predictions) -> dict[str, Scorer]:
        """By output, of any choice of the records."""
        outputs = self.evaluator.parts.outputs
        return {n: out.scorer(predictions[n], self.references[n]) for n, out in outputs.items()}

    def ablation(self, records: Records, whole: Mapping[str, Scorer]) -> Ablation:
        """The scores of other versions of the records, and how much lower they are than those of
        the ``whole`` ones."""
        predictions = self.predict(records)
        then = self.scorers(predictions)
        lost = {
            name: Drop.between(output.best_metrics[0], whole[name], then[name], len(records))
            for name, output in self.evaluator.parts.outputs.items()
        }
        return Ablation(predictions, self.scores(predictions), lost)


def _cells(table: Table, column: ColumnName | None, rows: Sequence[int]) -> list[Any]:
    """A column's cells of these rows; None for an output without a column."""
    if column is None:
        return [None] * len(rows)
    cells = table.column(column)
    return [cells[row] for row in rows]


def _subsets(names: Sequence[str]) -> list[tuple[str, ...]]:
    """All but the empty one, the single inputs first."""
    return [s for size in range(1, len(names) + 1) for s in combinations(names, size)]
