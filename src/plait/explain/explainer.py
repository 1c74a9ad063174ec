"""Explains one answer: shares of the inputs, weights of their segments, steps, checks.

Three methods tell which segments of its inputs an answer rests on:

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

Shapes: N variants of the record, P segments of an input, T tokens, D width, L steps of the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, compress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plait.evaluation.predictions import interactions, shapley, supports
from plait.explain.explanation import (
    ATTENTION,
    GRADIENTS,
    OCCLUSION,
    Attribution,
    Curve,
    Curves,
    ExplainedInput,
    Explanation,
    Method,
    Step,
)
from plait.modalities.segments import Segments, Weights
from plait.network import Network, TorchEngine
from plait.outputs.base import Options, Output
from plait.pipeline.engine import Batch, Row, padded
from plait.pipeline.inputs import InputReader
from plait.types import Prediction, Tokens
from plait.util.imports import needed

STEPS, ROUGH_STEPS = 16, 8  # of the integral; of one that only has to rank the segments
AT_ONCE, VARIANTS = 16, 32  # of these steps; variants of the record in a batch
POINTS = 4  # of a curve, beside its start
ALTERNATIVES = 4  # to each step
FEW, SHARES = (1, 2, 4), (0.25, 0.5, 0.75)  # how many segments are tried alone, and which shares


@dataclass(frozen=True)
class Probe:
    """One record and one answer to it: how strongly a network supports the answer while segments of
    the record are hidden."""

    batch: Batch  # the record alone
    segments: Mapping[str, Segments]  # by input, of the inputs that the record has
    readers: Mapping[str, InputReader]  # by input: what reads and prepares it
    output: str  # the output's name
    answering: Output
    prediction: Prediction  # the answer
    options: Options  # of the decoding that gave the answer
    _rows: dict[tuple[str, bytes], Row] = field(default_factory=dict)

    @property
    def answer(self) -> Any:
        """The value of the answer."""
        return self.prediction.value

    def keeps(self, network: Network, batch: Batch) -> list[bool]:
        """For each variant, whether the answer is the same: equal, or within its interval."""
        engine = TorchEngine(network)
        raw, steps = engine.run(batch)[self.output]
        answers = self.answering.decode(raw, engine.fitted(self.output), self.options, steps)
        return [self.answering.same(self.prediction, answer.value) for answer in answers]

    def perturb(self, kept: Mapping[str, NDArray[np.bool_]]) -> Batch:
        """The record in N variants.

        Args:
            kept: input -> (N, P), which of its segments stay, the others hidden. An input of which
                nothing stays is missing; an input that is not named stays whole.
        """
        whole = self.batch.repeated(len(next(iter(kept.values()))))
        prepared, lengths = dict(whole.prepared), dict(whole.lengths)
        for name, masks in kept.items():
            example = self.readers[name].example
            prepared[name], lengths[name] = padded(self._features(name, masks), example)
        return Batch(prepared, lengths)

    def _features(self, name: str, kept: NDArray[np.bool_]) -> list[Row | None]:
        """What the frozen encoder makes of each variant of an input, computed once; None where
        nothing is left of it."""
        keys = [(name, mask.tobytes()) for mask in kept]
        items = {
            key: self.segments[name].perturb(mask)
            for key, mask in zip(keys, kept, strict=True)
            if key not in self._rows and mask.any()
        }
        items = {key: item for key, item in items.items() if len(item)}
        rows = self.readers[name].features(items.values())
        self._rows.update(zip(items, rows, strict=True))
        return [self._rows.get(key) for key in keys]

    @torch.no_grad()
    def scores(self, network: Network, batch: Batch) -> Tensor:
        """(N, 1 + L): the network's support for the answer, and for each of its steps."""
        head, scores = network.head(self.output), []
        for start in range(0, len(batch), VARIANTS):
            fused = network.fuse(batch.rows(slice(start, start + VARIANTS)))
            support, steps = head.steps(fused, self.answer)
            scores.append(torch.cat([support.double()[:, None], steps.double()], dim=1))
        return torch.cat(scores)


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
                replaced.get(name, part.values).expand(count, -1, -1),
                part.mask.expand(count, -1),
                part.tags and part.tags.expand(count),
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
