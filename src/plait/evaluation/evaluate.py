"""Scores a model on a table: free-running predictions against all references."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
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
from plait.evaluation.results import Ablation, Corrupted, Drop, Evaluation, score_groups
from plait.outputs.base import Output
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
    """One evaluation of a model (its recipe, fitted parts, engine and memory) on a table."""

    recipe: Recipe
    parts: Parts
    engine: Engine
    memory: Memory
    settings: Settings

    def run(self, opened: Table) -> Evaluation:
        """The scores of a table's records, and what else the settings ask for; raises as
        `Model.evaluate`."""
        settings, outputs, names = self.settings, self.parts.outputs, list(self.parts.modalities)
        table, columns = self._open(opened)
        policy = ErrorPolicy(settings.on_bad)
        preparer = Preparer(self.parts, self.engine, columns, policy, settings.progress)
        records, kept = preparer.prepare(table, views=False)
        if not kept:
            raise nothing_left("can be scored", policy)
        if not opened.records:
            records, kept = self._unseen(preparer, records, table, kept)
        predict = partial(
            predict_records, self.parts, self.engine, progress=settings.progress,
            options=decoding_options(self.parts, **settings.decoding),
        )  # fmt: skip
        references = read_references(outputs, table, columns, kept)
        scoring = _Scoring(outputs, references, settings.progress)
        predictions = predict(records, shares="shares" in settings.checks)
        scorers = scoring.scorers(predictions)
        found = Evaluation(
            table, columns, kept, predictions, references, scoring.scores(predictions),
            policy.failures, by=settings.by, outputs=outputs,
        )  # fmt: skip
        if settings.by is not None:
            cells = table.column(settings.by)
            set_metrics = {name: output.set_metrics for name, output in outputs.items()}
            found.groups = score_groups(scorers, [cells[row] for row in kept], set_metrics)
        if "subsets" in settings.checks:
            fewer = (s for size in range(1, len(names)) for s in combinations(names, size))
            found.subsets = {
                subset: scoring.ablation(predict(records.with_inputs(subset)), scorers)
                for subset in fewer
            } | {tuple(names): Ablation(predictions, found.scores, {})}
        if "swapped" in settings.checks:
            found.swapped = {
                name: scoring.ablation(predict(records.with_swapped(name)), scorers)
                for name in names
            }
        if "corruptions" in settings.checks:
            found.corrupted = [
                Corrupted(name, how, scoring.scores(predict(
                    preparer.corrupted(table, records, kept, name, how)
                )))
                for name, modality in self.parts.modalities.items()
                for how in starmap(Corruption, product(modality.corruptions, STRENGTHS))
            ]  # fmt: skip
        if "vectors" in settings.checks:
            found.vectors = embed_records(self.engine, records, settings.progress)
        return found

    def _open(self, opened: Table) -> tuple[Table, dict[str, ColumnName]]:
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


@dataclass(frozen=True)
class _Scoring:
    """Scores the same records, however they were answered."""

    outputs: Mapping[str, Output]
    references: Mapping[str, list[Any]]
    progress: Progress | None

    def scores(self, predictions: Predictions) -> dict[str, Any]:
        """By output, with intervals."""
        if self.progress:
            self.progress("scores", 0, 1)  # some take seconds to start
        return {n: o.scores(predictions[n], self.references[n]) for n, o in self.outputs.items()}

    def scorers(self, predictions: Predictions) -> dict[str, Scorer]:
        """By output, of any choice of the records."""
        return {n: o.scorer(predictions[n], self.references[n]) for n, o in self.outputs.items()}

    def ablation(self, predictions: Predictions, whole: Mapping[str, Scorer]) -> Ablation:
        """The scores of other answers, and how much lower they are than those of the whole ones."""
        scorers = self.scorers(predictions)
        lost = {
            name: Drop.between(
                output.best_metrics[0], whole[name], scorers[name], len(predictions[name])
            )
            for name, output in self.outputs.items()
        }
        return Ablation(predictions, self.scores(predictions), lost)
