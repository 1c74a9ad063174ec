"""Trains a recipe on a table, and saves the model as a package."""

from __future__ import annotations

import json
import logging
import platform
import shlex
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from importlib.metadata import PackageNotFoundError, version
from itertools import zip_longest
from operator import or_
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

import plait
from plait.config import registry
from plait.config.recipe import Recipe, load_recipe
from plait.data.cells import ErrorPolicy, OnBad
from plait.data.tables import Table, as_table
from plait.model import Model, load_model
from plait.network import Network, TorchEngine, build_network
from plait.package.format import Memory, check_target, package_digest
from plait.package.weights import pack, unpack
from plait.pipeline.engine import Parts, build_parts
from plait.pipeline.records import (
    Preparer,
    Records,
    file_keys,
    fit_parts,
    nothing_left,
    open_table,
    some_rows,
    split_table,
    warn_of_unread,
)
from plait.render.progress import Progress
from plait.training.estimators import Fitter
from plait.training.loop import Report, Scorer, Trainer, pick_device
from plait.training.sources import Learned, Mixture, with_sources
from plait.types import ColumnName, PlaitError, UsageError, column_names
from plait.util.arguments import checked
from plait.util.files import make_folder, write_atomically

CALIBRATION_BATCH = 64
FEW = 2000  # records; with fewer, pretrained layers do better frozen

GIT_SECONDS = 5
LIBRARIES = ("torch", "numpy", "transformers", "opencv-python-headless")
"""Libraries whose versions may change a result."""

log = logging.getLogger("plait")


@checked
def train(
    recipe: Recipe | str | Path | Mapping[str, Any],
    table: Any,
    out: str | Path,
    *,
    overrides: Iterable[str] = (),
    columns: Mapping[str, ColumnName] | None = None,
    on_bad: OnBad | None = None,
    progress: Progress | None = None,
    report: Report | None = None,
    shown: Callable[[Mapping[str, ColumnName], Mapping[str, int]], None] | None = None,
) -> Model:
    """Train a recipe on a table, and save the model as a package in ``out``.

    The run has the folder ``out``.run beside it; called again after an interruption, it resumes.

    Args:
        recipe: a recipe, a shipped recipe's name, a YAML file, or what such a file holds.
        table: a path as for `read_table`, a `Table`, a data frame, a dictionary of columns, or a
            list of records.
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

    Examples:
        >>> model = plait.train("captioning", "photos.csv", "my-captioner")
        >>> model.predict("photo.jpg").value
        'a cat lies on a couch'
    """
    overrides = list(overrides)
    resolved = recipe if isinstance(recipe, Recipe) else load_recipe(recipe, overrides)
    opened = as_table(table, resolved.data.missing_texts)
    named = recipe if isinstance(recipe, (str, Path)) else f"{resolved.name}.yaml"
    given = table if isinstance(table, (str, Path)) else opened.path
    command = train_command(str(named), str(given), str(out), overrides, columns or {}, on_bad)
    resolved = resolved.with_columns(columns or {})
    target = Path(out).absolute()
    check_target(target)
    parts = build_parts(resolved)
    rows, taken = open_table(resolved, parts, opened)
    # Lists of columns are fixed from now on: they are not guessed again from another table.
    resolved = resolved.with_columns({n: c for n, c in taken.items() if not isinstance(c, str)})
    splits = _splits(resolved, parts, rows, taken)
    mixture = with_sources(resolved, parts, rows, taken, splits)
    rows = mixture.table
    if shown:
        shown(taken, mixture.sizes)
    policy = ErrorPolicy(on_bad or resolved.data.on_bad)
    read = rows.where(sorted({*mixture.splits["train"], *mixture.splits["calibration"]}))
    digests = [each.digest for each in mixture.learned]
    with run_folder(target, resolved, digests, file_keys(parts, read, taken), report) as folder:
        run = _Run(resolved, mixture, taken, folder, policy, progress, report)
        model = run.train(parts)
        model.scores["trained"] |= provenance(mixture.learned, command)
        model.save(target, weights=resolved.training.weights)
    return model


