"""A trained model: predict, evaluate, save, load. It cannot exist untrained.

model = plait.load("captioner")
model.predict("photo.jpg").value
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from plait.cards import write_card
from plait.data.cache import digest
from plait.data.splits import split_rows
from plait.data.tables import Table, group_captions, guess_column, read_table
from plait.evaluation import evaluate_records
from plait.features import (
    BadCells,
    CachedRecords,
    OnBad,
    PreparedInput,
    Progress,
    fill_cache,
    is_missing,
)
from plait.files import write_atomically
from plait.network import Batch, Network, Parts, build_network, build_parts
from plait.package import Package, fingerprint, read_package, write_package
from plait.recipe import Recipe, load_recipe
from plait.training import Report, Trainer
from plait.types import BadCell, PlaitError, Prediction, State, UsageError

PREDICT_BATCH = 32


class Model:
    """A trained network with everything that it learned from its table.

    Attributes:
        recipe: with every default resolved.
        states: what each input and output learned from its column.
        scores: the scores it was saved with.
    """

    def __init__(
        self,
        recipe: Recipe,
        states: Mapping[str, State],
        network: Network,
        scores: Mapping[str, Any],
    ) -> None:
        self.recipe, self.states, self.scores = recipe, states, scores
        self.parts: Parts = build_parts(recipe)
        self.network = network.eval()
        self.device = next(network.parameters()).device

    @property
    def output(self) -> str:
        """The name of the only (or first) output."""
        return next(iter(self.recipe.outputs))

    def predict(self, record: Any, *, root: str | Path = ".", **options: Any) -> Prediction:
        """One record's answer.

        Args:
            record: a mapping from input name to cell, or the cell itself where the model has
                one input: a path, or a file's bytes.
            root: relative paths start here.
            options: of the output's decoding, such as ``beam=5``, ``num=3``, ``sample=True``.

        Raises:
            BadCell: the cell can't be used; the message names it.
        """
        return next(iter(self.predict_many([record], root=root, **options)))

    def predict_many(
        self,
        records: Iterable[Any],
        *,
        root: str | Path = ".",
        bad: BadCells | None = None,
        first_row: int = 0,
        **options: Any,
    ) -> Iterator[Prediction]:
        """Answers in the records' order, made in batches.

        With ``bad`` of policy ``skip`` or ``missing``, records with a bad cell answer as if the
        input were missing, and are named in ``bad`` (rows count from ``first_row``); without,
        they raise.
        """
        todo = [self._as_record(record) for record in records]
        for start in range(0, len(todo), PREDICT_BATCH):
            batch = self._batch(
                todo[start : start + PREDICT_BATCH], Path(root), first_row + start, bad
            )
            found = self.network.predict(batch.to(self.device), **options)
            yield from found[self.output]

    def _as_record(self, record: Any) -> Mapping[str, Any]:
        names = list(self.recipe.inputs)
        if not isinstance(record, Mapping):
            if len(names) > 1:
                raise UsageError(f"the model takes {', '.join(names)}", expected="a mapping")
            return {names[0]: record}
        unknown = set(record) - set(names)
        if unknown:
            raise UsageError(
                f"unknown input {', '.join(sorted(unknown))}", expected=", ".join(names)
            )
        return record

    def _batch(
        self, records: Sequence[Mapping[str, Any]], root: Path, start: int, bad: BadCells | None
    ) -> Batch:
        prepared, present = {}, {}
        for name in self.recipe.inputs:
            source = self.source(name, root)
            cells = [record.get(name) for record in records]
            there = [row for row, cell in enumerate(cells) if not is_missing(cell)]
            values: dict[int, Any] = {}
            outcomes = source.prepare([(cells[row], 0) for row in there], self.device)
            for row, outcome in zip(there, outcomes, strict=True):
                if not isinstance(outcome, BadCell):
                    values[row] = outcome
                elif bad is None:
                    raise outcome
                else:
                    bad.meet(start + row, name, outcome)
            rows = np.zeros((len(records), *source.shape(self.device)), np.float16)
            for row, value in values.items():
                rows[row] = value
            prepared[name] = torch.from_numpy(rows).float()
            present[name] = torch.tensor([row in values for row in range(len(records))])
        return Batch(prepared, present, {})

    def source(self, name: str, root: Path) -> PreparedInput:
        """Reads and prepares the cells of an input."""
        return PreparedInput(
            name,
            self.parts.modalities[name],
            self.network.encoder(name),
            self.states[f"inputs.{name}"],
            root,
        )

    def evaluate(
        self,
        table: Table | str | Path,
        *,
        split: str | None = None,
        on_bad: OnBad = "stop",
        progress: Progress | None = None,
        **options: Any,
    ) -> Evaluation:
        """Free-running scores over a table, against all references."""
        rows, columns = open_table(self.recipe, self.parts, table)
        if split is not None:
            rows = rows.where(rows_of_split(self.recipe, rows, columns, split))
        bad = BadCells(on_bad)
        records, kept = prepare_records(
            self.parts, self.states, self.network, rows, columns, bad, progress, views=False
        )
        found = evaluate_records(self.network, records, PREDICT_BATCH, self.device, **options)
        references = {
            name: [output.reference(rows.column(columns[f"outputs.{name}"])[row]) for row in kept]
            for name, output in self.parts.outputs.items()
        }
        scores = {
            name: output.metrics(found[name], references[name])
            for name, output in self.parts.outputs.items()
        }
        return Evaluation(rows, columns, kept, found, references, scores, bad.problems)

    def save(self, folder: str | Path, *, half: bool = False) -> Path:
        """Write the package; ``half`` keeps the weights as float16, half the size."""
        tensors = {
            name: (value.half() if half and value.is_floating_point() else value)
            .detach()
            .cpu()
            .contiguous()
            for name, value in self.network.state_dict().items()
        }
        path = Path(folder)
        write_package(
            path,
            self.recipe,
            self.states,
            tensors,
            self.scores,
            preprocessing(self.parts, self.states),
            write_card(self.recipe, self.scores),
        )
        return path


class Evaluation:
    """What `Model.evaluate` found: predictions, references and scores, row by row."""

    def __init__(
        self,
        table: Table,
        columns: Mapping[str, str],
        rows: Sequence[int],
        predictions: Mapping[str, list[Prediction]],
        references: Mapping[str, list[Any]],
        scores: Mapping[str, Any],
        problems: Sequence[str],
    ) -> None:
        self.table, self.columns, self.rows = table, columns, rows
        self.predictions, self.references = predictions, references
        self.scores, self.problems = scores, problems

    def to_json(self) -> dict[str, Any]:
        """The scores of every output, the number of records, and the bad cells."""
        return {
            "records": len(self.rows),
            "bad": list(self.problems),
            "scores": {name: scores.to_json() for name, scores in self.scores.items()},
        }


def load(name_or_path: str | Path) -> Model:
    """A model that comes with plait, or a package's folder.

    Raises:
        PlaitError: the package is incomplete, of another version, or its preprocessing is not
            what this plait would do.
    """
    package = read_package(name_or_path)
    parts = build_parts(package.recipe)
    now = preprocessing(parts, package.states)
    if now != package.preprocessing:
        raise PlaitError(
            f"the package {package.folder} was made with another preprocessing",
            expected=f"fingerprint {now}, it has {package.preprocessing}",
            mend="install the plait that made it, or train it again",
        )
    network = build_network(package.recipe, parts, package.states, pretrained=False)
    network.load_state_dict(_tensors(package))
    return Model(package.recipe, package.states, network, package.scores)


def _tensors(package: Package) -> dict[str, Tensor]:
    try:
        tensors = load_file(package.folder / "weights.safetensors")
    except Exception as error:  # safetensors has its own error class a version
        raise PlaitError(
            f"the weights of {package.folder} are damaged: {error}", mend="copy the package again"
        ) from None
    return {k: v.float() if v.dtype == torch.float16 else v for k, v in tensors.items()}


def preprocessing(parts: Parts, states: Mapping[str, State]) -> str:
    """Digest of how every input is read."""
    return fingerprint(
        {name: m.fingerprint(states[f"inputs.{name}"]) for name, m in parts.modalities.items()}
    )


# Training -----------------------------------------------------------------------------------


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
    model = Model(checked, states, trainer.run(), {})
    model.scores = {
        "validation": model.evaluate(rows.where(splits["val"]), on_bad=bad.policy).to_json(),
        "trained": {
            "records": len(kept),
            "best": trainer.progress.best_at,
            "seconds": round(trainer.progress.seconds),
        },
    }
    model.save(out)
    return model


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


def open_table(
    recipe: Recipe, parts: Parts, table: Table | str | Path
) -> tuple[Table, dict[str, str]]:
    """The table, one row a record, and the columns of the recipe's inputs and outputs."""
    rows = table if isinstance(table, Table) else read_table(table)
    columns = choose_columns(recipe, rows)
    for name, output in parts.outputs.items():
        if output.several and len(parts.modalities) == 1:
            given = columns[f"inputs.{next(iter(parts.modalities))}"]
            rows = group_captions(rows, given, columns[f"outputs.{name}"])
    return rows, columns


