"""Whether the weights of segments tell what the model rests on.

- Deletion and insertion (Petsiuk et al. 2018, arXiv:1806.07421): the heaviest segments are hidden
  first, or shown first, while the support for the answer is followed. The area below the first
  curve should be small and that below the second large, compared with segments in random order.
- Random weights (Adebayo et al. 2018, arXiv:1810.03292): an untrained model should explain itself
  differently; the two are compared by rank correlation.

Shapes: K orders, P segments, S points of a curve.
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
    """The support for an answer while segments are hidden, or shown.

    Attributes:
        points: (S,) the support.
        shares: (S,) the share of the segments that were hidden or shown by then, from 0 to 1.
    """

    points: Weights
    shares: Weights

    @property
    def area(self) -> float:
        """The area below the curve, by trapezoids: its mean height."""
        return float(np.diff(self.shares) @ (self.points[1:] + self.points[:-1]) / 2)


@dataclass(frozen=True)
class Curves:
    """The curves of one order of the segments, or the means over several orders."""

    deletion: Curve
    insertion: Curve


def curves(
    probe: Probe, network: Network, name: str, orders: Sequence[NDArray[np.int64]]
) -> list[Curves]:
    """The curves of an input's segments in each of these orders, (P,) from first to last."""
    count = len(probe.segments[name].parts)
    sizes = _sizes(count)
    kept = np.zeros((len(orders), 2, len(sizes), count), bool)
    for masks, order in zip(kept, orders, strict=True):
        for point, size in enumerate(sizes):
            masks[0, point, order[size:]] = True
            masks[1, point, order[:size]] = True
    # All curves share their ends, and short ones share more.
    different, at = np.unique(kept.reshape(-1, count), axis=0, return_inverse=True)
    scores = probe.scores(network, probe.perturb({name: different}))[:, 0].numpy()
    shares = np.array(sizes) / count
    return [
        Curves(Curve(deletion, shares), Curve(insertion, shares))
        for deletion, insertion in scores[at.reshape(kept.shape[:3])]
    ]


def _sizes(count: int) -> list[int]:
    """From 0 to all segments, as evenly as possible and the same from both ends."""
    points = min(count, POINTS)
    first = [point * count // points for point in range(points // 2 + 1)]
    return first + [count - size for size in reversed(first[: (points + 1) // 2])]


def random_curves(probe: Probe, network: Network, name: str) -> Curves:
    """The mean over a random order, always the same, and its reverse: what is shown last in one is
    hidden last in the other, so that most variants of the record serve both."""
    order = np.random.default_rng(0).permutation(len(probe.segments[name].parts))
    both = curves(probe, network, name, [order, order[::-1]])
    deletion = np.mean([each.deletion.points for each in both], axis=0)
    insertion = np.mean([each.insertion.points for each in both], axis=0)
    shares = both[0].deletion.shares
    return Curves(Curve(deletion, shares), Curve(insertion, shares))


def heaviest_first(weights: Weights) -> NDArray[np.int64]:
    """(P,) the segments in the order of their weights."""
    return np.argsort(-weights, kind="stable")


def rank_correlation(one: Weights, other: Weights) -> float | None:
    """Spearman's, from -1 to 1; None where one of them is the same everywhere."""
    ranks = [_ranks(values) - (len(values) - 1) / 2 for values in (one, other)]
    size = float(np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum()))
    return float(ranks[0] @ ranks[1]) / size if size else None


def _ranks(values: Weights) -> Weights:
    """(P,) from 0; equal values share the mean of their ranks."""
    _, at, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts + 1) / 2)[at]
