"""Why a model gave one answer to one record, as numbers, as a page and as a picture.

Shapes: P segments, L steps, S points of a curve.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.evaluation.predictions import Pair
from plait.explain.attention import Attention
from plait.modalities.segments import SEGMENTS_STYLE, STRONGEST, Grid, Segments, Weights
from plait.outputs.base import Output
from plait.render.charts import bars
from plait.render.curves import CHARTS, new_figure, tidy
from plait.render.html import picture_uri, render
from plait.render.numbers import shown, signed
from plait.types import Alternative, Prediction, UsageError
from plait.util.files import write_atomically
from plait.util.imports import needed

OCCLUSION, GRADIENTS, ATTENTION = "occlusion", "integrated gradients", "attention"
MOST_CLASSES = 6  # whose probabilities the page shows
PICTURE_SIDE = 240  # pixels of a neighbour's picture
SUFFIXES = (".html", ".png", ".json")
FOR, AGAINST = "#1f6fb2", "#d0641a"
MOST_NAMED, LONGEST_NAME = 14, 28  # segments in the picture, and letters of their names


@dataclass(frozen=True)
class Attribution:
    """Weights of an input's segments; positive ones speak for the answer."""

    weights: Weights  # (P,) for the whole answer
    steps: Weights  # (L, P) for each of its steps; (0, P) where the method has none


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


@dataclass(frozen=True)
class Method(Attribution):
    """The weights that one method gives an input's segments, checked."""

    curves: Curves  # of deletion and insertion
    similarity: float | None  # rank correlation with an untrained model's weights; None if constant


@dataclass(frozen=True)
class ExplainedInput:
    """One input of the record."""

    segments: Segments  # what was hidden, one after the other
    methods: Mapping[str, Method]  # by the method's name
    random_order: Curves  # of segments in random order
    tried: tuple[int, ...]  # how many of the heaviest segments were shown alone, the others hidden
    enough: int | None  # the fewest of these that gave the same answer; None where none did

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "parts": list(self.segments.names),
            "methods": {
                name: {
                    "weights": _rounded(method.weights),
                    "by_word": [_rounded(step) for step in method.steps],
                    **_areas(method.curves),
                    "likeness_to_random_weights": method.similarity,
                }
                for name, method in self.methods.items()
            },
            "random_order": _areas(self.random_order),
            "parts_that_keep_the_answer": self.enough,
            "numbers_of_parts_tried": list(self.tried),
        }


@dataclass(frozen=True)
class Step:
    """A step of the answer, such as a word."""

    chosen: Alternative  # the step itself, with its probability
    alternatives: tuple[Alternative, ...]  # the likeliest others
    reliance: Mapping[str, float]  # by input: how much the log-probability falls without it

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "word": self.chosen.value,
            "probability": self.chosen.score,
            "others": [{"word": a.value, "probability": a.score} for a in self.alternatives],
            "relied_on": dict(self.reliance),
        }


@dataclass(frozen=True)
class Neighbour:
    """A training record that the model sees as similar to the explained one."""

    row: int  # its number in the table
    similarity: float  # cosine of the two records' fused vectors, -1 to 1
    answer: Any  # the right one, in the table
    text: str  # its texts and values in one line, see `Album.look`
    pixels: NDArray[np.uint8] | None  # its first picture

    def to_json(self) -> dict[str, Any]:
        """As plain JSON, without the pixels."""
        return {name: value for name, value in vars(self).items() if name != "pixels"}


