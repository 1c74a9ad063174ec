"""The classical baseline, to which every comparison holds its variants.

The inputs' classical representations as one long vector, and a linear model of it: logistic
regression for classes and labels, ridge regression (with the output's own loss) for numbers. It
takes seconds, and a network that isn't better is not worth its cost.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from plait.comparison.results import Result
from plait.config import registry
from plait.config.recipe import Recipe, check_recipe
from plait.data.cells import ErrorPolicy
from plait.data.tables import Table
from plait.evaluation.predictions import read_references
from plait.modalities.base import Classical, Modality
from plait.network import TorchEngine, build_network
from plait.nn.base import Head
from plait.nn.blocks import count_parameters
from plait.pipeline.engine import build_parts
from plait.pipeline.inputs import Features, view_key
from plait.pipeline.records import Preparer, Records, fit_parts, open_table, some_rows, split_table
from plait.types import Fused, Tokens, UsageError

MOST_ROWS = 5000  # to learn from; more would take minutes and add little
PENALTIES = (1e-2, 1e-3, 1e-4, 1e-5)  # on the squared weights; the validation loss chooses
STEPS = 100  # of L-BFGS at most, for each penalty
NAME: Final = "classical"


def classical_recipe(recipe: Recipe) -> Recipe:
    """The recipe with every input in its modality's classical representation; one that the recipe
    already has keeps its settings. Inputs whose modality has no classical one are left out. Raises
    UsageError if no input is left."""
    data = recipe.model_dump()
    for name, spec in list(data["inputs"].items()):
        classical = classical_name(spec["modality"])
        if classical is None:
            del data["inputs"][name]
        elif spec["representation"]["kind"] != classical:
            spec["representation"] = {"kind": classical}
    if not data["inputs"]:
        raise UsageError("no input has a classical representation, which the baseline needs")
    data["fusion"] = {"kind": "early" if len(data["inputs"]) > 1 else "none"}
    return check_recipe(data)


def classical_name(modality: str) -> str | None:
    """The representation of a modality that gives one plain vector for each record, if any."""
    names = registry.names(modality)
    return next((n for n in names if issubclass(registry.find(modality, n).cls, Classical)), None)


def answer_classically(recipe: Recipe, table: Table, split: str, bad: ErrorPolicy) -> Result:
    """Learn from the training rows, choose the penalty by the validation rows, answer ``split``.

    How the recipe represents and fuses its inputs does not matter. Outputs that have no linear
    model, such as text, are left out. The seconds are those of fitting, with cached features.
    """
    recipe = classical_recipe(recipe)
    unfitted = build_parts(recipe)
    rows, columns = open_table(recipe, unfitted, table)
    splits = split_table(recipe, unfitted, rows, columns)
    most = min(MOST_ROWS, recipe.data.rows or MOST_ROWS)
    learning = rows.where(some_rows(splits["train"], most, recipe.seed))
    parts = fit_parts(recipe, unfitted, learning, columns)
    network = build_network(recipe, parts)
    preparer = Preparer(parts, TorchEngine(network), columns, bad)
    train, _ = preparer.prepare(learning, views=False)
    val, _ = preparer.prepare(rows.where(splits["val"]), views=False)
    asked, kept = preparer.prepare(rows.where(splits[split]), views=False)
    begun = time.perf_counter()
    learned, chosen_by, wanted = join_vectors(parts.modalities, [train, val, asked])
    outputs = {name: output for name, output in parts.outputs.items() if output.linear}
    predictions, parameters = {}, 0
    for name, output in outputs.items():
        head, collate = network.head(name), output.collate
        targets = collate(list(train.targets[name])), collate(list(val.targets[name]))
        fit_linear(head, learned, targets[0], chosen_by, targets[1])
        with torch.no_grad():
            raw = {key: value.numpy() for key, value in head.raw_outputs(wanted).items()}
        predictions[name] = output.decode(raw, head.fitted(), output.options())
        parameters += count_parameters(head)
    answered = [splits[split][row] for row in kept]
    return Result(
        rows=[rows.number(row) for row in answered],
        predictions=predictions,
        references=read_references(outputs, rows, columns, answered),
        learned=len(train),
        parameters=parameters,
        trained=parameters,
        seconds=time.perf_counter() - begun,
    )


def join_vectors(modalities: Mapping[str, Modality], records: Sequence[Records]) -> list[Fused]:
    """One vector per record, (N, D), for each of these sets of records: the inputs' vectors side by
    side. Each input is centred and scaled by one number, both from the first set, so that all
    inputs weigh the same; a missing input is zeros and a flag."""
    blocks: list[list[np.ndarray]] = [[] for _ in records]
    for name, modality in modalities.items():
        raw = [_vectors(modality, each.inputs[name]) for each in records]
        values, there = raw[0]
        if not there.any():
            continue  # nothing can be learned from it
        mean = values[there].mean(axis=0)
        size = float(np.sqrt(((values[there] - mean) ** 2).sum(axis=1).mean()))
        for block, (values, there) in zip(blocks, raw, strict=True):
            scaled = (values - mean) / max(size, 1e-6)
            block += [np.where(there[:, None], scaled, 0.0), there[:, None]]
    joined = [torch.from_numpy(np.concatenate(block, axis=1)).float() for block in blocks]
    return [
        Fused(x, Tokens(x[:, None], torch.ones(len(x), 1, dtype=torch.bool)), {}) for x in joined
    ]


def _vectors(modality: Modality, features: Features) -> tuple[np.ndarray, np.ndarray]:
    """(N, D), and (N,) bool: which records have the input; D is 1 if none has."""
    assert isinstance(modality, Classical)
    known = [at for at, key in enumerate(features.keys) if key is not None]
    rows = features.space.get([view_key(str(features.keys[at]), 0) for at in known])
    filled = {at: row for at, row in zip(known, rows, strict=True) if len(row)}
    kept = modality.vectors(list(filled.values())) if filled else np.zeros((0, 1), np.float32)
    values = np.zeros((len(features.keys), kept.shape[1]), np.float32)
    values[list(filled)] = kept
    there = np.zeros(len(values), bool)
    there[list(filled)] = True
    return values, there


def fit_linear(
    head: Head, x: Fused, targets: Sequence[Any], val: Fused, wanted: Sequence[Any]
) -> None:
    """Give a head one linear layer, fitted with the penalty that has the lowest validation loss;
    then let it calibrate itself.

    The loss is convex: L-BFGS finds its only minimum, from the strongest penalty to the weakest,
    each starting where the one before ended.
    """
    linear = head.to_linear(x.pooled.shape[1])
    head.begin(targets)
    least, best = float("inf"), linear.state_dict()
    for penalty in PENALTIES:
        _minimise(head, linear, x, targets, penalty)
        with torch.no_grad():
            loss = float(head.loss(val, wanted))
        if loss < least:
            least, best = loss, {n: v.clone() for n, v in linear.state_dict().items()}
    linear.load_state_dict(best)
    head.eval()
    head.calibrate([val], wanted)


def _minimise(
    head: Head, linear: nn.Linear, x: Fused, targets: Sequence[Any], penalty: float
) -> None:
    optimizer = torch.optim.LBFGS(
        linear.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = head.loss(x, targets) + penalty * linear.weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
