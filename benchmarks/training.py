"""Training on cached features against a bare torch loop of the same model and as many steps.

    python benchmarks/training.py [--rows 12000] [--epochs 5]

The table is made up: MFCCs of half a second and the pixels of 28 x 28, fused early. plait's time
is the whole training loop, with reading the features, validating, logging, checkpoints and the
learning curve. The bare loop calls forward, backward and the optimizer's step on batches that lie
ready in memory, and nothing else. They take turns, and the figure is the ratio of the best times.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from machine import describe
from made_up import digits

from plait.config.recipe import Recipe, check_recipe
from plait.data.cells import ErrorPolicy
from plait.data.tables import Table
from plait.network import TorchEngine, build_network
from plait.pipeline.engine import Batch, build_parts
from plait.pipeline.records import Preparer, Records, open_table, split_table
from plait.training.loop import Scorer, Trainer
from plait.training.train import _start


def recipe(epochs: int) -> Recipe:
    return check_recipe({
        "name": "digits",
        "inputs": {
            "audio": {"modality": "audio", "representation": {
                "kind": "mfcc", "rate": 8000, "max_seconds": 0.5}},
            "image": {"modality": "image", "representation": {
                "kind": "pixels", "size": 28, "patch": 4, "width": 64}},
        },
        "fusion": {"kind": "early", "how": "concat", "width": 128},
        "outputs": {"digit": {"kind": "category"}},
        "training": {"epochs": epochs, "batch": 64, "learning_rate": 0.001, "patience": epochs},
    })  # fmt: skip


class Work:
    """All that both loops need, ready."""

    def __init__(self, recipe: Recipe, rows: int) -> None:
        self.recipe, self.parts = recipe, build_parts(recipe)
        table, columns = open_table(recipe, self.parts, Table(Path("made"), Path(), digits(rows)))
        splits = split_table(recipe, self.parts, table, columns)
        train, val = (table.where(splits[name]) for name in ("train", "val"))
        self.parts, network = _start(recipe, self.parts, train, columns)
        preparer = Preparer(self.parts, TorchEngine(network), columns, ErrorPolicy())
        self.train: Records = preparer.prepare(train, views=True)[0]
        self.scorer = Scorer(
            recipe, self.parts, preparer.prepare(val, views=False)[0], val, columns
        )

    def trainer(self, folder: Path) -> Trainer:
        network = build_network(self.recipe, self.parts)
        return Trainer(self.recipe, network, self.train, self.scorer, folder)


def ours(work: Work, folder: Path) -> float:
    trainer = work.trainer(folder)
    start = time.perf_counter()
    trainer.run()
    return time.perf_counter() - start


def bare(work: Work, folder: Path) -> float:
    """As plait trains, but for averaging, clipping, schedule, checks and all around the steps."""
    trainer = work.trainer(folder)
    stage = trainer.stages[0]
    optimizer, network = trainer.begin(stage), trainer.network.train()
    batches = ready(work.train, stage.batch)
    start = time.perf_counter()
    for _ in range(stage.epochs):
        for batch in batches:
            loss = network(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return time.perf_counter() - start


def ready(records: Records, size: int) -> list[Batch]:
    order = np.random.default_rng(0).permutation(len(records)).tolist()
    steps = math.ceil(len(order) / size)
    return [records.batch(order[step * size : (step + 1) * size]) for step in range(steps)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=12_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as name:
        os.environ["PLAIT_CACHE"] = f"{name}/cache"
        work = Work(recipe(args.epochs), args.rows)
        times: dict[str, list[float]] = {"plait": [], "bare": []}
        for number in range(args.rounds):
            for kind, run in (("bare", bare), ("plait", ours)):
                folder = Path(name, f"{kind}{number}")
                folder.mkdir()
                times[kind].append(run(work, folder))
    plait, loop = min(times["plait"]), min(times["bare"])
    print(f"plait {plait:.1f} s, the bare loop {loop:.1f} s, ratio {plait / loop:.2f}")
    print(describe())


if __name__ == "__main__":
    main()