@dataclass(frozen=True)
class Explanation:
    """Why a model gave one answer to one record.

    Attributes:
        model, output: the names of the model, and of the output that gave the answer.
        answering, prediction: that output, and the answer.
        inputs: those that the record has, by name: their segments, and the weights of these.
        shares: each input's Shapley value; together, what all inputs add.
        interactions: pair of inputs -> what the two add beyond what each adds alone.
        smallest_sets: the smallest sets of inputs that give the same answer.
        steps: of an answer that is made step by step, with the likeliest alternatives.
        gap: how far the sum of the integrated gradients is from what it should be.
        attention: the picture of where each word looked, if there is one.
        nearest: the most similar training records, best first; nearest_other: those of them with
            another right answer.
    """

    model: str
    output: str
    answering: Output
    prediction: Prediction
    inputs: Mapping[str, ExplainedInput]
    shares: Mapping[str, float]
    interactions: Mapping[Pair, float]
    smallest_sets: Sequence[tuple[str, ...]]
    steps: Sequence[Step]
    gap: float
    attention: Attention | None = None
    nearest: Sequence[Neighbour] = ()
    nearest_other: Sequence[Neighbour] = ()

    @property
    def enough(self) -> str:
        """Which inputs alone give the same answer, as a sentence."""
        first, *_ = self.smallest_sets
        if not first:
            # A number within the interval is as good as the same.
            a_number = self.answering.bounds(self.prediction) is not None
            same = "an answer within the interval of this one" if a_number else "the same answer"
            return f"Without any input the model gives {same}."
        if len(first) == len(self.shares):
            return "It takes all inputs to get this answer."
        sets = " or ".join(" and ".join(names) for names in self.smallest_sets)
        return f"With {sets} alone the model keeps this answer."

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON; the attention's maps are among the words."""
        result: dict[str, Any] = {
            "model": self.model,
            "output": self.output,
            "answer": self.prediction.value,
            "score": self.prediction.score,
            "probabilities": self.answering.to_json(self.prediction).get("probabilities", {}),
            "shares": dict(self.shares),
            "interactions": [{"inputs": list(p), "value": v} for p, v in self.interactions.items()],
            "smallest": [list(names) for names in self.smallest_sets],
            "inputs": {name: of_input.to_json() for name, of_input in self.inputs.items()},
            "gap": self.gap,
            "nearest": [neighbour.to_json() for neighbour in self.nearest],
            "nearest_with_another_answer": [near.to_json() for near in self.nearest_other],
        }
        if self.attention is not None:
            result = result | self.attention.to_json() | result  # its own facts are not replaced
        looks = result.get("words") or [{} for _ in self.steps]
        words = zip(looks, self.steps, strict=False)
        return result | {"words": [look | step.to_json() for look, step in words]}

    def to_html(self) -> str:
        """As a page: one file that links to nothing, for a screen, a phone or paper."""
        probabilities = self.answering.probabilities(self.prediction)
        rows = [(shown(v), p, f"{p:.1%}") for v, p in probabilities.items()]
        shares = [(name, share, signed(share)) for name, share in self.shares.items()]
        shares += [(f"{a} × {b}", v, signed(v)) for (a, b), v in self.interactions.items()]
        added = [value for step in self.steps for value in step.reliance.values()]
        limits = min(added, default=0.0), max(added, default=0.0)
        weights = {  # by attention or else by occlusion, (L, P) where each step has its own
            name: method.steps
            for name, of_input in self.inputs.items()
            for how in (OCCLUSION, ATTENTION)  # the last one counts
            if (method := of_input.methods.get(how)) and len(method.steps) == len(self.steps)
        }
        return render(
            "explain/explanation.html",
            title=f"Why {self.model} answered {shown(self.prediction.value)}"[:120],
            explanation=self,
            probabilities=bars(rows[:MOST_CLASSES]) if rows else "",
            interval=self.answering.bounds(self.prediction),
            shares=bars(shares),
            reliance=[
                bars([(name, v, signed(v, 2)) for name, v in step.reliance.items()], limits)
                for step in self.steps
            ],
            step_weights=weights,
            ids={name: f"input-{number}" for number, name in enumerate(self.inputs)},
            picture=lambda pixels: picture_uri(pixels, PICTURE_SIDE),
            segments_style=SEGMENTS_STYLE,
        )

    def save(self, path: str | Path) -> None:
        """Write a page (.html), a picture (.png) or the numbers (.json).

        The picture shows where each word looked, or else the weights of the segments.

        Raises:
            UsageError: the name ends in none of these.
            PlaitError: the file can't be written.
        """
        path = Path(path)
        check_name(path)
        if path.suffix == ".png" and self.attention is not None:
            self.attention.save(path)
        elif path.suffix == ".png":
            self._draw(path)
        else:
            html = path.suffix == ".html"
            text = self.to_html() if html else json.dumps(self.to_json(), ensure_ascii=False)
            write_atomically(path, text)

    def _draw(self, path: Path) -> None:
        """The inputs' shares of the answer, where there are several, then the weights of each
        input's segments; needs matplotlib."""
        several = len(self.inputs) > 1
        panels = len(self.inputs) + several
        figure = new_figure(4.4 * panels, 4.2)
        axes = figure.subplots(1, panels, squeeze=False)[0]
        title = f"{self.output}: {shown(self.prediction.value)}"
        figure.suptitle(title[:90], fontweight="bold")
        if several:
            _bars(axes[0], list(self.shares), np.array([*self.shares.values()]), "shares")
        for panel, (name, of_input) in zip(axes[several:], self.inputs.items(), strict=True):
            segments, weights = of_input.segments, of_input.methods[OCCLUSION].weights
            if isinstance(segments, Grid):
                _tiles(panel, segments, weights)
                panel.set_title(name)
            else:
                heaviest = np.sort(np.argsort(-np.abs(weights), kind="stable")[:MOST_NAMED])
                _bars(panel, [segments.names[n] for n in heaviest], weights[heaviest], name)
        write_atomically(path, lambda part: figure.savefig(part, format="png"))


