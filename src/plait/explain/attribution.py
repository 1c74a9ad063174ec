"""Which segments of its inputs an answer rests on, by three methods.

- Occlusion: how much support the answer loses once a segment is hidden (Zeiler and Fergus 2014,
  arXiv:1311.2901), computed by captum.
- Integrated gradients over the encoders' tokens, from the learned missing token to the token that
  is there (Sundararajan et al. 2017, arXiv:1703.01365), computed by captum. Over all tokens they
  sum to the support with the tokens minus the support without.
- Attention, where the model has it: where each step of the answer looked.

Shapes: N variants, P segments, T tokens, D width, L steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from plait.explain.probe import Probe
from plait.modalities.segments import Weights
from plait.network import Adapter, Network
from plait.types import Tokens
from plait.util.imports import needed

OCCLUSION, GRADIENTS, ATTENTION = "occlusion", "integrated gradients", "attention"
STEPS, ROUGH_STEPS = 16, 8  # of the integral; of one that only has to rank the segments
AT_ONCE = 16  # of these steps


@dataclass(frozen=True)
class Attribution:
    """Weights of an input's segments; positive ones speak for the answer.

    Attributes:
        weights: (P,) for the whole answer.
        steps: (L, P) for each of its steps; (0, P) where the method has none.
    """

    weights: Weights
    steps: Weights


@dataclass(frozen=True)
class Integrated:
    """Integrated gradients.

    Attributes:
        tokens: input -> (T,) the weight of each token.
        total: the support with all tokens minus the support without, computed directly.
    """

    tokens: Mapping[str, Weights]
    total: float

    @property
    def gap(self) -> float:
        """How far the sum of the weights is from the total."""
        return abs(sum(float(weights.sum()) for weights in self.tokens.values()) - self.total)


def attributions(
    probe: Probe, network: Network, integrated: Integrated
) -> dict[str, dict[str, Attribution]]:
    """Input -> method -> weights; an input goes without the methods that can't tell its segments
    apart, as where a single token stands for all of it."""
    gradients, looks = by_segment(probe, integrated), attention(probe, network)
    methods = {name: {OCCLUSION: occlusion(probe, network, name)} for name in probe.segments}
    for name, of_input in methods.items():
        of_input |= {GRADIENTS: gradients[name]} if name in gradients else {}
        of_input |= {ATTENTION: looks[name]} if name in looks else {}
    return methods


def occlusion(probe: Probe, network: Network, name: str) -> Attribution:
    """What is lost as each segment of an input is hidden, while all else is there."""
    ablation = needed("captum.attr", "explain").FeatureAblation(
        lambda gates: probe.scores(network, probe.perturb({name: gates.numpy() > 0.5}))
    )
    gates = torch.ones(1, len(probe.segments[name].parts))
    lost = ablation.attribute(gates, perturbations_per_eval=AT_ONCE).numpy()  # (1 + L, P)
    return Attribution(lost[0], lost[1:])


def integrated_gradients(probe: Probe, network: Network, steps: int = STEPS) -> Integrated:
    """Of all tokens of the inputs that the record has."""
    prepared, lengths = network.tensors(probe.batch)
    tokens = network.tokens(prepared, lengths)
    names = list(probe.segments)
    values = tuple(tokens[name].values.detach() for name in names)  # (1, T, D) each
    missing = tuple(
        _missing(network, name).expand_as(value) for name, value in zip(names, values, strict=True)
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


def _missing(network: Network, name: str) -> Tensor:
    adapter = network.adapters[name]
    assert isinstance(adapter, Adapter)
    return adapter.missing.detach()


def by_segment(probe: Probe, integrated: Integrated) -> dict[str, Attribution]:
    """The weights of the tokens as weights of the segments in which they lie."""
    attributions = {}
    for name, weights in integrated.tokens.items():
        if len(weights) > 1:
            places = probe.segments[name].overlap(len(weights))
            attributions[name] = Attribution(weights @ places, np.zeros((0, places.shape[1])))
    return attributions


@torch.no_grad()
def attention(probe: Probe, network: Network) -> dict[str, Attribution]:
    """Input -> how much its segments were looked at, on average and at each step."""
    looks = network.head(probe.output).looks(network.fuse(probe.batch), probe.answer)
    attributions = {}
    for name, segments in probe.segments.items():
        if name in looks and len(looks[name]) and looks[name].shape[1] > 1:
            weights = looks[name].cpu().double().numpy()
            steps = weights @ segments.overlap(weights.shape[1])
            attributions[name] = Attribution(steps.mean(axis=0), steps)
    return attributions