@dataclass(frozen=True)
class _Run:
    """One run of the training, in its own folder: the rows of train and val, and their columns."""

    recipe: Recipe
    mixture: Mixture
    columns: Mapping[str, ColumnName]
    folder: Path
    policy: ErrorPolicy
    progress: Progress | None
    report: Report | None

    def train(self, unfitted: Parts) -> Model:
        """The trained model, scored on the validation rows."""
        recipe, table, splits = self.recipe, self.mixture.table, self.mixture.splits
        train, val = (table.where(splits[name]) for name in ("train", "val"))
        parts, network, past = _start(recipe, unfitted, train, self.columns)
        warn_of_unread(parts, table, self.columns)
        preparer = Preparer(parts, TorchEngine(network), self.columns, self.policy, self.progress)
        records, kept = preparer.prepare(train, views=True)
        records = self._with_sources(records, splits["train"], kept)
        calibrating = table.where(splits["calibration"])  # those of val come first
        calibration_records, calibration_kept = preparer.prepare(calibrating, views=False)
        val_kept = [row for row in calibration_kept if row < len(val)]
        val_records = calibration_records.where(range(len(val_kept)))
        self._check(network, records, val_records)
        own = Memory(
            frozenset(preparer.digests(records, train, kept)),
            frozenset(preparer.digests(calibration_records, calibrating, calibration_kept)),
        )
        if seen := len(own.validation & past.memory.training):
            log.warning(
                "training.start: these models have learned from %s of the %s validation records, "
                "so the scores of these say little about new ones",
                f"{seen:,}", f"{len(own.validation):,}",
            )  # fmt: skip
        memory = own | past.memory
        scorer = Scorer(recipe, parts, val_records, val.where(val_kept), self.columns)
        fresh = deepcopy(network) if recipe.training.refit else None
        trainer = self._learner(network, records, scorer, self.folder)
        if fresh is None or not trainer.progress.finished:  # else the refit is resumed
            self._report_resumed(trainer)
        trainer.run()
        round_weights(network, recipe)  # before probabilities are fitted to what is stored
        calibrate(network, calibration_records)
        round_weights(network, recipe)
        model = Model(recipe, parts, TorchEngine(network))
        evaluation = model.evaluate(val, columns=self.columns, on_bad=self.policy.policy)
        trained: dict[str, Any] = {
            "records": len(kept),
            "left_out": len(train) - len(kept),
            "best": trainer.progress.best_at,
            "seconds": round(trainer.progress.seconds, 3),
        }
        if past.trained:
            trained["start"] = list(past.trained)
        if fresh is not None:
            learned = self._refit(parts, network, fresh, trainer.chosen, trained)
            round_weights(fresh, recipe)
            # What only calibrated it, or chose a start model, was not learned from.
            memory = Memory(memory.training | learned, memory.validation - learned)
            network = fresh
        scores = {"validation": evaluation.to_json(), "trained": trained}
        return Model(recipe, parts, TorchEngine(network), scores, memory)

    def _learner(
        self, network: Network, records: Records, scorer: Scorer | None, folder: Path,
        chosen: Mapping[str, Any] | None = None,
    ) -> Trainer | Fitter:  # fmt: skip
        """What teaches a network these records; without a scorer, as another has ``chosen``."""
        given = chosen or {}
        fusion = registry.build("fusion", self.recipe.fusion)
        if fusion.fitted_at_once:
            data, of = self.recipe.data, records.sources
            each = np.array([data.weight, *(source.weight for source in data.sources.values())])
            weights = None if of is None else each[of]
            return Fitter(network, fusion, records, scorer, folder, self.report, weights, **given)
        return Trainer(self.recipe, network, records, scorer, folder, self.report, **given)

    def _with_sources(self, records: Records, rows: Sequence[int], kept: Sequence[int]) -> Records:
        """The records with their sources: those that are left of these rows of the table."""
        if self.mixture.sources is None:
            return records
        return replace(records, sources=self.mixture.sources[[rows[at] for at in kept]])

    def _check(self, network: Network, train: Records, val: Records) -> None:
        """Name what was left out; stop where nothing remains; warn of pretrained layers that are
        trained on few records."""
        failures = self.policy.failures
        if self.report and failures:
            self.report({"event": "bad", "count": len(failures), "problems": failures})
        for name, records in (("training", train), ("validation", val)):
            if not len(records):
                raise nothing_left(f"is left for {name}", self.policy)
        for name, features in train.inputs.items():
            if not any(features.keys):
                raise PlaitError(
                    f"no training record has the input {name!r}",
                    expected="at least one",
                    hint="fix its column, or remove the input from the recipe",
                )
        if len(train) < FEW and any(p.requires_grad for p in network.pretrained_parameters()):
            log.warning(
                "%d training records are few for training pretrained layers: "
                "the default, train: frozen, is probably better", len(train),
            )  # fmt: skip

    def _refit(
        self,
        parts: Parts,
        network: Network,
        fresh: Network,
        chosen: Mapping[str, Any],
        trained: dict[str, Any],
    ) -> set[int]:
        """Train a fresh network on training and validation records together. It takes over the
        calibration of ``network``, from records that the latter had not learned from. How many
        records it learned from, and its seconds, go into ``trained``; returns their digests."""
        folder = self.folder / "refit"
        make_folder(folder)
        table, splits = self.mixture.table, self.mixture.splits
        both = table.where([*splits["train"], *splits["val"]])
        # Bad cells and classes that no training row has were reported before.
        quiet = ErrorPolicy("skip" if self.policy.policy == "stop" else self.policy.policy)
        preparer = Preparer(parts, TorchEngine(fresh), self.columns, quiet, self.progress)
        records, kept = preparer.prepare(both, views=True)
        records = self._with_sources(records, [*splits["train"], *splits["val"]], kept)
        trainer = self._learner(fresh, records, None, folder, chosen)
        self._report_resumed(trainer, refit=True)
        if self.report and not trainer.progress.finished:
            self.report({"event": "refit", "records": len(records), **chosen})
        trainer.run()
        for name in self.recipe.outputs:  # a head's buffers are its calibration
            calibrated = dict(network.head(name).named_buffers())
            fresh.head(name).load_state_dict(calibrated, strict=False)
        trained["refit"] = len(records)
        trained["seconds"] = round(trained["seconds"] + trainer.progress.seconds, 3)
        return set(preparer.digests(records, both, kept))

    def _report_resumed(self, trainer: Trainer | Fitter, refit: bool = False) -> None:
        if trainer.resumed and self.report:
            at = trainer.progress
            self.report({"event": "resumed", "folder": str(trainer.folder), "refit": refit,
                         "epoch": at.epoch, "step": at.step, "finished": at.finished})  # fmt: skip