def check_name(path: Path) -> None:
    """Raises UsageError unless an explanation can be written to a file of this name."""
    if path.suffix not in SUFFIXES:
        raise UsageError(
            f"can't write an explanation to {path}",
            expected="a name ending in .html, .png or .json",
        )


def _areas(curves: Curves) -> dict[str, float]:
    return {"deletion": curves.deletion.area, "insertion": curves.insertion.area}


def _rounded(weights: Weights) -> list[float]:
    return np.round(weights, 6).tolist()


def _bars(axes: Any, names: list[str], values: Weights, title: str) -> None:
    tidy(axes)
    places = range(len(names))
    axes.barh(places, values, color=[FOR if v >= 0 else AGAINST for v in values])
    axes.set_yticks(places, [name[:LONGEST_NAME] for name in names])
    axes.invert_yaxis()
    axes.axvline(0, color="0.4", lw=0.8)
    axes.set_title(title)


def _tiles(axes: Any, grid: Grid, weights: Weights) -> None:
    """Coloured tiles over the picture, or in place of a drawing."""
    rows, columns = len(grid.rows), len(grid.columns)
    tiles, most = weights.reshape(rows, columns), float(np.abs(weights).max(initial=1e-12))
    (left, right), (top, bottom) = grid.view
    across, down = columns / (right - left), rows / (bottom - top)  # of the whole picture, in tiles
    edges = -left * across, (1 - left) * across, (1 - top) * down, -top * down
    opacity: Any = 1.0
    if not isinstance(grid.backdrop, str):
        axes.imshow(grid.backdrop, extent=edges, aspect="auto")
        opacity = STRONGEST * np.abs(tiles) / most
    colours = needed("matplotlib.colors", CHARTS).LinearSegmentedColormap
    tones = colours.from_list("tones", [AGAINST, "#f4f4f4", FOR])
    place: dict[str, Any] = {"extent": (0, columns, rows, 0), "aspect": "auto"}
    axes.imshow(tiles, cmap=tones, vmin=-most, vmax=most, alpha=opacity, **place)
    axes.set(xlim=edges[:2], ylim=edges[2:])
    width, height = grid.size
    axes.set_box_aspect(height / width)
    axes.set_yticks(np.arange(rows) + 0.5, grid.rows, fontsize=7)
    axes.set_xticks(np.arange(columns), grid.columns, fontsize=7, rotation=45)
    axes.tick_params(length=0)
