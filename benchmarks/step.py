"""A training step of the reference program's decoder, on cached features: seconds a step.

    python benchmarks/step.py [--steps 20] [--reference reference.json]

The same sizes as `reference_tf.py`: a map of 8×8×1536, Dense 512, embedding and GRU 512,
20,000 words, batches of 32, captions of 8 to 14 words. Reading the features from the cache's
files counts. ``--reference`` takes the JSON that `reference_tf.py --out` wrote on the same
machine just before, and prints the ratio.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from machine import describe

from plait.config.recipe import Recipe, load_recipe
from plait.network import build_network
from plait.outputs.text.output import TextTarget
from plait.pipeline.cache import FeatureSpace
from plait.pipeline.engine import Parts, build_parts
from plait.pipeline.inputs import Features, view_key
from plait.pipeline.records import Records, Targets
from plait.training.loop import Trainer

WORDS, MAP, BATCH, LENGTHS = 20_000, (1536, 8, 8), 32, (8, 15)


def made_up_parts(recipe: Recipe) -> Parts:
    words = [f"w{i}" for i in range(WORDS - 4)]
    state = {"unit": "words", "words": words, "punctuation": True}
    return build_parts(recipe, {"inputs.image": {}, "outputs.caption": state})


def made_up_records(parts: Parts, folder: Path, count: int) -> Records:
    rng = np.random.default_rng(0)
    space = FeatureSpace("step", MAP, folder=folder)
    keys = [str(i) for i in range(count)]
    space.add({view_key(k, 0): rng.random(MAP, np.float32) for k in keys})
    captions = [
        TextTarget((tuple(rng.integers(4, WORDS, rng.integers(*LENGTHS)).tolist()),)) for _ in keys
    ]
    targets = Targets(parts.outputs["caption"], captions)
    return Records({"image": Features(space, keys)}, {"caption": targets}, count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--reference", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        recipe = load_recipe("captioning-reference")
        parts = made_up_parts(recipe)
        records = made_up_records(parts, Path(folder), BATCH * (args.steps + 2))
        network = build_network(recipe, parts, pretrained=False)
        work = Trainer(recipe, network, records, None, Path(folder))
        seconds = time_steps(work, args.steps)
    wall = statistics.median(seconds)
    print(f"plait {wall:.3f} s a step (median of {len(seconds)})")
    if args.reference:
        theirs = json.loads(args.reference.read_text())["seconds_per_step"]
        print(f"reference {theirs:.2f} s a step, ratio {theirs / wall:.1f}")
    print(describe())


def time_steps(work: Trainer, count: int) -> list[float]:
    stage = work.stages[0]
    optimizer = work.begin(stage)
    work.network.train()
    seconds = []
    for step, rows in work.rows(stage):
        if step >= count + 2:
            break
        start = time.perf_counter()
        work.step(stage, optimizer, step, count + 2, rows)
        seconds.append(time.perf_counter() - start)
    return seconds[2:]


if __name__ == "__main__":
    main()
