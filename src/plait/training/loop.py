"""The training loop: one for every recipe.

A run has a folder and can be killed at any moment. Its randomness depends only on the seed and the
number of the step, so that a run resumed from its last checkpoint ends with the same weights as
one that was never interrupted.

    run/run.json         the recipe, and a digest of the table
    run/checkpoint.pt    everything needed to resume (written to a temporary name first)
    run/best.safetensors the best weights so far by the free-running validation score
    run/log.jsonl        one line every few steps and one for each validation
    run/curve.png        the learning curve, drawn at most every 30 seconds and at the end
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from plait.config.recipe import Recipe, TrainingSpec
from plait.data.tables import Table
from plait.evaluation.predictions import predict_records, read_references
from plait.network import Network, TorchEngine, renamed
from plait.nn.base import Sampling
from plait.nn.blocks import has_bfloat16
from plait.pipeline.engine import Parts
from plait.pipeline.records import Records
from plait.render.curves import draw_curve
from plait.types import ColumnName, PlaitError, Prediction
from plait.util.files import write_atomically

LOG_EVERY = 10  # steps
DRAW_EVERY = 30.0  # seconds; a drawing takes a third of one, a small run's epoch less
SCORED_BATCH = 64  # validation records whose loss is computed at a time
TOGETHER, LIKELIHOOD = "together", "likelihood"


log = logging.getLogger("plait")


@dataclass(frozen=True)
class Stage:
    """A part of the training with its own objective and optimizer."""

    name: str
    epochs: int
    batch: int
    learning_rate: float
    encoder_rate: float  # learning rate of pretrained layers, as a share; 0: frozen
    sampling: Sampling | None = None  # None: maximum likelihood
    sources: tuple[str, ...] | None = None  # beside the table; None: all
    weight: float | None = None  # of the table's records; None: as the data says


def stages(spec: TrainingSpec) -> list[Stage]:
    """Maximum likelihood on the table and all sources, then, if asked for, on the table and the
    sources named for it, and then the free-running score itself."""
    f, r = spec.finetune, spec.reinforce
    all_stages = (
        Stage("likelihood", spec.epochs, spec.batch, spec.learning_rate, spec.encoder_rate),
        Stage("finetune", f.epochs, spec.batch, f.learning_rate, f.encoder_rate, None,
              f.sources or (), f.weight),
        Stage("reinforce", r.epochs, r.batch, r.learning_rate, r.encoder_rate,
              Sampling(r.samples, r.temperature), r.sources or (), r.weight),
    )  # fmt: skip
    return [stage for stage in all_stages if stage.epochs]


@dataclass
class LoopState:
    """How far the loop has come; all of it is in the checkpoint."""

    stage: int = 0
    epoch: int = 0
    step: int = 0  # within the epoch
    best: list[float] = field(default_factory=list)
    best_at: str = ""
    best_epoch: int = 0  # of its stage
    stale: int = 0  # validations since the best score
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)  # since the last line of the log
    finished: bool = False


Report = Callable[[Mapping[str, Any]], None]
"""Called with each line of the log."""


class Trainer:
    """Trains a network on cached records, in a run folder.

    Without a validation, the last weights are kept, and the first stage stops after ``epochs``
    epochs of its usual schedule. ``resumed`` says whether it continues from a checkpoint.
    """

    def __init__(
        self,
        recipe: Recipe,
        network: Network,
        train: Records,
        validation: Scorer | None,
        folder: Path,
        report: Report | None = None,
        epochs: int | None = None,
    ) -> None:
        self.recipe, self.spec, self.folder = recipe, recipe.training, folder
        self.train, self.validation, self.report = train, validation, report
        self.epochs = epochs
        self.network, self.device = network, network.device
        self.stages = stages(self.spec)
        self.progress = LoopState()
        for name in train.inputs:
            network.encoder(name).begin()
        self.trainable = {n: p for n, p in network.named_parameters() if p.requires_grad}
        self.average = self._copy()
        self._resumed_optimizer: dict[str, Any] | None = None
        self._drawn = time.monotonic()  # or started: the first curve should show something
        self.resumed = self._load_checkpoint()

    @property
    def chosen(self) -> dict[str, int]:
        """The arguments of a training without validation: the epoch with the best weights."""
        return {"epochs": self.progress.best_epoch}

    def run(self) -> Network:
        """Train to the end; the network then has the best weights."""
        if self.validation and self.spec.start and not self.progress.best:
            self._validate(self.validation, "start")
        while self.progress.stage < len(self.stages) and not self.progress.finished:
            self._run_stage(self.stages[self.progress.stage])
        self.progress.finished = True
        self._save_checkpoint(None)
        self._draw()
        if self.validation:
            self._restore_best()
        elif self.spec.averaging:
            self._put(self.average)
        for name in self.train.inputs:
            self.network.encoder(name).end()
        return self.network

    def _run_stage(self, stage: Stage) -> None:
        if self.progress.epoch == 0 and self.progress.step == 0 and self.progress.stage > 0:
            self._restore_best()
        optimizer = self.begin(stage)
        if self._resumed_optimizer is not None:
            optimizer.load_state_dict(self._resumed_optimizer)
            self._resumed_optimizer = None
        last = stage.epochs
        if self.epochs is not None and self.progress.stage == 0:
            last = min(last, self.epochs)
        while self.progress.epoch < last and self.progress.stale < self.spec.patience:
            self._run_epoch(stage, optimizer)
        self.progress.stage += 1
        self.progress.epoch = self.progress.step = self.progress.stale = 0
        self._save_checkpoint(None)

    def _run_epoch(self, stage: Stage, optimizer: torch.optim.Optimizer) -> None:
        self.network.train()
        saved_at = started = time.monotonic()
        per_epoch = math.ceil(self._shown(stage) / stage.batch)
        for step, rows in self.rows(stage):
            loss = self.step(stage, optimizer, step, per_epoch, rows)
            self.progress.losses.append(loss)
            self.progress.step = step + 1
            if (step + 1) % LOG_EVERY == 0 or step + 1 == per_epoch:
                done = self.progress.epoch * per_epoch + self.progress.step
                self._log({"event": "step", "stage": stage.name, "epoch": self.progress.epoch,
                           "step": self.progress.step, "done": done, "of": stage.epochs * per_epoch,
                           "loss": round(float(np.mean(self.progress.losses)), 5)})  # fmt: skip
                self.progress.losses = []
            if time.monotonic() - saved_at > 60 * self.spec.checkpoint_minutes:
                self.progress.seconds += time.monotonic() - started
                saved_at = started = time.monotonic()
                self._save_checkpoint(optimizer)
        self._check_taught()
        self.progress.epoch, self.progress.step = self.progress.epoch + 1, 0
        due = self.progress.epoch % self.spec.validate_every == 0
        if self.validation and (due or self.progress.epoch == stage.epochs):
            self._validate(self.validation, stage.name)
        self.progress.seconds += time.monotonic() - started
        self._save_checkpoint(optimizer)

    def _check_taught(self) -> None:
        """Say after the first epoch how many targets taught an output nothing; stop if all did."""
        if self.progress.stage or self.progress.epoch:
            return
        for name in self.train.targets:
            lost, seen, why = self.network.head(name).untaught()
            if seen and lost == seen:
                raise PlaitError(
                    f"outputs.{name}: no training text teaches anything: all are {why}",
                    expected="texts that fit",
                    hint="use shorter tokens or strides for the input, or longer units, such as "
                    "subwords, for the text",
                )
            if lost:
                log.warning("outputs.%s: %d of %d training texts are %s", name, lost, seen, why)

    def _counts(self, stage: Stage) -> list[tuple[np.ndarray, int]]:
        """For each source of a stage its rows, and how many of them an epoch shows: at least one,
        however small its weight is."""
        data, of = self.recipe.data, self.train.sources
        everything = np.arange(len(self.train)) if of is None else np.flatnonzero(of == 0)
        weighted = [(everything, stage.weight or data.weight)]
        for number, (name, source) in enumerate(data.sources.items(), start=1):
            if stage.sources is None or name in stage.sources:
                weighted.append((np.flatnonzero(of == number), source.weight))
        return [(rows, max(1, round(w * len(rows)))) for rows, w in weighted if len(rows)]

    def _shown(self, stage: Stage) -> int:
        """How many records an epoch of a stage shows."""
        return sum(count for _, count in self._counts(stage))

    def _draw_epoch(self, stage: Stage, rng: np.random.Generator) -> np.ndarray:
        """The rows of an epoch, in random order: each row of a source as often as its weight says;
        of the fraction of a weight, a random choice of the rows."""
        drawn = []
        for rows, count in self._counts(stage):
            whole, rest = divmod(count, len(rows))
            drawn += [rows] * whole + ([rng.permutation(rows)[:rest]] if rest else [])
        return rng.permutation(np.concatenate(drawn))

    def rows(self, stage: Stage) -> Iterator[tuple[int, np.ndarray]]:
        """The (step, rows) of the epoch that are still to do."""
        seed = (self.recipe.seed, self.progress.stage, self.progress.epoch)
        order = self._draw_epoch(stage, np.random.default_rng(seed))
        for step in range(self.progress.step, math.ceil(len(order) / stage.batch)):
            yield step, order[step * stage.batch : (step + 1) * stage.batch]

    def step(
        self,
        stage: Stage,
        optimizer: torch.optim.Optimizer,
        step: int,
        per_epoch: int,
        rows: np.ndarray,
    ) -> float:
        """One step on these rows; returns the loss."""
        number = self.progress.epoch * per_epoch + step
        # The step's number seeds all its randomness: views, dropout, sampling.
        rng = np.random.default_rng((self.recipe.seed, self.progress.stage, number))
        torch.manual_seed(int(rng.integers(1 << 62)))
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * self._rate(stage, number, per_epoch)
        batch = self.train.batch(rows.tolist(), rng)
        if stage.sampling:  # on-policy: the probabilities that are learned are those drawn from
            self.network.eval()
        precision = self.spec.precision
        half = precision == "bfloat16" or (precision == "auto" and has_bfloat16(self.device))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            loss: Tensor = self.network(batch, stage.sampling)
        if not bool(torch.isfinite(loss)):
            raise PlaitError(
                f"the loss became {loss.item()} in epoch {self.progress.epoch + 1}, "
                f"step {step + 1}",
                expected="a finite number",
                hint=f"remove {self.folder}, and train with a lower training.learning_rate "
                "or training.precision=float32",
            )
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        if self.spec.clip:
            nn.utils.clip_grad_norm_(self.trainable.values(), self.spec.clip)
        optimizer.step()
        if self.spec.averaging:  # of the weights, with a short memory at the start
            decay = min(self.spec.averaging, (1 + number) / (10 + number))
            with torch.no_grad():
                torch._foreach_lerp_(
                    list(self.average.values()), list(self.trainable.values()), 1.0 - decay
                )
        return float(loss.detach())

    def _rate(self, stage: Stage, number: int, per_epoch: int) -> float:
        """The learning rate as a share of its peak: linear warm-up, then cosine to zero."""
        total = stage.epochs * per_epoch
        warm = max(1, round(self.spec.warmup * total))
        if number < warm:
            return (number + 1) / warm
        if self.spec.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (number - warm) / max(1, total - warm)))

    def begin(self, stage: Stage) -> torch.optim.Optimizer:
        """Show the outputs what a stage learns from, select the weights that it trains, and make
        their optimizer: pretrained layers learn more slowly; vectors and embeddings have no weight
        decay, and Adam has none at all."""
        rows = np.concatenate([rows for rows, _ in self._counts(stage)])
        for name, targets in self.train.targets.items():
            self.network.head(name).begin(targets.where(rows.tolist()))
        pretrained = {id(p) for p in self.network.pretrained_parameters()}
        adamw = self.spec.optimizer == "adamw"
        groups: dict[tuple[bool, bool], dict[str, Any]] = {}
        for name, p in self.trainable.items():
            slow = id(p) in pretrained
            p.requires_grad_(stage.encoder_rate > 0 or not slow)
            p.grad = None  # a gradient of the previous stage would count in the norm
            if p.requires_grad:
                matrix = p.ndim > 1 and "embedding" not in name and "position" not in name
                peak = stage.learning_rate * (stage.encoder_rate if slow else 1.0)
                decay = self.spec.weight_decay if matrix and adamw else 0.0
                group = {"params": [], "peak": peak, "weight_decay": decay}
                groups.setdefault((slow, matrix), group)["params"].append(p)
        kind = torch.optim.AdamW if adamw else torch.optim.Adam
        return kind(list(groups.values()), lr=stage.learning_rate, fused=True)

    def _validate(self, validation: Scorer, stage: str) -> None:
        """Score the average of the weights; it is kept if it is the best so far."""
        weights = self._copy()
        if self.spec.averaging:
            self._put(self.average)
        scores = validation(self.network.eval())
        value = [float(scores[name]) for name in validation.metrics]
        if value > self.progress.best:
            self.progress.best, self.progress.stale = value, 0
            self.progress.best_at = f"{stage} epoch {self.progress.epoch}"
            self.progress.best_epoch = self.progress.epoch
            best = {n: p.detach().cpu().contiguous() for n, p in self.trainable.items()}
            path = self.folder / "best.safetensors"
            write_atomically(path, lambda part: save_file(best, part))
        else:
            self.progress.stale += 1
        self._put(weights)
        self._log({"event": "validation", "stage": stage, "epoch": self.progress.epoch,
                   "best": self.progress.best[0], "metrics": validation.metrics,
                   **scores})  # fmt: skip
        if time.monotonic() - self._drawn > DRAW_EVERY:
            self._draw()

    def _draw(self) -> None:
        draw_curve(self.folder / "log.jsonl", self.folder / "curve.png")
        self._drawn = time.monotonic()

    def _copy(self) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in self.trainable.items()}

    @torch.no_grad()
    def _put(self, weights: Mapping[str, Tensor]) -> None:
        for name, p in self.trainable.items():
            p.copy_(weights[name])

    # Files of the run folder -------------------------------------------------------

    def _restore_best(self) -> None:
        path = self.folder / "best.safetensors"
        if path.is_file():
            self._put(renamed(load_file(path)))
            self.average = self._copy()

    def _save_checkpoint(self, optimizer: torch.optim.Optimizer | None) -> None:
        state = {
            "progress": asdict(self.progress),
            "weights": {n: p.detach() for n, p in self.trainable.items()},
            "average": self.average,
            "optimizer": optimizer.state_dict() if optimizer is not None else None,
        }
        write_atomically(self.folder / "checkpoint.pt", lambda path: torch.save(state, path))

    def _load_checkpoint(self) -> bool:
        """Resume where the last checkpoint was written; False for a new run."""
        path, logged = self.folder / "checkpoint.pt", self.folder / "log.jsonl"
        if not path.is_file():  # a new run, or killed before its first checkpoint
            logged.unlink(missing_ok=True)
            return False
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.progress = LoopState(**state["progress"])
        self._put(renamed(state["weights"]))
        self.average = renamed(state["average"])
        self._resumed_optimizer = state["optimizer"]
        if logged.is_file():  # the steps of later lines will be repeated
            here = (self.progress.stage, self.progress.epoch, self.progress.step)
            lines = [line for line in logged.read_text().splitlines() if _before(line, here)]
            write_atomically(logged, "".join(f"{line}\n" for line in lines))
        return True

    def _log(self, line: dict[str, Any]) -> None:
        at = [self.progress.stage, self.progress.epoch, self.progress.step]
        line = {**line, "at": at, "time": round(time.time(), 1)}
        try:
            with (self.folder / "log.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise PlaitError(
                f"{self.folder} can't be written: {error.strerror}",
                hint="free some disk space and start again: it resumes from the last checkpoint",
            ) from None
        if self.report:
            self.report(line)


def _before(line: str, here: tuple[int, int, int]) -> bool:
    try:
        return tuple(json.loads(line)["at"]) <= here
    except (ValueError, KeyError):  # a line truncated by the kill
        return False


class Scorer:
    """Scores a network on the validation records for early stopping: quick, no intervals.

    With several outputs the best weights are those with the best weighted mean of the outputs'
    first metrics, each of which is 1 for perfect answers and about 0 for a model that knows
    nothing. Values below 0 count as 0: an output that learns nothing must not decide for the
    others. An output that is validated by its loss counts with exp(-loss).

    Attributes:
        metrics: the deciding metrics, in order, with their titles.
    """

    def __init__(
        self,
        recipe: Recipe,
        parts: Parts,
        records: Records,
        table: Table,
        columns: Mapping[str, ColumnName],
    ) -> None:
        self.records = records
        self.by_loss = [n for n, o in parts.outputs.items() if o.validated_by == "loss"]
        self.outputs = {n: o for n, o in parts.outputs.items() if n not in self.by_loss}
        self.answering = Parts(parts.modalities, self.outputs)
        self.weights = {name: spec.weight for name, spec in recipe.outputs.items()}
        self.references = read_references(self.outputs, table, columns, range(len(table)))
        # Each output's deciding metrics; the first counts where there are several outputs.
        titles = {
            name: {m: output.scored_by.titles[m] for m in output.scored_by.best_metrics}
            if name in self.outputs
            else {LIKELIHOOD: LIKELIHOOD}
            for name, output in parts.outputs.items()
        }
        self.firsts = {name: next(iter(metrics)) for name, metrics in titles.items()}
        if len(titles) == 1:
            self.metrics = titles[next(iter(titles))]
        else:
            self.metrics = {TOGETHER: TOGETHER} | {
                f"{name}.{first}": f"{name} {titles[name][first]}"
                for name, first in self.firsts.items()
            }

    def __call__(self, network: Network) -> dict[str, float]:
        """The scores of a network in evaluation mode, see `combine`."""
        predictions = {}
        if self.outputs:
            predictions = predict_records(self.answering, TorchEngine(network), self.records)
        return self.combine(predictions, {n: self._likelihood(network, n) for n in self.by_loss})

    def by_output(self, network: Network) -> dict[str, list[float]]:
        """Output -> its deciding metrics, in order, of a network in evaluation mode; of those that
        are validated by their answers."""
        scores = self._scores(predict_records(self.answering, TorchEngine(network), self.records))
        return {
            name: [scores[name][metric] for metric in output.scored_by.best_metrics]
            for name, output in self.outputs.items()
        }

    def _scores(self, predictions: Mapping[str, list[Prediction]]) -> dict[str, dict[str, float]]:
        """By output, all scores of its predictions."""
        return {
            name: output.scorer(predictions[name], self.references[name])(
                np.arange(len(predictions[name]))
            )
            for name, output in self.outputs.items()
        }

    def combine(
        self,
        predictions: Mapping[str, list[Prediction]],
        likelihoods: Mapping[str, float] | None = None,
    ) -> dict[str, float]:
        """Metric -> value; with several outputs ``NAME.METRIC``, and ``together``.

        Args:
            predictions: of the outputs that are validated by their answers.
            likelihoods: of the others, 0 to 1.
        """
        scores = self._scores(predictions)
        scores |= {name: {LIKELIHOOD: value} for name, value in (likelihoods or {}).items()}
        if len(scores) == 1:
            return scores[next(iter(scores))]
        each = {f"{n}.{metric}": v for n, own in scores.items() for metric, v in own.items()}
        weighted = [
            self.weights[name] * max(scores[name][first], 0.0)
            for name, first in self.firsts.items()
        ]
        return {TOGETHER: sum(weighted) / sum(self.weights.values()), **each}

    @torch.no_grad()
    def _likelihood(self, network: Network, name: str) -> float:
        """exp(-loss) of an output, the loss being the mean over the records."""
        total = 0.0
        for batch in self.records.batches(SCORED_BATCH):
            wanted = network.collate[name](batch.targets[name])
            total += float(network.head(name).loss(network.fuse(batch), wanted)) * len(batch)
        return math.exp(-total / len(self.records))


def pick_device() -> torch.device:
    """The GPU if there is one, unless ``PLAIT_DEVICE=cpu``."""
    use = torch.cuda.is_available() and os.environ.get("PLAIT_DEVICE", "") != "cpu"
    return torch.device("cuda" if use else "cpu")
