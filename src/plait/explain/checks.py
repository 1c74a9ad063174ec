"""Whether weights of parts say what the model rests on.

- Deletion and insertion (Petsiuk et al. 2018, arXiv:1806.07421): the heaviest parts are hidden
  first, or shown first, and what the model thinks of its answer is followed. The area below the
  first curve should be small and that below the second large, compared with parts in random order.
- Random weights (Adebayo et al. 2018, arXiv:1810.03292): a model that has learned nothing should
  explain itself otherwise; the two are compared by rank correlation.

Shapes: K orders, P parts, S points of a curve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plait.explain.probe import Probe
from plait.modalities.segments import Weights
from plait.network import Network

POINTS = 4  # of a curve, beside its start


@dataclass(frozen=True)
class Curve:
    """What the model thinks of its answer while parts are hidden, or shown.

    Attributes:
        points: (S,) what it thinks.
        shares: (S,) of how many of the parts, from 0 to 1.
    """

    points: Weights
    shares: Weights

    @property
    def area(self) -> float:
        """Below it, by trapezoids: its mean height."""
        return float(np.diff(self.shares) @ (self.points[1:] + self.points[:-1]) / 2)


@dataclass(frozen=True)
class Curves:
    """Of one order of the parts, or the mean of several."""

    deletion: Curve
    insertion: Curve


def curves(
    probe: Probe, network: Network, name: str, orders: Sequence[NDArray[np.int64]]
) -> list[Curves]:
    """The curves of an input's parts in these orders (P,), the first part first."""
    count = len(probe.layouts[name].parts)
    sizes = _sizes(count)
    kept = np.zeros((len(orders), 2, len(sizes), count), bool)
    for of_order, order in zip(kept, orders, strict=True):
        for point, size in enumerate(sizes):
            of_order[0, point, order[size:]] = True
            of_order[1, point, order[:size]] = True
    # All curves have the same ends, and short ones more in common.
    different, at = np.unique(kept.reshape(-1, count), axis=0, return_inverse=True)
    scores = probe.scores(network, probe.without({name: different}))[:, 0].numpy()
    found = scores[at.reshape(kept.shape[:3])]
    shares = np.array(sizes) / count
    return [
        Curves(Curve(deletion, shares), Curve(insertion, shares)) for deletion, insertion in found
    ]


def _sizes(count: int) -> list[int]:
    """From 0 to so many parts, as even as can be and the same from both ends."""
    points = min(count, POINTS)
    first = [point * count // points for point in range(points // 2 + 1)]
    return first + [count - size for size in reversed(first[: (points + 1) // 2])]


def random_curves(probe: Probe, network: Network, name: str) -> Curves:
    """The mean of a random order, the same each time, and of the same from its end: what is shown
    last in one is hidden last in the other, so that most variants of the record serve both."""
    order = np.random.default_rng(0).permutation(len(probe.layouts[name].parts))
    found = curves(probe, network, name, [order, order[::-1]])
    return Curves(_mean([e.deletion for e in found]), _mean([e.insertion for e in found]))


def _mean(curves: Sequence[Curve]) -> Curve:
    return Curve(np.mean([curve.points for curve in curves], axis=0), curves[0].shares)


def heaviest_first(weights: Weights) -> NDArray[np.int64]:
    """(P,) the parts in the order of their weights."""
    return np.argsort(-weights, kind="stable")


def rank_correlation(one: Weights, other: Weights) -> float | None:
    """Spearman's, from -1 to 1; None where one of them is the same everywhere."""
    ranks = [_ranks(values) - (len(values) - 1) / 2 for values in (one, other)]
    size = float(np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum()))
    return float(ranks[0] @ ranks[1]) / size if size else None


def _ranks(values: Weights) -> Weights:
    """(P,) from 0; equal ones share the mean of their ranks."""
    _, at, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts + 1) / 2)[at]
