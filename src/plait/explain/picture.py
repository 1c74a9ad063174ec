"""An explanation as one picture: the attention of each word where the model has it, else what the
answer loses without each part of its inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from plait.explain.attribution import OCCLUSION
from plait.explain.explanation import Explanation, Seen
from plait.modalities.segments import STRONGEST, Grid, Weights
from plait.render.curves import CHARTS, new_figure, tidy
from plait.render.html import shown
from plait.util.files import write_atomically
from plait.util.imports import needed

FOR, AGAINST = "#1f6fb2", "#d0641a"
MOST = 14  # parts that are named
LETTERS = 28  # of a name


def draw(found: Explanation, path: Path) -> None:
    """Write a PNG.

    Raises:
        PlaitError: it can't be written, or needs matplotlib, which is not installed.
    """
    if found.attention is not None:
        picture = found.attention.picture()
        write_atomically(path, lambda part: picture.save(part, format="PNG"))
        return
    figure = _figure(found)
    write_atomically(path, lambda part: figure.savefig(part, format="png"))


def _figure(found: Explanation) -> Any:
    panels = [*found.inputs.items()]
    several = len(panels) > 1
    figure = new_figure(4.4 * (len(panels) + several), 4.2)
    axes = figure.subplots(1, len(panels) + several, squeeze=False)[0]
    figure.suptitle(f"{found.output}: {shown(found.prediction.value)}"[:90], fontweight="bold")
    if several:
        _bars(axes[0], list(found.shares), np.array([*found.shares.values()]), "shares")
    for place, (name, seen) in zip(axes[several:], panels, strict=True):
        _input(place, name, seen)
    return figure


def _input(axes: Any, name: str, seen: Seen) -> None:
    """The tiles on the picture, or a bar for each of the heaviest parts."""
    weights, layout = seen.methods[OCCLUSION].attribution.weights, seen.layout
    if isinstance(layout, Grid):
        _tiles(axes, layout, weights)
        axes.set_title(name)
        return
    heaviest = np.sort(np.argsort(-np.abs(weights), kind="stable")[:MOST])
    _bars(axes, [layout.parts[n] for n in heaviest], weights[heaviest], name)


def _bars(axes: Any, names: list[str], values: Weights, title: str) -> None:
    tidy(axes)
    places = range(len(names))
    axes.barh(places, values, color=[FOR if v >= 0 else AGAINST for v in values])
    axes.set_yticks(places, [name[:LETTERS] for name in names])
    axes.invert_yaxis()
    axes.axvline(0, color="0.4", lw=0.8)
    axes.set_title(title)


def _tiles(axes: Any, layout: Grid, weights: Weights) -> None:
    rows, columns = len(layout.rows), len(layout.columns)
    tiles = weights.reshape(rows, columns)
    extent = (0, columns, rows, 0)
    seen, most = layout.backdrop, float(np.abs(weights).max(initial=1e-12))
    if not isinstance(seen, str):
        axes.imshow(seen, extent=extent, aspect="auto")
    opacity = 1.0 if isinstance(seen, str) else STRONGEST * np.abs(tiles) / most
    colours = needed("matplotlib.colors", CHARTS).LinearSegmentedColormap
    axes.imshow(
        tiles, cmap=colours.from_list("tones", [AGAINST, "#f4f4f4", FOR]), vmin=-most, vmax=most,
        alpha=opacity, extent=extent, aspect="auto",
    )  # fmt: skip
    axes.set_yticks(np.arange(rows) + 0.5, layout.rows, fontsize=7)
    axes.set_xticks(np.arange(columns), layout.columns, fontsize=7, rotation=45)
    axes.tick_params(length=0)