def choose_columns(recipe: Recipe, table: Table) -> dict[str, str]:
    """ "inputs.NAME" and "outputs.NAME" -> column: named in the recipe, called so, or guessed."""
    inputs = choose_input_columns(recipe, table)
    outputs = {f"outputs.{n}": (n, s.column, s.kind) for n, s in recipe.outputs.items()}
    return {f"inputs.{n}": c for n, c in inputs.items()} | _choose(table, outputs)


def choose_input_columns(recipe: Recipe, table: Table) -> dict[str, str]:
    """Input name -> column."""
    specs = {f"inputs.{n}": (n, s.column, s.modality) for n, s in recipe.inputs.items()}
    chosen = _choose(table, specs)
    return {path.removeprefix("inputs."): column for path, column in chosen.items()}


def _choose(table: Table, specs: Mapping[str, tuple[str, str | None, str]]) -> dict[str, str]:
    chosen: dict[str, str] = {}
    for path, (name, column, kind) in specs.items():
        if column is not None:
            table.column(column)  # raises a clear error when it isn't there
            chosen[path] = column
        elif name in table.columns:
            chosen[path] = name
        else:
            guess = guess_column(table, cast(Any, kind))
            if guess is None:
                raise UsageError(
                    f"no column of {table.path} looks like {kind}",
                    expected=f"one of: {', '.join(table.columns)}",
                    mend=f"name it with --set {path}.column=NAME",
                )
            chosen[path] = guess
    return chosen


