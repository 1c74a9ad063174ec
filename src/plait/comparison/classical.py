"""The classical baseline: what a comparison is held against, always.

Each input's classical representation as one plain vector, side by side, and a linear model of
them: logistic regression for classes and labels, ridge regression (with the output's own loss) for
numbers. It takes seconds, and a network that is no better is not worth its cost.
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
from plait.network import build_network, build_parts
from plait.nn.blocks import count_parameters
from plait.nn.branches import Scores
from plait.outputs.pooled import PooledHead
from plait.pipeline.features import CachedRecords, view_key
from plait.pipeline.records import Preparer, fit_states, open_table, some_rows, split_table
from plait.types import Fused, Prediction, State, Tokens, UsageError

MOST_ROWS = 5000  # that it learns from; more would take minutes and add little
PENALTIES = (1e-2, 1e-3, 1e-4, 1e-5)  # of the squared weights; the validation loss chooses
STEPS = 100  # of L-BFGS at the most, for each penalty
NAME: Final = "classical"


@dataclass(frozen=True)
class Answers:
    """The baseline's answers.

    Attributes:
        predictions, references: by output; those that have no linear model, as text, are left out.
        rows: their numbers in the table, from 1, one a record.
        learned: how many records they were learned from.
        parameters: of the linear models.
        seconds: of fitting them, cached features given.
    """

    predictions: Mapping[str, list[Prediction]]
    references: Mapping[str, list[Any]]
    rows: list[int]
    learned: int
    parameters: int
    seconds: float


def classical_recipe(recipe: Recipe) -> Recipe:
    """The recipe with every input in its modality's classical representation, with its own
    settings where the recipe has it already; inputs whose modality has none are left out.

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
    """The representation of a modality that gives plain vectors, if it has one."""
    names = registry.names(modality)
    return next((n for n in names if issubclass(registry.find(modality, n).cls, Classical)), None)


def answer_classically(recipe: Recipe, table: Table, split: str, bad: ErrorPolicy) -> Answers:
    """Learn from the training rows, choose by the validation rows, answer those of ``split``.

    Args:
        recipe: its inputs and outputs; how it represents and fuses them does not matter.
        table: all rows.
        split: ``train``, ``val`` or ``test``, which of them to answer.
        bad: where cells that can't be used are counted.
    """
    recipe = classical_recipe(recipe)
    parts = build_parts(recipe)
    rows, columns = open_table(recipe, parts, table)
    splits = split_table(recipe, parts, rows, columns)
    most = min(MOST_ROWS, recipe.data.rows or MOST_ROWS)
    learning = rows.where(some_rows(splits["train"], most, recipe.seed))
    states = fit_states(recipe, parts, learning, columns)
    network = build_network(recipe, parts, states)
    preparer = Preparer(parts, states, network, columns, bad)
    train, _ = preparer.prepare(learning, views=False)
    val, _ = preparer.prepare(rows.where(splits["val"]), views=False)
    asked, kept = preparer.prepare(rows.where(splits[split]), views=False)
    begun = time.perf_counter()
    vectors = _Vectors(parts.modalities, states, train)
    chosen_by, wanted = vectors(val), vectors(asked)
    found: dict[str, list[Prediction]] = {}
    parameters = 0
    for name, head in ((name, network.head(name)) for name in parts.outputs):
        if isinstance(head, PooledHead):
            fit_linear(head, vectors.train, train.targets[name], chosen_by, val.targets[name])
            found[name] = head.decode(wanted)
            parameters += count_parameters(head)
    answered = rows.where([splits[split][row] for row in kept])
    references = {
        name: [
            parts.outputs[name].reference(c) for c in answered.column(columns[f"outputs.{name}"])
        ]
        for name in found
    }
    numbers = [answered.number(row) for row in range(len(answered))]
    seconds = time.perf_counter() - begun
    return Answers(found, references, numbers, len(train), parameters, seconds)


class _Vectors:
    """Records -> one vector each: the inputs' vectors side by side, each input centred and scaled
    by one number, so that all count alike; an absent input is zeros, and says so.

    Attributes:
        train: those of the records that the scales are of.
    """

    def __init__(
        self, modalities: Mapping[str, Modality], states: Mapping[str, State], train: CachedRecords
    ) -> None:
        self.modalities, self.states = modalities, states
        self.scales: dict[str, tuple[np.ndarray, float]] = {}
        raw = {name: self._raw(name, train) for name in modalities}
        for name, (values, there) in raw.items():
            mean = values[there].mean(axis=0)
            size = float(np.sqrt(((values[there] - mean) ** 2).sum(axis=1).mean()))
            self.scales[name] = mean, max(size, 1e-6)
        self.train = self._scaled(raw)

    def __call__(self, records: CachedRecords) -> Fused:
        """(N, D) as a head gets it."""
        return self._scaled({name: self._raw(name, records) for name in self.modalities})

    def _scaled(self, raw: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Fused:
        blocks = []
        for name, (values, there) in raw.items():
            mean, size = self.scales[name]
            blocks += [np.where(there[:, None], (values - mean) / size, 0.0), there[:, None]]
        pooled = torch.from_numpy(np.concatenate(blocks, axis=1).astype(np.float32))
        mask = torch.ones(len(pooled), 1, dtype=torch.bool)
        return Fused(pooled, Tokens(pooled[:, None], mask), {})

    def _raw(self, name: str, records: CachedRecords) -> tuple[np.ndarray, np.ndarray]:
        """(N, D), and (N,) bool, which of them are there."""
        modality = self.modalities[name].with_state(self.states[f"inputs.{name}"])
        space, keys, _ = records.inputs[name]
        assert isinstance(modality, Classical)
        known = [at for at, key in enumerate(keys) if key is not None]
        found = space.get([view_key(str(keys[at]), 0) for at in known])
        filled = [(at, row) for at, row in zip(known, found, strict=True) if len(row)]
        there = np.zeros(len(keys), bool)
        there[[at for at, _ in filled]] = True
        if not filled:
            return np.zeros((len(keys), len(self.scales[name][0])), np.float32), there
        kept = modality.vectors([row for _, row in filled])
        values = np.zeros((len(keys), kept.shape[1]), np.float32)
        values[there] = kept
        return values, there


class _Linear(nn.Module):
    """Fused -> (B, K), a linear layer on the pooled vector that begins at nothing."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.out = nn.Linear(width, size)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, fused: Fused) -> Tensor:
        return self.out(fused.pooled)


def fit_linear(
    head: PooledHead, x: Fused, targets: Sequence[Any], val: Fused, wanted: Sequence[Any]
) -> None:
    """Give a head one linear layer, fitted with the penalty that has the least validation loss;
    then let it calibrate itself.

    The loss is convex: L-BFGS finds its one minimum, from the strongest penalty to the weakest,
    each from the one before.
    """
    assert isinstance(head.raw, Scores)
    linear = _Linear(x.pooled.shape[1], head.raw.out.out_features)
    head.raw = linear
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
    head: PooledHead, linear: _Linear, x: Fused, targets: Sequence[Any], penalty: float
) -> None:
    optimizer = torch.optim.LBFGS(
        linear.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = head.loss(x, targets) + penalty * linear.out.weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
