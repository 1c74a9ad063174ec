"""Scores a model on a table: free-running predictions against all references."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations, product, starmap
from typing import Any

from plait.config.recipe import Recipe
from plait.data.cells import ErrorPolicy, OnBad
from plait.data.tables import Table
from plait.evaluation.predictions import (
    Predictions,
    decoding_options,
    embed_records,
    predict_records,
    read_references,
)
from plait.evaluation.results import Ablation, Corrupted, Drop, Evaluation, Seen, score_groups
from plait.outputs.base import Output
from plait.outputs.scores import Metrics, Scorer
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
CHECKS = ("subsets", "shares", "corruptions", "swapped", "vectors", "slow_metrics")
"""What an evaluation can do beside the scores, see `Model.evaluate`."""

log = logging.getLogger("plait")


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
    checks: Collection[str]
    on_bad: OnBad
    include_training: bool
    progress: Progress | None
    decoding: Mapping[str, Any]

    def run(self, opened: Table) -> Evaluation:
        """The scores of a table's records, and what else the settings ask for; raises as
        `Model.evaluate`."""
        outputs, names = self.parts.outputs, list(self.parts.modalities)
        table, columns = self._open(opened)
        policy = ErrorPolicy(self.on_bad)
        preparer = Preparer(self.parts, self.engine, columns, policy, self.progress)
        records, kept = preparer.prepare(table, views=False)
        if not kept:
            raise nothing_left("can be scored", policy)
        seen = None
        if not opened.records and self.memory:
            records, kept, seen = self._unseen(preparer, records, table, kept)
        predict = partial(
            predict_records, self.parts, self.engine, progress=self.progress,
            options=decoding_options(self.parts, **self.decoding),
        )  # fmt: skip
        references = read_references(outputs, table, columns, kept)
        scoring = _Scoring(outputs, references, self.progress)
        predictions = predict(records, shares="shares" in self.checks)
        scorers = scoring.scorers(predictions)
        found = Evaluation(
            table, columns, kept, predictions, references,
            scoring.scores(predictions, "slow_metrics" in self.checks),
            policy.failures, by=self.by, outputs=outputs, seen=seen,
        )  # fmt: skip
        if self.by is not None:
            cells = table.column(self.by)
            set_metrics = {name: output.scored_by.set_metrics for name, output in outputs.items()}
            found.groups = score_groups(scorers, [cells[row] for row in kept], set_metrics)
        if "subsets" in self.checks:
            fewer = (s for size in range(1, len(names)) for s in combinations(names, size))
            found.subsets = {
                subset: scoring.ablation(predict(records.with_inputs(subset)), scorers)
                for subset in fewer
            } | {tuple(names): Ablation(predictions, found.scores, {})}
        if "swapped" in self.checks:
            found.swapped = {
                name: scoring.ablation(predict(records.with_swapped(name)), scorers)
                for name in names
            }
        if "corruptions" in self.checks:
            found.corrupted = [
                Corrupted(name, how, scoring.scores(predict(
                    preparer.corrupted(table, records, kept, name, how)
                )))
                for name, modality in self.parts.modalities.items()
                for how in starmap(Corruption, product(modality.corruptions, STRENGTHS))
            ]  # fmt: skip
        if "vectors" in self.checks:
            found.vectors = embed_records(self.engine, records, self.progress)
        return found

    def _open(self, opened: Table) -> tuple[Table, dict[str, ColumnName]]:
        """The table's records that are to be scored, and their columns."""
        recipe = self.recipe.with_columns(self.columns)
        table, columns = open_table(recipe, self.parts, opened, self.columns)
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
            which = rows_of_split(recipe, self.parts, table, columns, self.split)
            table = table.where(which)
        elif not opened.records and not self.memory:
            warn_of_learned(recipe, self.parts, table, columns)
        if not opened.records:
            warn_of_unread(self.parts, table, columns)
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
        lost = {
            name: Drop.between(
                output.scored_by.best_metrics[0], whole[name], scorers[name], len(predictions[name])
            )
            for name, output in self.outputs.items()
        }
        return Ablation(predictions, self.scores(predictions), lost)