def split_table(recipe: Recipe, table: Table, columns: Mapping[str, str]) -> dict[str, list[int]]:
    """train, val and test rows."""
    image = next((columns[f"inputs.{n}"] for n in recipe.inputs), None)
    column = recipe.data.split or (
        guess_column(table, "split") if recipe.data.group is None else None
    )
    found = split_rows(
        table,
        column=column,
        ratios=recipe.data.ratios,
        group=recipe.data.group,
        image=image,
        seed=recipe.seed,
    )
    return {str(name): rows for name, rows in found.items()}


def rows_of_split(
    recipe: Recipe, table: Table, columns: Mapping[str, str], split: str
) -> list[int]:
    """The rows of train, val or test, split as training would."""
    splits = split_table(recipe, table, columns)
    if split not in splits:
        raise UsageError(f"there is no split {split!r}", expected="train, val or test")
    if not splits[split]:
        raise UsageError(f"the split {split!r} of {table.path} has no rows")
    return splits[split]


def learn_states(
    parts: Parts, table: Table, columns: Mapping[str, str], bad: BadCells
) -> dict[str, State]:
    """What every input and output learns from the training rows."""
    states: dict[str, State] = {}
    for name, modality in parts.modalities.items():
        cells = table.column(columns[f"inputs.{name}"])
        states[f"inputs.{name}"] = modality.learn(cells, table.root)
    for name, output in parts.outputs.items():
        cells = table.column(columns[f"outputs.{name}"])
        states[f"outputs.{name}"] = output.learn(cells)
    return states


def prepare_records(
    parts: Parts,
    states: Mapping[str, State],
    network: Network,
    table: Table,
    columns: Mapping[str, str],
    bad: BadCells,
    progress: Progress | None,
    *,
    views: bool,
) -> tuple[CachedRecords, list[int]]:
    """Cached records of a table, and the rows that they come from (bad ones left out)."""
    device = next(network.parameters()).device
    network.eval()
    inputs = {}
    for name, modality in parts.modalities.items():
        source = PreparedInput(
            name, modality, network.encoder(name), states[f"inputs.{name}"], table.root
        )
        cells = table.column(columns[f"inputs.{name}"])
        count = modality.views if views else 1
        space, keys = fill_cache(source, cells, count, bad, device, progress)
        inputs[name] = (space, keys, count)
    targets = {
        name: _targets(output, states[f"outputs.{name}"], table, columns[f"outputs.{name}"], bad)
        for name, output in parts.outputs.items()
    }
    rows = _usable(inputs, targets, len(table), bad.policy)
    return (
        CachedRecords(
            {n: (space, [keys[r] for r in rows], c) for n, (space, keys, c) in inputs.items()},
            {name: [values[r] for r in rows] for name, values in targets.items()},
            len(rows),
        ),
        rows,
    )


def _targets(output: Any, state: State, table: Table, column: str, bad: BadCells) -> list[Any]:
    read = output.reader(state)
    targets: list[Any] = []
    for row, cell in enumerate(table.column(column)):
        try:
            targets.append(read(cell))
        except BadCell as error:
            bad.meet(row, column, error)
            targets.append(None)
    return targets


def _usable(
    inputs: Mapping[str, Any], targets: Mapping[str, list[Any]], count: int, policy: OnBad
) -> list[int]:
    """Rows with all targets and, unless bad cells count as missing, all their inputs."""
    rows = []
    for row in range(count):
        there = [keys[row] is not None for _, keys, _ in inputs.values()]
        wanted = all(there) if policy == "skip" else any(there)
        if wanted and all(values[row] is not None for values in targets.values()):
            rows.append(row)
    return rows


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
