"""An explanation as one picture: what the answer loses without each segment of its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from plait.modalities.segments import STRONGEST, Grid, Segments, Weights
from plait.render.curves import CHARTS, new_figure, save_figure, tidy
from plait.util.imports import needed

FOR, AGAINST = "#1f6fb2", "#d0641a"
MOST_NAMED = 14  # segments
LONGEST_NAME = 28  # letters


def draw_weights(
    title: str,
    shares: Mapping[str, float],
    inputs: Mapping[str, tuple[Segments, Weights]],
    path: Path,
) -> None:
    """Write a PNG: the inputs' shares, where there are several, then each input's weights.

    Args:
        title: of the picture.
        shares: input -> its share of the answer.
        inputs: input -> its segments and their weights (P,).
        path: the file.

    Raises:
        PlaitError: the file can't be written, or matplotlib is not installed.
    """
    several = len(inputs) > 1
    panels = len(inputs) + several
    figure = new_figure(4.4 * panels, 4.2)
    axes = figure.subplots(1, panels, squeeze=False)[0]
    figure.suptitle(title[:90], fontweight="bold")
    if several:
        _bars(axes[0], list(shares), np.array([*shares.values()]), "shares")
    for panel, (name, (segments, weights)) in zip(axes[several:], inputs.items(), strict=True):
        if isinstance(segments, Grid):
            _tiles(panel, segments, weights)
            panel.set_title(name)
        else:
            heaviest = np.sort(np.argsort(-np.abs(weights), kind="stable")[:MOST_NAMED])
            _bars(panel, [segments.parts[n] for n in heaviest], weights[heaviest], name)
    save_figure(figure, path)


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
    place: dict[str, Any] = {"extent": (0, columns, rows, 0), "aspect": "auto"}
    opacity: Any = 1.0
    if not isinstance(grid.backdrop, str):
        axes.imshow(grid.backdrop, **place)
        opacity = STRONGEST * np.abs(tiles) / most
    colours = needed("matplotlib.colors", CHARTS).LinearSegmentedColormap
    tones = colours.from_list("tones", [AGAINST, "#f4f4f4", FOR])
    axes.imshow(tiles, cmap=tones, vmin=-most, vmax=most, alpha=opacity, **place)
    width, height = grid.size
    axes.set_box_aspect(height / width)
    axes.set_yticks(np.arange(rows) + 0.5, grid.rows, fontsize=7)
    axes.set_xticks(np.arange(columns), grid.columns, fontsize=7, rotation=45)
    axes.tick_params(length=0)
