"""The step of an output's networks as a function of named arrays, as it is exported.

The raw outputs of an output that takes steps hold the state of every network before the first
token: what it keeps of the input, under ``memory/``, and what it keeps of the tokens so far, under
``past/``. A step takes both and ``tokens`` (N,), and gives each network's scores (N, V) of the next
token, under ``scores/``, and the next past, under ``next/past/``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from plait.outputs.base import RawOutputs

TOKENS = "tokens"
MEMORY, PAST, NEXT, SCORES = "memory/", "past/", "next/", "scores/"

Arrays: TypeAlias = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class _State:
    """Every array's first axis is the hypothesis; ``records`` (N,) says whose it is."""

    memory: Arrays
    past: Arrays
    records: NDArray[np.int64]


class GraphSteps:
    """Runs an exported step (see `plait.outputs.base.Steps`)."""

    def __init__(self, run: Callable[[Arrays], Arrays]) -> None:
        self.run = run

    def start(self, raw: RawOutputs, models: Collection[str]) -> _State:
        """The state before the first token; the graph holds all models."""
        memory = {name: value for name, value in raw.items() if name.startswith(MEMORY)}
        past = {name: value for name, value in raw.items() if name.startswith(PAST)}
        return _State(memory, past, np.arange(len(next(iter(memory.values())))))

    def step(
        self, tokens: NDArray[np.int64], state: _State
    ) -> tuple[dict[str, NDArray[np.float32]], _State]:
        """Append a token to each hypothesis: every model's scores of the next, and the state."""
        found = self.run({TOKENS: tokens, **state.memory, **state.past})
        past = {name: found[f"{NEXT}{name}"] for name in state.past}
        scores = {n.removeprefix(SCORES): v for n, v in found.items() if n.startswith(SCORES)}
        return scores, _State(state.memory, past, state.records)

    def select(self, state: _State, rows: NDArray[np.int64]) -> _State:
        """These hypotheses, in this order."""
        records, memory = state.records[rows], state.memory
        if not np.array_equal(records, state.records):  # the memory, the larger part, is the same
            memory = {name: value[rows] for name, value in memory.items()}
        return _State(memory, {name: value[rows] for name, value in state.past.items()}, records)

    def attention(
        self, raw: RawOutputs, tokens: NDArray[np.int64]
    ) -> dict[str, NDArray[np.float32]]:
        """None: an exported step gives no attention."""
        return {}
