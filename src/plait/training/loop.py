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
import math
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from plait.config.recipe import Recipe, TrainingSpec
from plait.network import Network
from plait.nn.blocks import has_bfloat16
from plait.pipeline.records import Records
from plait.render.curves import draw_curve
from plait.types import PlaitError
from plait.util.files import write_atomically

LOG_EVERY = 10  # steps
DRAW_EVERY = 30.0  # seconds; a drawing takes a third of one, a small run's epoch less


@dataclass(frozen=True)
class Stage:
    """A part of the training with its own objective and optimizer."""

    name: str
    epochs: int
    batch: int
    learning_rate: float
    encoder_rate: float  # learning rate of pretrained layers, as a share; 0: frozen
    samples: int  # per record; 0: maximum likelihood


def stages(spec: TrainingSpec) -> list[Stage]:
    """Maximum likelihood, then, if asked for, the free-running score itself."""
    first = Stage("likelihood", spec.epochs, spec.batch, spec.learning_rate, spec.encoder_rate, 0)
    r = spec.reinforce
    second = Stage("reinforce", r.epochs, r.batch, r.learning_rate, r.encoder_rate, r.samples)
    return [stage for stage in (first, second) if stage.epochs]


@dataclass
class Progress:
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


@dataclass(frozen=True)
class Validation:
    """How the best weights are chosen.

    Attributes:
        score: the network, in evaluation mode -> the scores of the validation records.
        metrics: the scores that decide, in their order, with their titles.
    """

    score: Callable[[Network], Mapping[str, float]]
    metrics: Mapping[str, str]


