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
from plait.training.sources import Mixture, with_sources
from plait.types import Fused, Tokens, UsageError

MOST_ROWS = 5000  # of a table, to learn from; more would take minutes and add little
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
    """Learn from the training rows and the sources, choose the penalty by the validation rows,
    answer ``split``.

    How the recipe represents and fuses its inputs does not matter. Outputs that have no linear
    model, such as text, are left out. The seconds are those of fitting, with cached features.
    """
    recipe = classical_recipe(recipe)
    unfitted = build_parts(recipe)
    rows, columns = open_table(recipe, unfitted, table)
    splits = split_table(recipe, unfitted, rows, columns)
    few = some_rows(splits["train"], recipe.data.rows, recipe.seed)
    mixture = with_sources(recipe, unfitted, rows, columns, {**splits, "train": few})
    taught = _taught(mixture, recipe.seed)
    learning = mixture.table.where(taught)
    parts = fit_parts(recipe, unfitted, learning, columns)
    network = build_network(recipe, parts)
    preparer = Preparer(parts, TorchEngine(network), columns, bad)
    train, left = preparer.prepare(learning, views=False)
    tables = _by_table(mixture, [taught[at] for at in left])
    val, _ = preparer.prepare(rows.where(splits["val"]), views=False)
    asked, kept = preparer.prepare(rows.where(splits[split]), views=False)
    begun = time.perf_counter()
    learned, chosen_by, wanted = join_vectors(parts.modalities, [train, val, asked])
    outputs = {name: output for name, output in parts.outputs.items() if output.linear}
    predictions, parameters = {}, 0
    for name, output in outputs.items():
        head, collate = network.head(name), output.collate
        targets = collate(list(train.targets[name])), collate(list(val.targets[name]))
        fit_linear(head, learned, targets[0], chosen_by, targets[1], tables)
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


def _taught(mixture: Mixture, seed: int) -> list[int]:
    """The rows to learn from: at most `MOST_ROWS` of each table."""
    of: dict[int, list[int]] = {}
    for row in mixture.splits["train"]:
        of.setdefault(_source(mixture, row), []).append(row)
    return [row for rows in of.values() for row in some_rows(rows, MOST_ROWS, seed)]


def _by_table(mixture: Mixture, rows: Sequence[int]) -> list[tuple[float, list[int]]]:
    """Each table's share of the loss, and the places of its rows in ``rows``. The share is that of
    its records among those that a network is shown in an epoch."""
    places: dict[int, list[int]] = {}
    for at, row in enumerate(rows):
        places.setdefault(_source(mixture, row), []).append(at)
    shown = {n: mixture.learned[n].weight * mixture.learned[n].rows for n in places}
    return [(shown[n] / sum(shown.values()), own) for n, own in places.items()]


def _source(mixture: Mixture, row: int) -> int:
    """The number of a row's source, 0 for the table itself."""
    return 0 if mixture.sources is None else int(mixture.sources[row])


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
    return [_fused(torch.from_numpy(np.concatenate(block, axis=1)).float()) for block in blocks]


def _fused(x: Tensor) -> Fused:
    """(N, D) vectors as a head takes them."""
    return Fused(x, Tokens(x[:, None], torch.ones(len(x), 1, dtype=torch.bool)), {})


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
    head: Head,
    x: Fused,
    targets: Sequence[Any],
    val: Fused,
    wanted: Sequence[Any],
    tables: Sequence[tuple[float, Sequence[int]]] | None = None,
) -> None:
    """Give a head one linear layer, fitted with the penalty that has the lowest validation loss;
    then let it calibrate itself.

    The loss is convex: L-BFGS finds its only minimum, from the strongest penalty to the weakest,
    each starting where the one before ended.

    Args:
        head: of the output.
        x: the training records' vectors.
        targets: their targets.
        val: the vectors of the validation records.
        wanted: their targets.
        tables: the share of the loss and the records of each table; None: all records weigh alike.
    """
    each = [
        (share, _fused(x.pooled[list(rows)]), [targets[row] for row in rows])
        for share, rows in tables or [(1.0, range(len(targets)))]
    ]
    linear = head.to_linear(x.pooled.shape[1])
    head.begin(targets)
    least, best = float("inf"), linear.state_dict()
    for penalty in PENALTIES:
        _minimise(head, linear, each, penalty)
        with torch.no_grad():
            loss = float(head.loss(val, wanted))
        if loss < least:
            least, best = loss, {n: v.clone() for n, v in linear.state_dict().items()}
    linear.load_state_dict(best)
    head.eval()
    head.calibrate([val], wanted)


def _minimise(
    head: Head,
    linear: nn.Linear,
    each: Sequence[tuple[float, Fused, Sequence[Any]]],
    penalty: float,
) -> None:
    """Minimise the mean of each table's loss, weighted by its share, plus the penalty."""
    optimizer = torch.optim.LBFGS(
        linear.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        losses = (share * head.loss(x, targets) for share, x, targets in each)
        loss = sum(losses, penalty * linear.weight.square().sum())
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
