"""Which parts of its inputs an answer rests on, by three methods.

- Occlusion: how much less the model thinks of its answer once a part is hidden (Zeiler and Fergus
  2014, arXiv:1311.2901), computed by captum.
- Integrated gradients over the encoders' tokens, from the learned missing token to the token that
  is there (Sundararajan et al. 2017, arXiv:1703.01365), computed by captum. Over all tokens they
  sum to what the model thinks with the tokens minus what it thinks without.
- Attention, where the model has it: where each step of the answer looked.

Shapes: N variants, P parts, T tokens, D width, L steps.
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
ABOUT = {
    OCCLUSION: "hidden part by part: what the answer loses without it",
    GRADIENTS: "from nothing to what is there, along the gradient",
    ATTENTION: "where the answer's steps looked",
}
STEPS, ROUGH = 16, 8  # of the integral; of one whose ranks alone are wanted
AT_ONCE = 16  # of these steps


@dataclass(frozen=True)
class Attribution:
    """Weights of an input's parts: positive speaks for the answer.

    Attributes:
        weights: (P,) for the whole answer.
        steps: (L, P) for each of its steps; (0, P) where the method has none.
    """

    weights: Weights
    steps: Weights


def captum() -> object:
    """The library's attribution methods.

    Raises:
        PlaitError: it is not installed.
    """
    return needed("captum.attr", "explain")


@dataclass(frozen=True)
class Integrated:
    """Integrated gradients.

    Attributes:
        tokens: input -> (T,) each token's.
        whole: what the model thinks with all tokens minus what it thinks without, computed anew.
    """

    tokens: Mapping[str, Weights]
    whole: float

    @property
    def gap(self) -> float:
        """How far the tokens' sum is from the whole."""
        return abs(sum(float(weights.sum()) for weights in self.tokens.values()) - self.whole)


def attributions(
    probe: Probe, network: Network, integrated: Integrated
) -> dict[str, dict[str, Attribution]]:
    """Input -> method -> weights; an input goes without the methods that can't tell its parts
    apart, as where one token stands for all of it."""
    found = {name: {OCCLUSION: occlusion(probe, network, name)} for name in probe.layouts}
    for method, inputs in (
        (GRADIENTS, on_parts(probe, integrated)),
        (ATTENTION, attention(probe, network)),
    ):
        for name, attribution in inputs.items():
            found[name][method] = attribution
    return found


def occlusion(probe: Probe, network: Network, name: str) -> Attribution:
    """What is lost as each part of an input is hidden, all else being there."""
    ablation = needed("captum.attr", "explain").FeatureAblation(
        lambda gates: probe.scores(network, probe.without({name: gates.numpy() > 0.5}))
    )
    gates = torch.from_numpy(probe.everything(name))[None].float()  # (1, P)
    lost = ablation.attribute(gates, perturbations_per_eval=AT_ONCE).numpy()  # (1 + L, P)
    return Attribution(lost[0], lost[1:])


def integrated_gradients(probe: Probe, network: Network, steps: int = STEPS) -> Integrated:
    """Of all tokens of the inputs that the record has."""
    tokens = {name: network.tokens(probe.batch)[name] for name in network.encoders}
    names = list(probe.layouts)
    values = tuple(tokens[name].values.detach() for name in names)  # (1, T, D) each
    missing = tuple(
        _missing(network, name).expand_as(value) for name, value in zip(names, values, strict=True)
    )

    def support(*changed: Tensor) -> Tensor:
        count = len(changed[0])
        parts = {
            name: Tokens(
                part.values.expand(count, -1, -1), part.mask.expand(count, -1)
            )
            for name, part in tokens.items()
        } | {
            name: Tokens(value, tokens[name].mask.expand(count, -1))
            for name, value in zip(names, changed, strict=True)
        }  # fmt: skip
        present = {name: there.expand(count) for name, there in probe.batch.present.items()}
        fused = network.fusion(parts, present)
        return network.head(probe.output).support(fused, [probe.answer] * count)

    gradients = needed("captum.attr", "explain").IntegratedGradients(support)
    found = gradients.attribute(values, missing, n_steps=steps, internal_batch_size=AT_ONCE)
    each = {
        name: value.sum(dim=2)[0, : int(tokens[name].mask.sum())].detach().cpu().double().numpy()
        for name, value in zip(names, found, strict=True)
    }
    with torch.no_grad():
        whole = float(support(*values) - support(*missing))
    return Integrated(each, whole)


def _missing(network: Network, name: str) -> Tensor:
    adapter = network.adapters[name]
    assert isinstance(adapter, Adapter)
    return adapter.missing.detach()


def on_parts(probe: Probe, integrated: Integrated) -> dict[str, Attribution]:
    """The tokens' weights as those of the parts that they lie in."""
    found = {}
    for name, weights in integrated.tokens.items():
        if len(weights) > 1:
            places = probe.layouts[name].overlap(len(weights))
            found[name] = Attribution(weights @ places, np.zeros((0, places.shape[1])))
    return found


@torch.no_grad()
def attention(probe: Probe, network: Network) -> dict[str, Attribution]:
    """Input -> how much its parts were looked at, on the whole and at each step."""
    looks = network.head(probe.output).looks(network.fuse(probe.batch), probe.answer)
    found = {}
    for name, layout in probe.layouts.items():
        if name in looks and len(looks[name]) and looks[name].shape[1] > 1:
            weights = looks[name].cpu().double().numpy()
            steps = weights @ layout.overlap(weights.shape[1])
            found[name] = Attribution(steps.mean(axis=0), steps)
    return found
