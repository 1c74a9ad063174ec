"""A comparison as a picture: each variant's score with its interval, and the score against cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.comparison.report import heading
from plait.comparison.results import Comparison, Line
from plait.render.curves import CHARTS, LOSS_COLOUR, SCORE_COLOURS, new_figure, save_figure, tidy
from plait.render.numbers import number
from plait.util.imports import can_make, needed

TITLES = {
    "fused": "all inputs",
    "alone": "one input",
    "without": "all but one",
    "rows": "fewer rows",
    "classical": "classical",
}
COLOURS = dict(zip(TITLES, (*SCORE_COLOURS, LOSS_COLOUR), strict=True))
"""By the variant's role, like the titles."""

SHORTEST = 0.1  # seconds on the axis
POINTS = 72  # in an inch
NUMBER = (10.0, 7.0)  # width and height of a number, in points
OFFSETS = [
    (radius * math.cos(angle), radius * math.sin(angle))
    for radius in (11.0, 19.0, 27.0, 35.0)
    for angle in np.pi * (0.25 + np.arange(8) / 4)
]
"""Where a number may lie beside its point: right above it, then around it, then further away."""


def draw_comparison(comparison: Comparison, picture: Path) -> None:
    """Draw a PNG: on the left the scores with their 95 % intervals, the best on top; on the right
    the scores against the seconds of training, numbered as on the left. Without matplotlib nothing
    is drawn.

    Raises:
        PlaitError: the picture can't be written.
    """
    if not can_make(picture.name, "matplotlib", CHARTS):
        return
    lines = [line for line in comparison.lines if line.score is not None]
    figure = new_figure(11.0, 1.6 + 0.36 * len(lines))
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.25, 1]})
    _scores(left, lines, heading(comparison))
    _cost(right, lines, comparison.title)
    save_figure(figure, picture)


def _scores(axes: Any, lines: Sequence[Line], title: str) -> None:
    tidy(axes)
    for place, line in enumerate(lines):
        assert line.score is not None
        assert line.interval is not None
        axes.plot(line.interval, [place, place], color=COLOURS[line.role], lw=2)
        axes.plot([line.score], [place], "o", color=COLOURS[line.role], ms=6)
        each = list(line.each.values())
        axes.plot(each, [place] * len(each), "|", color=COLOURS[line.role], ms=9)
        axes.annotate(
            number(line.score), (line.score, place), (0, 6), textcoords="offset points",
            ha="center", fontsize=8, color=COLOURS[line.role],
        )  # fmt: skip
    axes.set_yticks(
        range(len(lines)), [f"{line.name}  {n}" for n, line in enumerate(lines, start=1)]
    )
    axes.set_ylim(len(lines) - 0.5, -0.7)
    axes.set_xlabel(f"{title}, with 95 % intervals; each stroke is a seed")


def _cost(axes: Any, lines: Sequence[Line], title: str) -> None:
    tidy(axes)
    axes.set_xscale("log")
    named = set()
    points = [(max(line.seconds, SHORTEST), line.score) for line in lines]
    for (x, y), line in zip(points, lines, strict=True):
        label = None if line.role in named else TITLES[line.role]
        named.add(line.role)
        axes.plot([x], [y], "o", color=COLOURS[line.role], ms=7, label=label)
    ticker = needed("matplotlib.ticker", CHARTS)
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))  # runs may share a decade
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    axes.set_xlabel("seconds of training")
    axes.set_ylabel(title)
    axes.margins(0.12)
    axes.legend(frameon=False, fontsize=8)
    axes.figure.draw_without_rendering()  # only then are the points' places known
    places = axes.transData.transform(points) * POINTS / axes.figure.dpi
    for place, (point, offset) in enumerate(zip(points, beside(places), strict=True), start=1):
        axes.annotate(
            str(place), point, offset, textcoords="offset points", fontsize=8,
            ha="center", va="center",
        )  # fmt: skip


def beside(places: NDArray[np.float64]) -> list[tuple[float, float]]:
    """(N, 2) points -> where to write each one's number, as near as possible, so that no number
    lies on another or on a point. All in typographic points."""
    taken, offsets = places, []
    for place in places:
        free = (o for o in OFFSETS if not (np.abs(place + o - taken) < NUMBER).all(axis=1).any())
        offsets.append(next(free, OFFSETS[0]))
        taken = np.vstack([taken, place + offsets[-1]])
    return offsets
