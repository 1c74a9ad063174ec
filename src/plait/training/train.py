"""Trains a recipe on a table, and saves the model as a package."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from plait.config.recipe import Recipe, load_recipe
from plait.data.cells import ErrorPolicy, OnBad
from plait.data.tables import Table
from plait.model import Model, load
from plait.network import Network, Parts, build_network, build_parts
from plait.package.format import check_target
from plait.pipeline.features import CachedRecords, Progress
from plait.pipeline.records import (
    Preparer,
    fit_states,
    nothing_left,
    open_table,
    some_rows,
    split_table,
    warn_of_unread,
)
from plait.training.loop import Report, Trainer, Validation, pick_device
from plait.types import ColumnName, PlaitError, Prediction, State, UsageError
from plait.util.files import make_folder, write_atomically

CALIBRATION_BATCH = 64
FEW = 2000  # records; with fewer, pretrained layers do better frozen
HALF_LARGEST = 65504  # float16's
TOGETHER = "together"

log = logging.getLogger("plait")


def train(
    recipe: Recipe | str,
    table: Table | str | Path,
    out: str | Path,
    *,
    overrides: Iterable[str] = (),
    columns: Mapping[str, ColumnName] | None = None,
    on_bad: OnBad | None = None,
    progress: Progress | None = None,
    report: Report | None = None,
    shown: Any = None,
) -> Model:
    """Train a recipe on a table, and save the model as a package in ``out``.

    The run has the folder ``out``.run beside it; called again after an interruption, it resumes.

    Args:
        recipe: a recipe, a shipped recipe's name or a YAML file.
        table: a table, or an argument of `read_table`.
        out: the folder for the package.
        overrides: settings as ``path=value``, for a recipe given by name.
        columns: input or output -> column, where the guess would be wrong.
        on_bad: what to do with bad cells: ``stop``, ``skip`` or ``missing``; None: as the recipe
            says.
        progress: called while features are computed.
        report: called with each line of the training log.
        shown: called once with the columns and the size of each split.

    Returns:
        The trained model.

    Raises:
        UsageError: the recipe, an override or a column is wrong, or ``out`` is not a package's.
        PlaitError: the table can't be read, or has nothing to learn from.
    """
    checked = load_recipe(recipe, overrides) if isinstance(recipe, str) else recipe
    checked = checked.with_columns(columns or {})
    target = Path(out).absolute()
    check_target(target)
    parts = build_parts(checked)
    rows, taken = open_table(checked, parts, table)
    # Lists of columns are fixed from now on: they are not guessed again from another table.
    checked = checked.with_columns({n: c for n, c in taken.items() if not isinstance(c, str)})
    splits = _splits(checked, parts, rows, taken)
    if shown:
        shown(taken, {name: len(indexes) for name, indexes in splits.items()})
    bad = ErrorPolicy(on_bad or checked.data.on_bad)
    with run_folder(target, checked, rows) as folder:
        states, network = _start(checked, parts, rows.where(splits["train"]), taken)
        warn_of_unread(parts, states, rows, taken)
        preparer = Preparer(parts, states, network, taken, bad, progress)
        records, kept = preparer.prepare(rows.where(splits["train"]), views=True)
        val, val_kept = preparer.prepare(rows.where(splits["val"]), views=False)
        _check_records(records, val, bad, report)
        _check_pretrained(network, len(records))
        scorer = Scorer(checked, parts, rows.where(splits["val"]).where(val_kept), taken)
        validation = Validation(val, scorer, scorer.metrics)
        fresh = deepcopy(network) if checked.training.refit else None
        trainer = Trainer(checked, network, records, validation, folder, report)
        if fresh is None or not trainer.progress.finished:  # otherwise the refit is resumed
            _tell_resumed(trainer, folder, report)
        calibrate(trainer.run(), val)
        half = keep_half(network, checked)
        model = Model(checked, states, network, {})
        found = model.evaluate(rows.where(splits["val"]), columns=taken, on_bad=bad.policy)
        trained: dict[str, Any] = {
            "records": len(kept),
            "left_out": len(splits["train"]) - len(kept),
            "best": trainer.progress.best_at,
            "seconds": round(trainer.progress.seconds, 3),
        }
        if fresh is not None:
            both = rows.where(splits["train"] + splits["val"])
            # Bad cells and unseen labels were reported before.
            quiet = ErrorPolicy("skip" if bad.policy == "stop" else bad.policy)
            again = replace(preparer, network=fresh, bad=quiet)
            records, _ = again.prepare(both, views=True)
            last = trainer.progress.best_epoch
            seconds = _refit(checked, network, fresh, records, last, folder / "refit", report)
            half = keep_half(fresh, checked)
            model = Model(checked, states, fresh, {})
            seconds = round(trained["seconds"] + seconds, 3)
            trained |= {"refit": len(records), "seconds": seconds}
        model.scores = {"validation": found.to_json(), "trained": trained}
        model.save(target, half=half)
    return model


def _refit(
    recipe: Recipe,
    network: Network,
    fresh: Network,
    records: CachedRecords,
    epochs: int,
    folder: Path,
    report: Report | None,
) -> float:
    """Train a fresh network on all records, and return the seconds it took. It takes over the
    calibration of ``network``, which was done on records that were not used for training."""
    make_folder(folder)
    trainer = Trainer(recipe, fresh, records, None, folder, report, epochs)
    _tell_resumed(trainer, folder, report, refit=True)
    if report and not trainer.progress.finished:
        report({"event": "refit", "records": len(records), "epochs": epochs})
    trainer.run()
    for name in recipe.outputs:
        # A head's buffers are its calibration.
        calibrated = dict(network.head(name).named_buffers())
        fresh.head(name).load_state_dict(calibrated, strict=False)
    return trainer.progress.seconds


def _tell_resumed(
    trainer: Trainer, folder: Path, report: Report | None, refit: bool = False
) -> None:
    if trainer.resumed and report:
        at = trainer.progress
        report({"event": "resumed", "folder": str(folder), "refit": refit, "epoch": at.epoch,
                "step": at.step, "finished": at.finished})  # fmt: skip


def _start(
    recipe: Recipe, parts: Parts, table: Table, columns: Mapping[str, ColumnName]
) -> tuple[dict[str, State], Network]:
    """The states fitted to the columns, and the network; or both from a trained model."""
    if recipe.training.start is None:
        states = fit_states(recipe, parts, table, columns)
        return states, build_network(recipe, parts, states).to(pick_device())
    start = recipe.training.start
    model = load(start)
    try:
        network = build_network(recipe, parts, model.states, pretrained=False)
        network.load_state_dict(model.network.state_dict())
    except (KeyError, RuntimeError) as error:  # a part that is missing or has another size
        raise UsageError(
            f"training.start: the weights of {start} don't fit the recipe: "
            + " ".join(str(error).split())[:300],
            expected=f"its parts, {', '.join(sorted(model.states))}, of the same sizes",
            hint=f"start from the recipe of {start}, its recipe.yaml",
        ) from None
    return dict(model.states), network.to(pick_device())


def _splits(
    recipe: Recipe, parts: Parts, table: Table, columns: Mapping[str, ColumnName]
) -> dict[str, list[int]]:
    splits = split_table(recipe, parts, table, columns)
    for name in ("train", "val"):
        if not splits[name]:
            raise PlaitError(
                f"{table.path} has no {name} rows",
                expected="rows for training (train) and for choosing the best weights (val)",
                hint="add a split column, or set data.ratios",
            )
    return splits | {"train": some_rows(splits["train"], recipe.data.rows, recipe.seed)}


def _check_records(
    train: CachedRecords, val: CachedRecords, bad: ErrorPolicy, report: Report | None
) -> None:
    """Report what was left out; raise PlaitError if nothing remains."""
    if report and bad.failures:
        report({"event": "bad", "count": len(bad.failures), "problems": bad.failures})
    for name, records in (("training", train), ("validation", val)):
        if not len(records):
            raise nothing_left(f"is left for {name}", bad)
    for name, (_, keys, _) in train.inputs.items():
        if not any(keys):
            raise PlaitError(
                f"no training record has the input {name!r}",
                expected="at least one",
                hint="fix its column, or remove the input from the recipe",
            )


def _check_pretrained(network: Network, count: int) -> None:
    """Warn if pretrained layers are trained on few records."""
    if count < FEW and any(p.requires_grad for p in network.pretrained_parameters()):
        log.warning(
            "%d training records are few for training pretrained layers: "
            "the default, train: frozen, is probably better", count,
        )  # fmt: skip


@torch.no_grad()
def calibrate(network: Network, records: CachedRecords) -> None:
    """Calibrate every output on the validation records."""
    network.eval()
    device = next(network.parameters()).device
    for name, targets in records.targets.items():
        batches = (batch.to(device) for batch in records.batches(CALIBRATION_BATCH))
        network.head(name).calibrate((network.fuse(batch) for batch in batches), targets)


@torch.no_grad()
def keep_half(network: Network, recipe: Recipe) -> bool:
    """Round all weights to float16 if the package stores them so, so that the scores are those of
    the stored model. If any weight is too large for float16, all are left alone."""
    values = [v for v in network.state_dict().values() if v.is_floating_point()]
    fits = all(bool(v.abs().max() < HALF_LARGEST) for v in values if v.numel())
    if recipe.training.weights != "float16" or not fits:
        return False
    for value in values:
        value.copy_(value.half())
    return True


class Scorer:
    """Scores predictions on the validation records for early stopping: fast, without intervals.

    With several outputs, the best weights have the best weighted mean of the outputs' first
    metrics. These are 1 for perfect answers and about 0 for uninformed ones; values below 0 count
    as 0, so that an output that learns nothing doesn't decide for the others.

    Attributes:
        metrics: the deciding metrics, in order, with their titles.
    """

    def __init__(
        self, recipe: Recipe, parts: Parts, table: Table, columns: Mapping[str, ColumnName]
    ) -> None:
        self.outputs = parts.outputs
        self.weights = {name: spec.weight for name, spec in recipe.outputs.items()}
        self.references = {
            name: [
                output.reference(cell, table.root)
                for cell in table.column(columns[f"outputs.{name}"])
            ]
            for name, output in parts.outputs.items()
        }
        self.all = np.arange(len(table))
        self.metrics = self._metrics()

    def _metrics(self) -> dict[str, str]:
        first, *others = self.outputs.values()
        if not others:
            return {metric: first.titles[metric] for metric in first.best_metrics}
        each = {
            f"{name}.{output.best_metrics[0]}": f"{name} {output.titles[output.best_metrics[0]]}"
            for name, output in self.outputs.items()
        }
        return {TOGETHER: TOGETHER, **each}

    def __call__(self, predictions: Mapping[str, list[Prediction]]) -> dict[str, float]:
        """Metric -> value; with several outputs, ``NAME.METRIC`` and ``together``."""
        found = {
            name: output.scorer(predictions[name], self.references[name])(self.all)
            for name, output in self.outputs.items()
        }
        if len(found) == 1:
            return found[next(iter(found))]
        each = {f"{n}.{metric}": v for n, scores in found.items() for metric, v in scores.items()}
        return {TOGETHER: self._together(found), **each}

    def _together(self, found: Mapping[str, Mapping[str, float]]) -> float:
        firsts = {name: found[name][o.best_metrics[0]] for name, o in self.outputs.items()}
        total = sum(self.weights[name] * max(value, 0.0) for name, value in firsts.items())
        return total / sum(self.weights.values())


@contextmanager
def run_folder(out: Path, recipe: Recipe, table: Table) -> Iterator[Path]:
    """The run's folder, locked.

    A run without a checkpoint has nothing to lose, and is restarted.

    Raises:
        UsageError: the folder has a run of another recipe or table, or another process uses it.
    """
    folder = out.with_name(f"{out.name}.run")
    what = json.dumps({"recipe": recipe.model_dump(mode="json"), "table": table_digest(table)})
    path = folder / "run.json"
    make_folder(folder)
    try:
        with FileLock(folder / "lock", timeout=0):
            begun = path.is_file() and (folder / "checkpoint.pt").is_file()
            if begun and path.read_text() != what:
                raise UsageError(
                    f"{folder} contains a run of another recipe or table",
                    hint=f"remove {folder}, or choose another --out",
                )
            write_atomically(path, lambda part: part.write_text(what))
            yield folder
    except Timeout:
        raise UsageError(
            f"another process is training in {folder}", hint="wait for it, or choose another --out"
        ) from None


def table_digest(table: Table) -> str:
    """A digest of the table's cells (not of the files that they name)."""
    state = hashlib.blake2b(digest_size=16)
    for name, cells in table.columns.items():
        state.update(name.encode())
        for cell in cells:
            state.update(cell if isinstance(cell, bytes) else repr(cell).encode())
            state.update(b"\0")
    return state.hexdigest()