def _start(
    recipe: Recipe, parts: Parts, table: Table, columns: Mapping[str, ColumnName]
) -> tuple[Parts, Network, _Past]:
    """The components fitted to the training rows, and the network; or both as in the trained models
    to start from, and what these have learned."""
    names = recipe.training.start
    models = [load_model(name) for name in names]
    if not models:
        fitted = fit_parts(recipe, parts, table, columns)
        return fitted, build_network(recipe, fitted).to(pick_device()), _Past()
    first, *others = models
    _check_same_parts(parts, first, names[0])
    for name, other in zip(names[1:], others, strict=True):
        if other.states != first.states or _shapes(other) != _shapes(first):
            raise UsageError(
                f"training.start: {name} knows other words, classes or ranges than {names[0]}, or "
                "has other sizes",
                expected="models with the same parts, such as several trainings that started from "
                "one model",
            )
    try:
        fitted = parts.with_states(first.states)
        network = build_network(recipe, fitted, pretrained=False)
        network.load_state_dict(_mean_weights(models, network))
    except (KeyError, RuntimeError) as error:  # a state lacks something, or a size is another
        new = isinstance(error, KeyError)
        why = " ".join(str(error).split())[:300]
        why = f"its settings need what {names[0]} has not learned" if new else why
        changed = ", ".join(_changed_settings(_architecture(first.recipe), _architecture(recipe)))
        raise UsageError(
            f"training.start: the weights of {', '.join(names)} don't fit the recipe: {why}",
            expected=f"the settings of {names[0]}"
            + (f", which differ in {changed}" if changed else ""),
            hint=f"train with the recipe of {names[0]}, its recipe.yaml",
        ) from None
    memory = reduce(or_, (model.memory for model in models))
    past = _Past(memory, [model.scores.get("trained") for model in models])
    return fitted, network.to(pick_device()), past


