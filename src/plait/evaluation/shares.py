"""Each input's share of an answer: Shapley values over the inputs, and how pairs work together.

An input's share is how much it adds to the model's support for its answer, averaged over all orders
in which the inputs could be given (Shapley 1953; Lundberg and Lee 2017, arXiv:1705.07874). The
others are missing, as in training with missing inputs. A record's shares sum to the support with
all of its inputs minus the support with none.

Shapes: B records, M inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.pipeline.engine import Batch, Engine
from plait.types import Prediction, UsageError

MAX_INPUTS = 8  # 256 subsets

Floats = NDArray[np.float64]
Subset = frozenset[str]
Pair = tuple[str, str]


def input_shares(
    engine: Engine, batch: Batch, output: str, predictions: Sequence[Prediction]
) -> list[dict[str, float]]:
    """For each record, by input, its share of the model's support for the predicted answer.

    Raises:
        UsageError: the model has more than eight inputs, or the engine can't tell.
    """
    names = list(batch.lengths)
    answers = [prediction.value for prediction in predictions]
    rows = shapley(names, supports(engine, batch, output, answers)).tolist()
    return [dict(zip(names, row, strict=True)) for row in rows]


def supports(
    engine: Engine, batch: Batch, output: str, answers: Sequence[Any]
) -> dict[Subset, Floats]:
    """(B,) the support for the answers by every subset of the inputs; raises as `input_shares`."""
    names = list(batch.lengths)
    if len(names) > MAX_INPUTS:
        raise UsageError(f"shares of {len(names)} inputs", expected=f"at most {MAX_INPUTS}")
    return {s: engine.support(batch.with_inputs(s), output, answers) for s in subsets(names)}


def subsets(names: Sequence[str]) -> list[Subset]:
    """All subsets, the empty one first."""
    sizes = range(len(names) + 1)
    return [frozenset(chosen) for size in sizes for chosen in combinations(names, size)]


def shapley(names: Sequence[str], values: Mapping[Subset, Floats]) -> Floats:
    """(B, M) from the value (B,) of every subset:

    sum over the subsets S without i of |S|! (M - |S| - 1)! / M! · (v(S + i) - v(S)).
    """
    count = len(names)
    columns = []
    for name in names:
        column = np.zeros_like(values[frozenset()])
        for subset, value in values.items():
            if name not in subset:
                size = len(subset)
                weight = factorial(size) * factorial(count - size - 1) / factorial(count)
                column += weight * (values[subset | {name}] - value)
        columns.append(column)
    return np.stack(columns, axis=1)


def interactions(names: Sequence[str], values: Mapping[Subset, Floats]) -> dict[Pair, Floats]:
    """Pair of inputs -> (B,) what they are worth together beyond what each is worth alone: the
    Shapley interaction index (Grabisch and Roubens 1999, "An axiomatic approach to the concept of
    interaction among players in cooperative games", Int. J. Game Theory 28),

    sum over the subsets S without i and j of |S|! (M - |S| - 2)! / (M - 1)!
    · (v(S + i + j) - v(S + i) - v(S + j) + v(S)).

    Positive where they need each other, negative where one could stand for the other.
    """
    count, found = len(names), {}
    for one, other in combinations(names, 2):
        total = np.zeros_like(values[frozenset()])
        for subset, value in values.items():
            if not subset & {one, other}:
                size = len(subset)
                weight = factorial(size) * factorial(count - size - 2) / factorial(count - 1)
                both = values[subset | {one, other}]
                total += weight * (both - values[subset | {one}] - values[subset | {other}] + value)
        found[one, other] = total
    return found