class Trainer:
    """Trains a network on cached records, in a run folder.

    Without a validation, the last weights are kept, and the first stage stops after ``epochs``
    epochs of its usual schedule.

    Attributes:
        resumed: whether the run was resumed from a checkpoint.
    """

    def __init__(
        self,
        recipe: Recipe,
        network: Network,
        train: Records,
        validation: Validation | None,
        folder: Path,
        report: Report | None = None,
        epochs: int | None = None,
    ) -> None:
        self.recipe, self.spec, self.folder = recipe, recipe.training, folder
        self.train, self.validation = train, validation
        self.epochs = self.spec.epochs if epochs is None else epochs
        self.report = report or (lambda line: None)
        self.network = network
        self.device = network.device
        self.stages = stages(self.spec)
        self.progress = Progress()
        for name, targets in train.targets.items():
            network.head(name).begin(targets)
        self.trainable = {n: p for n, p in network.named_parameters() if p.requires_grad}
        self.average = {n: p.detach().clone() for n, p in self.trainable.items()}
        self._resumed_optimizer: dict[str, Any] | None = None
        self._drawn = time.monotonic()  # or started: the first curve should show something
        self.resumed = self._load_checkpoint()

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
        else:
            self._swap_in_average()
        return self.network

    def _run_stage(self, stage: Stage) -> None:
        if self.progress.epoch == 0 and self.progress.step == 0 and self.progress.stage > 0:
            self._restore_best()
        optimizer = self.begin(stage)
        if self._resumed_optimizer is not None:
            optimizer.load_state_dict(self._resumed_optimizer)
            self._resumed_optimizer = None
        last = min(stage.epochs, self.epochs) if self.progress.stage == 0 else stage.epochs
        while self.progress.epoch < last and self.progress.stale < self.spec.patience:
            self._run_epoch(stage, optimizer)
        self.progress.stage += 1
        self.progress.epoch = self.progress.step = self.progress.stale = 0
        self._save_checkpoint(None)

    def _run_epoch(self, stage: Stage, optimizer: torch.optim.Optimizer) -> None:
        self.network.train()
        saved_at = started = time.monotonic()
        per_epoch = math.ceil(len(self.train) / stage.batch)
        for step, rows in self.rows(stage):
            loss = self.step(stage, optimizer, step, per_epoch, rows)
            self.progress.losses.append(loss)
            self.progress.step = step + 1
            if (step + 1) % LOG_EVERY == 0 or step + 1 == per_epoch:
                self._log_step(stage, per_epoch)
            if time.monotonic() - saved_at > 60 * self.spec.checkpoint_minutes:
                self.progress.seconds += time.monotonic() - started
                saved_at = started = time.monotonic()
                self._save_checkpoint(optimizer)
        self.progress.epoch, self.progress.step = self.progress.epoch + 1, 0
        due = self.progress.epoch % self.spec.validate_every == 0
        if self.validation and (due or self.progress.epoch == stage.epochs):
            self._validate(self.validation, stage.name)
        self.progress.seconds += time.monotonic() - started
        self._save_checkpoint(optimizer)

    def rows(self, stage: Stage) -> Iterator[tuple[int, np.ndarray]]:
        """The (step, rows) of the epoch that are still to do."""
        seed = (self.recipe.seed, self.progress.stage, self.progress.epoch)
        order = np.random.default_rng(seed).permutation(len(self.train))
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
        seed = (self.recipe.seed, self.progress.stage, number)
        rng = np.random.default_rng(seed)
        torch.manual_seed(int(rng.integers(1 << 62)))
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * self._rate(stage, number, per_epoch)
        batch = self.train.batch(rows.tolist(), rng)
        if stage.samples:  # on-policy: the probabilities that are learned are those drawn from
            self.network.eval()
        with self._autocast():
            loss: Tensor = self.network(batch, stage.samples)
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
        self._update_average(number)
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
        """Select the weights that a stage trains, and make their optimizer."""
        pretrained = {id(p) for p in self.network.pretrained_parameters()}
        for p in self.trainable.values():
            p.requires_grad_(stage.encoder_rate > 0 or id(p) not in pretrained)
            p.grad = None  # a gradient of the previous stage would count in the norm
        return self._make_optimizer(stage, pretrained)

    def _make_optimizer(self, stage: Stage, pretrained: Collection[int]) -> torch.optim.Optimizer:
        """No weight decay for vectors and embeddings; pretrained layers learn more slowly."""
        groups: dict[tuple[bool, bool], list[Tensor]] = {}
        for name, p in self.trainable.items():
            decayed = p.ndim > 1 and "embedding" not in name and "position" not in name
            if p.requires_grad:
                groups.setdefault((id(p) in pretrained, decayed), []).append(p)
        rows = [
            {
                "params": params,
                "peak": stage.learning_rate * (stage.encoder_rate if is_slow else 1.0),
                "weight_decay": self.spec.weight_decay if decayed else 0.0,
            }
            for (is_slow, decayed), params in groups.items()
        ]
        if self.spec.optimizer == "adam":
            for row in rows:
                row["weight_decay"] = 0.0
        kind = torch.optim.AdamW if self.spec.optimizer == "adamw" else torch.optim.Adam
        return kind(rows, lr=stage.learning_rate, fused=True)

    @torch.no_grad()
    def _update_average(self, number: int) -> None:
        """Update the moving average of the weights, which has a short memory at the start."""
        if not self.spec.averaging:
            return
        decay = min(self.spec.averaging, (1 + number) / (10 + number))
        torch._foreach_lerp_(
            list(self.average.values()), list(self.trainable.values()), 1.0 - decay
        )

    def _validate(self, validation: Validation, stage: str) -> None:
        weights = self._swap_in_average()
        self.network.eval()
        scores = validation.score(self.network)
        value = [float(scores[name]) for name in validation.metrics]
        at = f"{stage} epoch {self.progress.epoch}"
        if value > self.progress.best:
            self.progress.best, self.progress.best_at, self.progress.stale = value, at, 0
            self.progress.best_epoch = self.progress.epoch
            self._save_best()
        else:
            self.progress.stale += 1
        self._swap_back(weights)
        self._log({"event": "validation", "stage": stage, "epoch": self.progress.epoch,
                   "best": self.progress.best[0], "metrics": validation.metrics,
                   **scores})  # fmt: skip
        if time.monotonic() - self._drawn > DRAW_EVERY:
            self._draw()

    def _draw(self) -> None:
        draw_curve(self.folder / "log.jsonl", self.folder / "curve.png")
        self._drawn = time.monotonic()

    def _swap_in_average(self) -> dict[str, Tensor]:
        kept = {name: p.detach().clone() for name, p in self.trainable.items()}
        if self.spec.averaging:
            self._swap_back(self.average)
        return kept

    @torch.no_grad()
    def _swap_back(self, weights: Mapping[str, Tensor]) -> None:
        for name, p in self.trainable.items():
            p.copy_(weights[name])

    # Files of the run folder -------------------------------------------------------

    def _save_best(self) -> None:
        best = {n: p.detach().cpu().contiguous() for n, p in self.trainable.items()}
        path = self.folder / "best.safetensors"
        write_atomically(path, lambda part: save_file(best, part))

    def _restore_best(self) -> None:
        path = self.folder / "best.safetensors"
        if path.is_file():
            best = load_file(path)
            self._swap_back(best)
            self.average = {name: p.detach().clone() for name, p in self.trainable.items()}

    def _save_checkpoint(self, optimizer: torch.optim.Optimizer | None) -> None:
        state = {
            "progress": asdict(self.progress),
            "weights": {n: p.detach() for n, p in self.trainable.items()},
            "average": self.average,
            "optimizer": optimizer.state_dict() if optimizer is not None else None,
        }
        write_atomically(self.folder / "checkpoint.pt", lambda path: torch.save(state, path))

    def _load_checkpoint(self) -> bool:
        path = self.folder / "checkpoint.pt"
        if not path.is_file():  # a new run, or killed before its first checkpoint
            (self.folder / "log.jsonl").unlink(missing_ok=True)
            return False
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.progress = Progress(**state["progress"])
        self._swap_back(state["weights"])
        self.average = state["average"]
        self._resumed_optimizer = state["optimizer"]
        self._trim_log()
        return True

    def _trim_log(self) -> None:
        """Remove the lines written after the checkpoint: their steps will be repeated."""
        path = self.folder / "log.jsonl"
        if not path.is_file():
            return
        here = (self.progress.stage, self.progress.epoch, self.progress.step)
        lines = [line for line in path.read_text().splitlines() if _before(line, here)]
        text = "".join(f"{line}\n" for line in lines)
        write_atomically(path, lambda part: part.write_text(text))

    def _log_step(self, stage: Stage, per_epoch: int) -> None:
        done = self.progress.epoch * per_epoch + self.progress.step
        self._log({"event": "step", "stage": stage.name, "epoch": self.progress.epoch,
                   "step": self.progress.step, "done": done, "of": stage.epochs * per_epoch,
                   "loss": round(float(np.mean(self.progress.losses)), 5)})  # fmt: skip
        self.progress.losses = []

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
        self.report(line)

    def _autocast(self) -> torch.autocast:
        wanted = self.spec.precision
        use = wanted == "bfloat16" or (wanted == "auto" and has_bfloat16(self.device))
        return torch.autocast(self.device.type, torch.bfloat16, enabled=use)


def pick_device() -> torch.device:
    """The GPU if there is one, unless ``PLAIT_DEVICE=cpu``."""
    use = torch.cuda.is_available() and os.environ.get("PLAIT_DEVICE", "") != "cpu"
    return torch.device("cuda" if use else "cpu")


def _before(line: str, here: tuple[int, int, int]) -> bool:
    try:
        return tuple(json.loads(line)["at"]) <= here
    except (ValueError, KeyError):  # a line truncated by the kill
        return False
