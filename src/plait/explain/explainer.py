"""Explaining one answer: shares of the inputs, weights of their segments, steps, checks.

Shapes: M inputs, P segments, L steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations, compress

import numpy as np
import torch

from plait.evaluation.shares import interactions, shapley, supports
from plait.explain.attribution import (
    ROUGH_STEPS,
    Attribution,
    attributions,
    curves,
    heaviest_first,
    integrated_gradients,
    random_curves,
    rank_correlation,
)
from plait.explain.explanation import ExplainedInput, Explanation, Method, Step
from plait.explain.probe import Probe
from plait.network import Network, TorchEngine
from plait.pipeline.engine import Batch

ALTERNATIVES = 4  # to each step
FEW, SHARES = (1, 2, 4), (0.25, 0.5, 0.75)  # how many segments are tried alone, and which shares


def explain(probe: Probe, network: Network, untrained: Network, model: str) -> Explanation:
    """Explain the answer that a probe asks about, given by the network of the named model.

    The same network ``untrained``, with random weights, should explain it differently.

    Raises:
        PlaitError: captum is not installed.
    """
    support = supports(TorchEngine(network), probe.batch, probe.output, [probe.answer])
    names = list(network.encoders)
    shares = dict(zip(names, shapley(names, support)[0].tolist(), strict=True))
    pairs = interactions(names, support).items()
    integrated = integrated_gradients(probe, network)
    learned = attributions(probe, network, integrated)
    rough = integrated_gradients(probe, untrained, ROUGH_STEPS)
    random = attributions(probe, untrained, rough)
    return Explanation(
        model=model,
        output=probe.output,
        answering=probe.answering,
        prediction=probe.prediction,
        inputs={
            name: _explain_input(probe, network, name, learned[name], random[name])
            for name in probe.segments
        },
        shares={name: shares[name] for name in probe.segments},
        interactions={p: float(v[0]) for p, v in pairs if probe.segments.keys() >= set(p)},
        smallest_sets=smallest_sets(probe, network),
        steps=_steps(probe, network),
        gap=integrated.gap,
    )


def _explain_input(
    probe: Probe,
    network: Network,
    name: str,
    learned: Mapping[str, Attribution],
    random: Mapping[str, Attribution],
) -> ExplainedInput:
    orders = [heaviest_first(attribution.weights) for attribution in learned.values()]
    found = zip(learned.items(), curves(probe, network, name, orders), strict=True)
    methods = {
        method: Method(
            own.weights, own.steps, checked, rank_correlation(own.weights, random[method].weights)
        )
        for (method, own), checked in found
    }
    heaviest, count = orders[0], len(orders[0])
    sizes = {*FEW, *(round(share * count) for share in SHARES), count - 1}
    tried = tuple(sorted(size for size in sizes if 0 < size < count))
    kept = np.zeros((len(tried), count), bool)
    for mask, size in zip(kept, tried, strict=True):
        mask[heaviest[:size]] = True
    same = probe.keeps(network, probe.perturb({name: kept})) if tried else []
    return ExplainedInput(
        segments=probe.segments[name],
        methods=methods,
        random_order=random_curves(probe, network, name),
        tried=tried,
        enough=next(compress(tried, same), None),
    )


def smallest_sets(probe: Probe, network: Network) -> list[tuple[str, ...]]:
    """The smallest sets of the record's inputs that give the same answer; the empty one where the
    model gives it without any input. A single input is not tried."""
    names = list(probe.segments)
    for size in range(len(names) if len(names) > 1 else 0):
        tried = list(combinations(names, size))
        variants = Batch.concatenate([probe.batch.with_inputs(subset) for subset in tried])
        if smallest := list(compress(tried, probe.keeps(network, variants))):
            return smallest
    return [tuple(names)]


@torch.no_grad()
def _steps(probe: Probe, network: Network) -> list[Step]:
    """Each step with what might have stood in its place, and what it relied on."""
    head, names = network.head(probe.output), list(probe.segments)
    steps = head.alternatives(network.fuse(probe.batch), probe.answer, ALTERNATIVES)
    without = (probe.batch.with_inputs(network.encoders.keys() - {name}) for name in names)
    scores = probe.scores(network, Batch.concatenate([probe.batch, *without]))[:, 1:]
    lost = (scores[0] - scores[1:]).T.tolist()  # (L, M)
    return [
        Step(chosen, tuple(others), dict(zip(names, reliance, strict=True)))
        for (chosen, *others), reliance in zip(steps, lost, strict=True)
    ]