@dataclass(frozen=True)
class _Past:
    """What the models to start from have learned: their records, and how each was trained."""

    memory: Memory = field(default_factory=Memory)
    trained: Sequence[Any] = ()


def _check_same_parts(parts: Parts, first: Model, name: str) -> None:
    """Raise UsageError unless a model has all inputs and outputs of the recipe, and no others."""
    wanted, there = parts.components.keys(), first.states.keys()
    problems = []
    if missing := sorted(wanted - there):
        problems.append(f"{name} has no {' and no '.join(missing)}")
    if others := sorted(there - wanted):
        problems.append(f"the recipe has no {' and no '.join(others)}")
    if problems:
        raise UsageError(
            f"training.start: {', and '.join(problems)}",
            expected=f"a recipe with the inputs and outputs of {name}: {', '.join(sorted(there))}",
            hint=f"train with the recipe of {name}, its recipe.yaml",
        )


def _architecture(recipe: Recipe) -> dict[str, Any]:
    """The settings that weights and states depend on."""
    outside = {"__all__": {"column", "fit_with", "weight"}}
    exclude = {"inputs": outside, "outputs": outside}
    return recipe.model_dump(include={"inputs", "fusion", "outputs"}, exclude=exclude)


def _changed_settings(before: Any, now: Any, path: str = "") -> Iterator[str]:
    """The paths of the settings that differ."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in dict.fromkeys([*before, *now]):
            inner = f"{path}.{name}" if path else name
            yield from _changed_settings(before.get(name), now.get(name), inner)
    elif before != now:
        yield path


def _shapes(model: Model) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in model.network.named_parameters()}


def _mean_weights(models: Sequence[Model], network: Network) -> dict[str, torch.Tensor]:
    """All weights of ``network``: parameters are the models' means, buffers those of the first.
    What is calibrated at the end need not be there at the start, on either side."""
    whole, learned = network.state_dict(), dict(network.named_parameters())
    fresh = {name: value for name, value in whole.items() if name not in learned}
    states = [model.network.state_dict() for model in models]
    # Parameters that are not stored are those of a pretrained model, which stay as they are.
    theirs = [name for name, _ in models[0].network.named_parameters() if name in states[0]]
    given = {n: v for n, v in states[0].items() if n in theirs or n in whole}
    for name in theirs:
        given[name] = torch.stack([state[name] for state in states]).mean(0)
    return fresh | given


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


@torch.no_grad()
def calibrate(network: Network, records: Records) -> None:
    """Let every output fit its probabilities to validation records."""
    network.eval()
    for name, targets in records.targets.items():
        fused = (network.fuse(batch) for batch in records.batches(CALIBRATION_BATCH))
        network.head(name).calibrate(fused, network.collate[name](list(targets)))


def round_weights(network: Network, recipe: Recipe) -> None:
    """Round all weights to the type in which the package stores them, so that the scores are those
    of the stored model."""
    network.load_state_dict(unpack(pack(network.state_dict(), recipe.training.weights)))


@contextmanager
def run_folder(
    out: Path,
    recipe: Recipe,
    digests: Sequence[str],
    files: Mapping[str, Sequence[str]] | None = None,
    report: Report | None = None,
) -> Iterator[Path]:
    """The run's folder, locked.

    A run without a checkpoint has nothing to lose, and is restarted. So is one whose files have
    changed: what it learned, and the weights that it chose, are of files that are gone; unless the
    recipe says ``data.changed: continue``. The models of ``training.start`` belong to the run: its
    checkpoint fits the words and classes of these alone.

    Args:
        out: the folder of the package.
        recipe: what is trained.
        digests: of the table that it is trained on, and of its sources.
        files: of each input that reads files, their contents' keys, a row each.
        report: told of files that have changed.

    Raises:
        UsageError: the folder has a run of another recipe, table or start model, another process
            uses it, or there is no such start model.
    """
    folder = out.with_name(f"{out.name}.run")
    settings = recipe.model_dump(mode="json", exclude={"data": {"changed"}})
    table, *sources = digests
    also = {"sources": sources, "start": list(map(package_digest, recipe.training.start))}
    # A run without any of these is described as it always was, so that it can be resumed.
    given = {name: found for name, found in also.items() if found}
    what = json.dumps({"recipe": settings, "table": table, **given})
    path, kept, checkpoint = (folder / n for n in ("run.json", "files.json", "checkpoint.pt"))
    make_folder(folder)
    try:
        with FileLock(folder / "lock", timeout=0):
            begun = path.is_file() and checkpoint.is_file()
            if begun and path.read_text() != what:
                other = "recipe, table or start model" if also["start"] else "recipe or table"
                raise UsageError(
                    f"{folder} contains a run of another {other}",
                    hint=f"remove {folder}, or choose another --out",
                )
            if begun and files:
                changed = _changed(json.loads(kept.read_text()) if kept.is_file() else {}, files)
                again = recipe.data.changed == "restart"
                if changed and again:
                    checkpoint.unlink()
                    (folder / "refit" / "checkpoint.pt").unlink(missing_ok=True)
                if changed and report:
                    report({"event": "changed", "folder": str(folder), "restarted": again,
                            "inputs": changed})  # fmt: skip
            write_atomically(kept, json.dumps(files or {}))
            write_atomically(path, what)
            yield folder
    except Timeout:
        raise UsageError(
            f"another process is training in {folder}", hint="wait for it, or choose another --out"
        ) from None


def _changed(
    before: Mapping[str, Sequence[str]], now: Mapping[str, Sequence[str]]
) -> dict[str, int]:
    """How many of an input's files differ between two runs, for the inputs where some do."""
    counts = {
        name: sum(a != b for a, b in zip_longest(before.get(name, ()), keys))
        for name, keys in now.items()
    }
    return {name: count for name, count in counts.items() if count}


