"""The learning curve of a run as a picture: loss above, free-running scores below.

Each stage of the training has its own column, as losses of different objectives can't be compared;
scores can, and share their axis.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

from plait.util.files import write_atomically
from plait.util.imports import can_make, needed

CHARTS = "charts"  # the extra that brings matplotlib
SCORE_COLOURS = ("#c8553d", "#2a7f9e", "#7a9e2a", "#8e5ea2")
"""Of the scores, in the order of the log."""
LOSS_COLOUR = "#4a4e69"
GRID_COLOUR = "#e3e3ea"
HEIGHT, WIDTH, DPI = 6.0, 9.0, 120
LOWEST_TOP = 0.1  # scores below it are close to nothing, and must not look like something
NARROWEST = 0.35  # of a short stage's column, as a share of the widest one


@dataclass
class StageCurve:
    """The points of one stage: pairs of a step within it and a value."""

    name: str
    loss: list[tuple[int, float]] = field(default_factory=list)
    scores: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    """Title -> one point for each validation."""

    @property
    def steps(self) -> int:
        """How many steps the log has."""
        return self.loss[-1][0] if self.loss else 1


def new_figure(width: float, height: float) -> Any:
    """An empty figure of matplotlib, in inches, that needs no display. Raises PlaitError if
    matplotlib is not installed."""
    figure = needed("matplotlib.figure", CHARTS).Figure(
        figsize=(width, height), dpi=DPI, layout="constrained"
    )
    needed("matplotlib.backends.backend_agg", CHARTS).FigureCanvasAgg(figure)
    return figure


def draw_curve(log: Path, picture: Path) -> None:
    """Draw a run's ``log.jsonl`` as a PNG; a log without any step or score leaves no picture, and
    neither does a machine without matplotlib. Raises PlaitError if the picture can't be written."""
    curves = read_curves(log)
    if not curves or not can_make(picture.name, "matplotlib", CHARTS):
        return
    widest = max(curve.steps for curve in curves)
    widths = [max(curve.steps / widest, NARROWEST) for curve in curves]
    figure = new_figure(WIDTH, HEIGHT)
    axes = figure.subplots(
        2, len(curves), squeeze=False, sharex="col", gridspec_kw={"width_ratios": widths}
    )
    top = max((v for c in curves for points in c.scores.values() for _, v in points), default=0)
    for curve, (losses, scores) in zip(curves, axes.T, strict=True):
        _draw_stage(curve, losses, scores, max(top, LOWEST_TOP) * 1.2)
    axes[0, 0].set_ylabel("training loss")
    axes[1, 0].set_ylabel("validation score")
    scored = next((axes[1, column] for column, curve in enumerate(curves) if curve.scores), None)
    if scored is not None:
        scored.legend(frameon=False, loc="upper left")
    write_atomically(picture, lambda part: figure.savefig(part, format="png"))


def read_curves(log: Path) -> list[StageCurve]:
    """The stages of a log in their order; lines that a kill cut short are left out."""
    curves: dict[str, StageCurve] = {}
    for text in log.read_text(encoding="utf-8").splitlines() if log.is_file() else []:
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if not isinstance(line, dict) or line.get("event") not in ("step", "validation"):
            continue
        curve = curves.setdefault(line["stage"], StageCurve(line["stage"]))
        if line["event"] == "step":
            curve.loss.append((line["done"], line["loss"]))
            continue
        for score, title in line["metrics"].items():
            # A validation follows the last step of its epoch.
            curve.scores.setdefault(title, []).append((curve.steps, line[score]))
    return list(curves.values())


def _draw_stage(curve: StageCurve, losses: Any, scores: Any, top: float) -> None:
    """The stage's column: its losses above, its scores up to ``top`` below."""
    for axes in (losses, scores):
        tidy(axes)
        ticks = needed("matplotlib.ticker", CHARTS).MaxNLocator(5, integer=True)
        axes.xaxis.set_major_locator(ticks)
    losses.set_title(curve.name, loc="left", fontweight="bold")
    if curve.loss:  # a single point needs a mark to be seen
        mark = "o" if len(curve.loss) == 1 else None
        losses.plot(*zip(*curve.loss, strict=True), color=LOSS_COLOUR, lw=1.4, marker=mark, ms=4)
    scores.set_xlabel("step")
    scores.set_xlim(0, curve.steps * 1.06)
    scores.set_ylim(0, top)
    for (title, points), colour in zip(curve.scores.items(), cycle(SCORE_COLOURS), strict=False):
        line = zip(*points, strict=True)
        scores.plot(*line, color=colour, lw=1.6, marker="o", ms=4, label=title)
        step, best = max(points, key=lambda point: point[1])
        scores.annotate(
            f"{best:.3f}", (step, best), (0, 7), textcoords="offset points", ha="center",
            color=colour, fontsize=9,
        )  # fmt: skip


def tidy(axes: Any) -> None:
    """The look of all charts: two axes, and a grid behind what is drawn."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=GRID_COLOUR, lw=0.8)
    axes.set_axisbelow(True)
