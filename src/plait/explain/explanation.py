"""Why a model gave one answer to one record: shares, parts, steps, and what would change it.

Shapes: M inputs, P parts, L steps.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from plait.evaluation.shares import Pair, interactions, shapley, subsets, supports
from plait.explain.attention import Attention
from plait.explain.attribution import ROUGH, Attribution, attributions, integrated_gradients
from plait.explain.checks import (
    Curves,
    curves,
    heaviest_first,
    random_curves,
    rank_correlation,
)
from plait.explain.probe import Probe
from plait.modalities.segments import Segments, Weights
from plait.network import Batch, Network
from plait.outputs.base import Output
from plait.types import Alternative, Prediction, UsageError
from plait.util.files import write_atomically

OTHERS = 4  # that a step might have said
FEW, SHARES = (1, 2, 4), (0.25, 0.5, 0.75)  # sizes of sets of parts that are tried: parts, shares


@dataclass(frozen=True)
class Method:
    """One method's weights of an input's parts, checked.

    Attributes:
        attribution: the weights.
        curves: of deletion and insertion.
        likeness: rank correlation with the weights for a model that has learned nothing; None
            where there is none.
    """

    attribution: Attribution
    curves: Curves
    likeness: float | None


@dataclass(frozen=True)
class Seen:
    """One input of the record.

    Attributes:
        layout: its parts.
        methods: name -> what the method found.
        chance: the curves of parts in random order.
        tried: so many of the heaviest parts were seen alone, the others hidden.
        enough: the least of these numbers that kept the answer; None where none did.
    """

    layout: Segments
    methods: Mapping[str, Method]
    chance: Curves
    tried: tuple[int, ...]
    enough: int | None


@dataclass(frozen=True)
class Step:
    """A step of the answer, such as a word.

    Attributes:
        said: the step itself, with its probability.
        others: what is likeliest beside it.
        relied: input -> how much its log-probability falls without that input.
    """

    said: Alternative
    others: tuple[Alternative, ...]
    relied: Mapping[str, float]


@dataclass(frozen=True)
class Neighbour:
    """A training record that the model sees as much like the explained one.

    Attributes:
        row: its number in the table.
        similarity: cosine of the two records' fused vectors, -1 to 1.
        answer: the right answer in the table.
        text: what of it can be written.
        pixels: (H, W, 3) what of it can be seen; None where nothing can.
    """

    row: int
    similarity: float
    answer: Any
    text: str
    pixels: NDArray[np.uint8] | None


@dataclass(frozen=True)
class Explanation:
    """Why a model gave one answer to one record.

    Attributes:
        model, output: their names.
        asked: the output that answered.
        prediction: its answer.
        inputs: of those that the record has.
        shares: each input's Shapley value; together what the answer gains by them all.
        pairs: how far each two inputs are worth more together than alone.
        smallest: the smallest sets of inputs that keep the answer.
        steps: of answers that are made step by step.
        nearest: training records that the model sees as alike, the most alike first.
        others: the most alike of those whose right answer is another one.
        gap: how far the integrated gradients' sum is from what it should be.
        attention: the picture of where each word looked, where there is one.
    """

    model: str
    output: str
    asked: Output
    prediction: Prediction
    inputs: Mapping[str, Seen]
    shares: Mapping[str, float]
    pairs: Mapping[Pair, float]
    smallest: Sequence[tuple[str, ...]]
    steps: Sequence[Step]
    gap: float
    attention: Attention | None = None
    nearest: Sequence[Neighbour] = ()
    others: Sequence[Neighbour] = ()

    @property
    def enough(self) -> str:
        """Which inputs alone keep the answer, as a sentence."""
        first, *_ = self.smallest
        if not first:
            same = "the same answer"
            if self.asked.bounds(self.prediction) is not None:  # of numbers, as good as the same
                same = "an answer within the interval of this one"
            return f"Without any input the model gives {same}."
        if len(first) == len(self.shares):
            return "It takes all inputs to get this answer."
        sets = " or ".join(" and ".join(names) for names in self.smallest)
        return f"With {sets} alone the model keeps this answer."

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON; the attention's maps are among the words."""
        found: dict[str, Any] = {
            "model": self.model,
            "output": self.output,
            "answer": self.prediction.value,
            "score": self.prediction.score,
            "probabilities": self.asked.to_json(self.prediction).get("probabilities", {}),
            "shares": dict(self.shares),
            "interactions": [{"inputs": list(p), "value": v} for p, v in self.pairs.items()],
            "smallest": [list(names) for names in self.smallest],
            "inputs": {name: _seen_json(seen) for name, seen in self.inputs.items()},
            "gap": self.gap,
            "nearest": [_neighbour_json(each) for each in self.nearest],
            "nearest_with_another_answer": [_neighbour_json(each) for each in self.others],
        }
        if self.attention is not None:
            found |= self.attention.to_json()
        looked = found.get("words") or [{} for _ in self.steps]
        steps = map(_step_json, self.steps)
        return found | {"words": [a | b for a, b in zip(looked, steps, strict=False)]}

    def save(self, path: str | Path) -> None:
        """Write a page (.html), a picture (.png) or the numbers (.json).

        Raises:
            UsageError: the name ends in none of these.
        """
        path = Path(path)
        if path.suffix == ".png":
            from plait.explain.picture import draw  # matplotlib is slow to import

            draw(self, path)
            return
        if path.suffix == ".html":
            from plait.explain.page import explanation_page

            text = explanation_page(self)
        elif path.suffix == ".json":
            text = json.dumps(self.to_json(), ensure_ascii=False)
        else:
            check_name(path)
        write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def check_name(path: Path) -> None:
    """Raises UsageError unless an explanation can be written to a file of this name."""
    if path.suffix not in (".html", ".png", ".json"):
        raise UsageError(
            f"can't explain to {path}", expected="a name ending in .html, .png or .json"
        )