def provenance(learned: Sequence[Learned], command: str) -> dict[str, Any]:
    """What is recorded of a run, as plain JSON: the command that started it, the table and the
    sources that it learned from, the libraries that are installed, plait's commit."""
    versions = {"plait": plait.__version__, "python": platform.python_version()}
    for library in LIBRARIES:
        with suppress(PackageNotFoundError):
            versions[library] = version(library)
    table, *sources = map(asdict, learned)
    return {
        "command": command,
        "table": table,
        "sources": sources,
        "versions": versions,
        "commit": commit(),
    }


def train_command(
    recipe: str,
    table: str,
    out: str,
    overrides: Iterable[str],
    columns: Mapping[str, ColumnName],
    on_bad: str | None,
) -> str:
    """The command line that repeats a run, with the paths as the user gave them."""
    words = ["plait", "train", recipe, table, "--out", out]
    for name, column in columns.items():
        words += ["--column", f"{name}={','.join(column_names(column))}"]
    for override in overrides:
        words += ["--set", override]
    return shlex.join([*words, *(["--on-bad", on_bad] if on_bad else [])])


def commit() -> str | None:
    """The commit of plait's own checkout, with ``+`` if changed since; None for a release."""
    root = Path(plait.__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        head, changed = (
            subprocess.run(
                ["git", "-C", str(root), *arguments],
                capture_output=True, text=True, timeout=GIT_SECONDS, check=True,
            ).stdout.strip()
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", "src"])
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head}+" if changed else head
