"""Small charts in HTML and SVG (``charts.html``), coloured by ``charts.css``, light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from markupsafe import Markup

from plait.render.html import fill

Bar: TypeAlias = tuple[str, float, str]
"""A bar's name, its length, and the text after it."""
Point: TypeAlias = tuple[float, float]
Range: TypeAlias = tuple[float, float]

PALETTE = 8
"""How many colours tell things apart: ``var(--c0)`` to ``var(--c7)``, Okabe and Ito's, which most
colour-blind people can tell apart, lighter in the dark."""
CHARTS = "render/charts.html"


def colour(number: int) -> str:
    """The colour of the thing with this number, from 0."""
    return f"var(--c{number % PALETTE})"


def bars(rows: Sequence[Bar], limits: Range = (0.0, 0.0)) -> Markup:
    """A bar for each row from a common zero, orange to the left of it. Charts that share their
    ``limits`` share their scale."""
    values = [0.0, *limits, *(value for _, value, _ in rows)]
    return fill(CHARTS, "bars", rows, min(values), max(max(values) - min(values), 1e-12))


def lines(
    curves: Sequence[tuple[str, Sequence[Point], str]],
    x_label: str,
    y_label: str,
    *,
    x_range: Range | None = None,
    y_range: Range | None = None,
    diagonal: bool = False,
    dots: bool = False,
) -> Markup:
    """Curves in one chart, with a legend below.

    Args:
        curves: the name, the points and the colour of each.
        x_label, y_label: names of the axes.
        x_range, y_range: what the axes run over; the points' own range if not given.
        diagonal: whether to draw the line of equal values.
        dots: whether to mark each point.
    """
    points = [point for _, each, _ in curves for point in each]
    frame = Frame(
        x_range or _range([x for x, _ in points]), y_range or _range([y for _, y in points])
    )
    chart = fill(CHARTS, "chart", frame, curves, [], x_label, y_label, diagonal, dots)
    return chart + legend([(name, tone) for name, _, tone in curves if name])


def scatter(
    points: Sequence[tuple[float, float, str, int]],
    x_label: str = "",
    y_label: str = "",
    diagonal: bool = False,
) -> Markup:
    """A dot for each record: x, y, its colour and the record's number, by which the page's script
    finds it. Without labels there are no axes."""
    xs, ys = [x for x, *_ in points], [y for _, y, *_ in points]
    frame = Frame(*[_range(xs + ys)] * 2) if diagonal else Frame(_range(xs), _range(ys))
    return fill(CHARTS, "chart", frame, [], points, x_label, y_label, diagonal, True)


def legend(names: Sequence[tuple[str, str]]) -> Markup:
    """What the colours stand for; empty for a single thing."""
    return fill(CHARTS, "legend", names) if len(names) > 1 else Markup()


def _range(values: Sequence[float]) -> Range:
    low, high = min(values, default=0.0), max(values, default=1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


@dataclass(frozen=True)
class Frame:
    """The two axes of a chart, each from its lowest to its highest value, and its size and margins
    in units of its own."""

    x_range: Range
    y_range: Range
    width, height = 460, 260
    left, right, top, bottom = 44, 12, 24, 40

    @property
    def both(self) -> Range:
        """The values that both axes have."""
        (left, right), (low, high) = self.x_range, self.y_range
        return max(left, low), min(right, high)

    def place(self, x: float, y: float) -> Point:
        """Where a point is drawn."""
        (left, right), (low, high) = self.x_range, self.y_range
        across, down = self.width - self.left - self.right, self.height - self.bottom - self.top
        return (
            self.left + (x - left) / (right - left) * across,
            self.height - self.bottom - (y - low) / (high - low) * down,
        )

    @staticmethod
    def ticks(low: float, high: float) -> list[float]:
        """About five round numbers between two."""
        size = high - low
        step = 10.0 ** math.floor(math.log10(size / 4))
        step = next(step * times for times in (1, 2, 5, 10) if size / (step * times) <= 5)
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]
