"""A comparison as a picture: each variant's score with its interval, and the score against cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from plait.comparison.found import Comparison, Line
from plait.comparison.report import heading
from plait.curves import DPI, LOSS_COLOUR, SCORE_COLOURS, tidy
from plait.files import write_atomically

TITLES = {
    "fused": "all inputs",
    "alone": "one input",
    "without": "all but one",
    "rows": "fewer rows",
    "classical": "classical",
}
COLOURS = dict(zip(TITLES, (*SCORE_COLOURS, LOSS_COLOUR), strict=True))
"""By the variant's role, as the titles are."""


def draw_comparison(found: Comparison, picture: Path) -> None:
    """A PNG: on the left the scores with their 95 % intervals, the best on top; on the right the
    scores against the seconds of training, numbered as on the left."""
    lines = [line for line in found.lines if line.score is not None]
    figure = Figure(figsize=(11.0, 1.6 + 0.36 * len(lines)), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.25, 1]})
    _scores(left, lines, heading(found))
    _cost(right, lines, found.title)
    write_atomically(picture, lambda part: figure.savefig(part, format="png"))


def _scores(axes: Any, lines: Sequence[Line], title: str) -> None:
    tidy(axes)
    for place, line in enumerate(lines):
        assert line.interval is not None
        axes.plot(line.interval, [place, place], color=COLOURS[line.role], lw=2)
        axes.plot([line.score], [place], "o", color=COLOURS[line.role], ms=6)
        each = list(line.each.values())
        axes.plot(each, [place] * len(each), "|", color=COLOURS[line.role], ms=9)
        axes.annotate(
            f"{line.score:.3f}", (line.score, place), (0, 6), textcoords="offset points",
            ha="center", fontsize=8, color=COLOURS[line.role],
        )  # fmt: skip
    axes.set_yticks(
        range(len(lines)), [f"{line.name}  {n}" for n, line in enumerate(lines, start=1)]
    )
    axes.set_ylim(len(lines) - 0.5, -0.7)
    axes.set_xlabel(f"{title}, with 95 % interval; a stroke is a seed")


def _cost(axes: Any, lines: Sequence[Line], title: str) -> None:
    tidy(axes)
    axes.set_xscale("log")
    named = set()
    for number, line in enumerate(lines, start=1):
        label = None if line.role in named else TITLES[line.role]
        named.add(line.role)
        x = max(line.seconds, 0.1)
        axes.plot([x], [line.score], "o", color=COLOURS[line.role], ms=7, label=label)
        axes.annotate(str(number), (x, line.score), (6, 4), textcoords="offset points", fontsize=8)
    axes.set_xlabel("seconds of training")
    axes.set_ylabel(title)
    axes.margins(0.12)
    axes.legend(frameon=False, fontsize=8)
