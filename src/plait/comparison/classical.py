"""The classical baseline, to which every comparison holds its variants.

The inputs' classical representations as one long vector, and a linear model of it: logistic
regression for classes and labels, ridge regression (with the output's own loss) for numbers. It
takes seconds, and a network that isn't better is not worth its cost.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from plait.config import registry
from plait.config.recipe import Recipe, check_recipe
from plait.data.cells import ErrorPolicy
from plait.data.tables import Table
from plait.modalities.base import Classical, Modality
from plait.network import TorchEngine, build_network
from plait.nn.base import Head
from plait.nn.blocks import count_parameters
from plait.pipeline.engine import build_parts
from plait.pipeline.inputs import view_key
from plait.pipeline.records import Preparer, Records, fit_parts, open_table, some_rows, split_table
from plait.types import Fused, Prediction, Tokens, UsageError

MOST_ROWS = 5000  # to learn from; more would take minutes and add little
PENALTIES = (1e-2, 1e-3, 1e-4, 1e-5)  # on the squared weights; the validation loss chooses
STEPS = 100  # of L-BFGS at most, for each penalty
NAME: Final = "classical"


@dataclass(frozen=True)
class Answers:
    """The baseline's answers.

    Attributes:
        predictions, references: by output, without those that have no linear model, such as text.
        rows: numbers of the answered records in the table, from 1.
        learned: how many records the baseline learned from.
        parameters: number of weights of the linear models.
        seconds: of fitting them, with cached features.
    """

    predictions: dict[str, list[Prediction]]
    references: dict[str, list[Any]]
    rows: list[int]
    learned: int
    parameters: int
    seconds: float


def classical_recipe(recipe: Recipe) -> Recipe:
    """The recipe with every input in its modality's classical representation; one that the recipe
    already has keeps its settings. Inputs whose modality has no classical one are left out.

    Raises:
        UsageError: no input is left.
    """
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


def answer_classically(recipe: Recipe, table: Table, split: str, bad: ErrorPolicy) -> Answers:
    """Learn from the training rows, choose the penalty by the validation rows, answer ``split``.

    Args:
        recipe: its inputs and outputs; how it represents and fuses them does not matter.
        table: all rows.
        split: which rows to answer: ``train``, ``val`` or ``test``.
        bad: counts the cells that can't be used.
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
    vectors = _Vectors(parts.modalities, train)
    chosen_by, wanted = vectors(val), vectors(asked)
    predictions: dict[str, list[Prediction]] = {}
    parameters = 0
    for name, output in parts.outputs.items():
        if output.linear:
            head, collate = network.head(name), output.collate
            targets = collate(list(train.targets[name])), collate(list(val.targets[name]))
            fit_linear(head, vectors.train, targets[0], chosen_by, targets[1])
            with torch.no_grad():
                raw = {key: value.numpy() for key, value in head.raw_outputs(wanted).items()}
            predictions[name] = output.decode(raw, head.fitted(), output.options())
            parameters += count_parameters(head)
    answered = rows.where([splits[split][row] for row in kept])
    references = {
        name: [
            parts.outputs[name].reference(cell, answered.root)
            for cell in answered.column(columns[f"outputs.{name}"])
        ]
        for name in predictions
    }
    numbers = [answered.number(row) for row in range(len(answered))]
    seconds = time.perf_counter() - begun
    return Answers(predictions, references, numbers, len(train), parameters, seconds)


class _Vectors:
    """Records -> one vector each: the inputs' vectors side by side, each input centred and scaled
    by one number, so that all inputs weigh the same; a missing input is zeros and a flag.

    Attributes:
        train: the vectors of the records that the scales come from.
    """

    def __init__(self, modalities: Mapping[str, Modality], train: Records) -> None:
        self.modalities = modalities
        self.scales: dict[str, tuple[np.ndarray, float]] = {}
        raw = {name: self._raw(name, train) for name in modalities}
        for name, (values, there) in raw.items():
            mean = values[there].mean(axis=0)
            size = float(np.sqrt(((values[there] - mean) ** 2).sum(axis=1).mean()))
            self.scales[name] = mean, max(size, 1e-6)
        self.train = self._scaled(raw)

    def __call__(self, records: Records) -> Fused:
        """(N, D) as heads take it."""
        return self._scaled({name: self._raw(name, records) for name in self.modalities})

    def _scaled(self, raw: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Fused:
        blocks = []
        for name, (values, there) in raw.items():
            mean, size = self.scales[name]
            blocks += [np.where(there[:, None], (values - mean) / size, 0.0), there[:, None]]
        pooled = torch.from_numpy(np.concatenate(blocks, axis=1).astype(np.float32))
        mask = torch.ones(len(pooled), 1, dtype=torch.bool)
        return Fused(pooled, Tokens(pooled[:, None], mask), {})

    def _raw(self, name: str, records: Records) -> tuple[np.ndarray, np.ndarray]:
        """(N, D), and (N,) bool: which of them are there."""
        modality, features = self.modalities[name], records.inputs[name]
        space, keys = features.space, features.keys
        assert isinstance(modality, Classical)
        known = [at for at, key in enumerate(keys) if key is not None]
        rows = space.get([view_key(str(keys[at]), 0) for at in known])
        filled = [(at, row) for at, row in zip(known, rows, strict=True) if len(row)]
        there = np.zeros(len(keys), bool)
        there[[at for at, _ in filled]] = True
        if not filled:
            return np.zeros((len(keys), len(self.scales[name][0])), np.float32), there
        kept = modality.vectors([row for _, row in filled])
        values = np.zeros((len(keys), kept.shape[1]), np.float32)
        values[there] = kept
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
