"""From a recipe and a table to a package: everything that training a model takes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from plait.data.cache import digest
from plait.data.tables import Table
from plait.features import BadCells, OnBad, Progress
from plait.files import write_atomically
from plait.model import Model
from plait.network import Network, Parts, build_network, build_parts
from plait.recipe import Recipe, load_recipe
from plait.records import learn_states, open_table, prepare_records, split_table
from plait.training import Report, Trainer
from plait.types import PlaitError, Prediction, UsageError


def train(
    recipe: Recipe | str,
    table: Table | str | Path,
    out: str | Path,
    *,
    overrides: Iterable[str] = (),
    on_bad: OnBad | None = None,
    progress: Progress | None = None,
    report: Report | None = None,
    shown: Any = None,
) -> Model:
    """Train a recipe on a table and keep the package in ``out``.

    The run's folder is ``out``.run beside it: called again after a kill, it goes on from there.

    Args:
        recipe: a recipe, a shipped recipe's name or a YAML file.
        table: a table, or what `read_table` takes.
        out: the package's folder.
        overrides: ``path=value`` settings.
        on_bad: what to do with cells that can't be used; the recipe's when None.
        progress: called while features are computed.
        report: called with every line of the training log.
        shown: called once with the columns and the size of each split.
    """
    checked = load_recipe(recipe, overrides) if isinstance(recipe, str) else recipe
    parts = build_parts(checked)
    rows, columns = open_table(checked, parts, table)
    splits = split_table(checked, rows, columns)
    if shown:
        shown(columns, {name: len(indexes) for name, indexes in splits.items()})
    bad = BadCells(on_bad or checked.data.on_bad)
    train_rows, val_rows = rows.where(splits["train"]), rows.where(splits["val"])
    states = learn_states(parts, train_rows, columns, bad)
    network = build_network(checked, parts, states)
    records, kept = prepare_records(
        parts, states, network, train_rows, columns, bad, progress, views=True
    )
    if not kept:
        raise PlaitError("no training record is left", mend="look at the bad cells above")
    val, val_kept = prepare_records(
        parts, states, network, val_rows, columns, bad, progress, views=False
    )
    if not val_kept:
        raise PlaitError("no validation record is left", mend="give the val split some rows")
    folder = run_folder(Path(out), checked, rows)
    scorer = Scorer(parts, val_rows, columns, val_kept)
    trainer = Trainer(checked, network, records, val, scorer, scorer.metric, folder, report)
    network = trainer.run()
    if checked.training.weights == "float16":
        round_weights(network)  # what is scored is what is kept
    model = Model(checked, states, network, {})
    model.scores = {
        "validation": model.evaluate(rows.where(splits["val"]), on_bad=bad.policy).to_json(),
        "trained": {
            "records": len(kept),
            "best": trainer.progress.best_at,
            "seconds": round(trainer.progress.seconds),
        },
    }
    model.save(out, half=checked.training.weights == "float16")
    return model


@torch.no_grad()
def round_weights(network: Network) -> None:
    """Round all weights to float16, as the package keeps them."""
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.copy_(value.half())


class Scorer:
    """Scores predictions of the validation records for early stopping: quick, no intervals."""

    def __init__(
        self, parts: Parts, table: Table, columns: Mapping[str, str], rows: Sequence[int]
    ) -> None:
        self.outputs = parts.outputs
        self.references = {
            name: [output.reference(table.column(columns[f"outputs.{name}"])[r]) for r in rows]
            for name, output in parts.outputs.items()
        }
        first = next(iter(self.outputs))
        self.metric = self.outputs[first].best_metric

    def __call__(self, predictions: Mapping[str, list[Prediction]]) -> dict[str, float]:
        """Metric -> value; the first output's under their own names."""
        name = next(iter(self.outputs))
        return self.outputs[name].quick_metrics(predictions[name], self.references[name])


def run_folder(out: Path, recipe: Recipe, table: Table) -> Path:
    """The run's folder; refused when it holds a run of another recipe or table."""
    folder = out.with_name(f"{out.name}.run")
    what = json.dumps({"recipe": recipe.model_dump(mode="json"), "table": table_digest(table)})
    path = folder / "run.json"
    if path.is_file() and path.read_text() != what:
        raise UsageError(
            f"{folder} holds a run of another recipe or table",
            mend=f"remove {folder}, or name another package with --out",
        )
    write_atomically(path, lambda part: part.write_text(what))
    return folder


def table_digest(table: Table) -> str:
    """Changes when a cell of the table does (not when a file that it names does)."""
    return digest(json.dumps(table.columns, default=repr, sort_keys=True))