def explain(
    probe: Probe, network: Network, fresh: Callable[[], Network], model: str
) -> Explanation:
    """Explain the answer that a probe asks about.

    Args:
        probe: the record and the answer.
        network: the model's.
        fresh: makes the same network with random weights.
        model: the model's name.

    Raises:
        PlaitError: captum is not installed.
    """
    support = supports(network, probe.batch, probe.output, [probe.answer])
    everyone = list(network.encoders)
    worth = dict(zip(everyone, shapley(everyone, support)[0].tolist(), strict=True))
    together = {
        pair: value
        for pair, value in interactions(everyone, support).items()
        if probe.layouts.keys() >= set(pair)
    }
    integrated, unlearned = integrated_gradients(probe, network), fresh()
    found = attributions(probe, network, integrated)
    random = attributions(probe, unlearned, integrated_gradients(probe, unlearned, ROUGH))
    return Explanation(
        model,
        probe.output,
        probe.asked,
        probe.prediction,
        {name: _seen(probe, network, name, found[name], random[name]) for name in probe.layouts},
        {name: worth[name] for name in probe.layouts},
        {pair: float(value) for pair, value in together.items()},
        smallest_sets(probe, network),
        _steps(probe, network),
        integrated.gap,
    )


def _seen(
    probe: Probe,
    network: Network,
    name: str,
    found: Mapping[str, Attribution],
    random: Mapping[str, Attribution],
) -> Seen:
    orders = [heaviest_first(each.weights) for each in found.values()]
    likeness = [rank_correlation(e.weights, random[m].weights) for m, e in found.items()]
    checked = zip(found.values(), curves(probe, network, name, orders), likeness, strict=True)
    tried = _sizes(len(orders[0]))
    return Seen(
        probe.layouts[name],
        dict(zip(found, [Method(*each) for each in checked], strict=True)),
        random_curves(probe, network, name),
        tried,
        _enough(probe, network, name, orders[0], tried),
    )


def _sizes(parts: int) -> tuple[int, ...]:
    """Of the sets of parts that are tried: a few parts, some shares of all, and all but one."""
    sizes = {*FEW, *(round(share * parts) for share in SHARES), parts - 1}
    return tuple(sorted(size for size in sizes if 0 < size < parts))


def _enough(
    probe: Probe, network: Network, name: str, order: NDArray[np.int64], sizes: Sequence[int]
) -> int | None:
    """The least of these numbers of the heaviest parts that keep the answer, the others hidden."""
    if not sizes:
        return None
    kept = np.zeros((len(sizes), len(order)), bool)
    for row, size in zip(kept, sizes, strict=True):
        row[order[:size]] = True
    same = probe.keeps(network, probe.without({name: kept}))
    return next((size for size, kept_it in zip(sizes, same, strict=True) if kept_it), None)


def smallest_sets(probe: Probe, network: Network) -> list[tuple[str, ...]]:
    """The smallest sets of the record's inputs with which the answer is the same; the empty one
    where it is what the model says of nothing. Not asked of a single input."""
    if len(probe.layouts) == 1:
        return [tuple(probe.layouts)]
    for size in range(len(probe.layouts)):
        chosen = [s for s in subsets(list(probe.layouts)) if len(s) == size]
        variants = [probe.batch.with_inputs(names) for names in chosen]
        same = probe.keeps(network, Batch.together(variants))
        found = [names for names, kept in zip(chosen, same, strict=True) if kept]
        if found:
            return [tuple(n for n in probe.layouts if n in names) for names in found]
    return [tuple(probe.layouts)]


@torch.no_grad()
def _steps(probe: Probe, network: Network) -> list[Step]:
    """Each step with what else might have stood there, and what it relied on."""
    head, names = network.head(probe.output), list(probe.layouts)
    found = head.alternatives(network.fuse(probe.batch), probe.answer, OTHERS)
    without = [
        probe.batch.with_inputs([n for n in network.encoders if n != name]) for name in names
    ]
    scores = probe.scores(network, Batch.together([probe.batch, *without]))[:, 1:]
    lost = (scores[0] - scores[1:]).T.tolist()  # (L, M)
    return [
        Step(said[0], said[1:], dict(zip(names, each, strict=True)))
        for said, each in zip(found, lost, strict=True)
    ]


def _seen_json(seen: Seen) -> dict[str, Any]:
    methods = {
        name: {
            "weights": _rounded(method.attribution.weights),
            "by_word": [_rounded(step) for step in method.attribution.steps],
            "deletion": method.curves.deletion.area,
            "insertion": method.curves.insertion.area,
            "likeness_to_random_weights": method.likeness,
        }
        for name, method in seen.methods.items()
    }
    chance = {"deletion": seen.chance.deletion.area, "insertion": seen.chance.insertion.area}
    return {
        "parts": list(seen.layout.parts),
        "methods": methods,
        "random_order": chance,
        "parts_that_keep_the_answer": seen.enough,
        "numbers_of_parts_tried": list(seen.tried),
    }


def _rounded(weights: Weights) -> list[float]:
    return np.round(weights, 6).tolist()


def _step_json(step: Step) -> dict[str, Any]:
    return {
        "word": step.said.value,
        "probability": step.said.score,
        "others": [{"word": other.value, "probability": other.score} for other in step.others],
        "relied_on": dict(step.relied),
    }


def _neighbour_json(near: Neighbour) -> dict[str, Any]:
    return {
        "row": near.row, "similarity": near.similarity, "answer": near.answer, "text": near.text,
    }  # fmt: skip
