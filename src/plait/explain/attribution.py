"""Which segments of its inputs an answer rests on, by three methods, and whether they are right.

- Occlusion: how much support the answer loses once a segment is hidden (Zeiler and Fergus 2014,
  arXiv:1311.2901), computed by captum.
- Integrated gradients over the encoders' tokens, from the learned missing token to the token that
  is there (Sundararajan et al. 2017, arXiv:1703.01365), computed by captum. Over all tokens they
  sum to the support with the tokens minus the support without.
- Attention, where the model has it: where each step of the answer looked.

Two checks say whether the weights tell what the model rests on:

- Deletion and insertion (Petsiuk et al. 2018, arXiv:1806.07421): the heaviest segments are hidden
  first, or shown first, while the support for the answer is followed. The area below the first
  curve should be small and that below the second large, compared with segments in random order.
- Random weights (Adebayo et al. 2018, arXiv:1810.03292): an untrained model should explain itself
  differently; the two are compared by rank correlation.

Shapes: N variants, P segments, T tokens, D width, L steps, K orders, S points of a curve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plait.explain.probe import Probe
from plait.modalities.segments import Weights
from plait.network import Network
from plait.types import Tokens
from plait.util.imports import needed

OCCLUSION, GRADIENTS, ATTENTION = "occlusion", "integrated gradients", "attention"
STEPS, ROUGH_STEPS = 16, 8  # of the integral; of one that only has to rank the segments
AT_ONCE = 16  # of these steps
POINTS = 4  # of a curve, beside its start


@dataclass(frozen=True)
class Attribution:
    """Weights of an input's segments; positive ones speak for the answer."""

    weights: Weights  # (P,) for the whole answer
    steps: Weights  # (L, P) for each of its steps; (0, P) where the method has none


@dataclass(frozen=True)
class Integrated:
    """Integrated gradients."""

    tokens: Mapping[str, Weights]  # by input, (T,) the weight of each token
    total: float  # the support with all tokens minus the support without, computed directly

    @property
    def gap(self) -> float:
        """How far the sum of the weights is from the total."""
        return abs(sum(float(weights.sum()) for weights in self.tokens.values()) - self.total)


@torch.no_grad()
def attributions(
    probe: Probe, network: Network, integrated: Integrated
) -> dict[str, dict[str, Attribution]]:
    """Input -> method -> weights; an input goes without the methods that can't tell its segments
    apart, as where a single token stands for all of it."""
    looks = network.head(probe.output).looks(network.fuse(probe.batch), probe.answer)
    methods = {}
    for name, segments in probe.segments.items():
        methods[name] = {OCCLUSION: occlusion(probe, network, name)}
        weights = integrated.tokens[name]  # (T,)
        if len(weights) > 1:
            places = segments.overlap(len(weights))  # (T, P)
            methods[name][GRADIENTS] = Attribution(weights @ places, np.zeros((0, places.shape[1])))
        if name in looks and len(looks[name]) and looks[name].shape[1] > 1:
            looked = looks[name].cpu().double().numpy()  # (L, T)
            steps = looked @ segments.overlap(looked.shape[1])
            methods[name][ATTENTION] = Attribution(steps.mean(axis=0), steps)
    return methods


def occlusion(probe: Probe, network: Network, name: str) -> Attribution:
    """What is lost as each segment of an input is hidden, while all else is there."""
    ablation = needed("captum.attr", "explain").FeatureAblation(
        lambda gates: probe.scores(network, probe.perturb({name: gates.numpy() > 0.5}))
    )
    gates = torch.ones(1, len(probe.segments[name].names))
    lost = ablation.attribute(gates, perturbations_per_eval=AT_ONCE).numpy()  # (1 + L, P)
    return Attribution(lost[0], lost[1:])


def integrated_gradients(probe: Probe, network: Network, steps: int = STEPS) -> Integrated:
    """Of all tokens of the inputs that the record has."""
    prepared, lengths = network.tensors(probe.batch)
    tokens = network.tokens(prepared, lengths)
    names = list(probe.segments)
    values = tuple(tokens[name].values.detach() for name in names)  # (1, T, D) each
    adapters: Any = network.adapters
    missing = tuple(
        adapters[name].missing.detach().expand_as(value)
        for name, value in zip(names, values, strict=True)
    )

    def support(*changed: Tensor) -> Tensor:
        """(N,) with these tokens, (N, T, D), in place of the record's."""
        count, replaced = len(changed[0]), dict(zip(names, changed, strict=True))
        parts = {
            name: Tokens(
                replaced.get(name, part.values).expand(count, -1, -1), part.mask.expand(count, -1)
            )
            for name, part in tokens.items()
        }
        present = {name: (length > 0).expand(count) for name, length in lengths.items()}
        fused = network.fusion(parts, present)
        return network.head(probe.output).support(fused, [probe.answer] * count)

    gradients = needed("captum.attr", "explain").IntegratedGradients(support)
    weights = gradients.attribute(values, missing, n_steps=steps, internal_batch_size=AT_ONCE)
    by_token = {
        name: value.sum(dim=2)[0, : int(tokens[name].mask.sum())].detach().cpu().double().numpy()
        for name, value in zip(names, weights, strict=True)
    }
    with torch.no_grad():
        total = float(support(*values) - support(*missing))
    return Integrated(by_token, total)


@dataclass(frozen=True)
class Curve:
    """The support for an answer while segments are hidden, or shown."""

    points: Weights  # (S,) the support
    shares: Weights  # (S,) the share of the segments that were hidden or shown by then

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
    count = len(probe.segments[name].names)
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
    order = np.random.default_rng(0).permutation(len(probe.segments[name].names))
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
