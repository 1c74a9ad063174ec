"""Small charts in HTML and SVG, coloured by ``charts.css``, light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from markupsafe import Markup

Bar: TypeAlias = tuple[str, float, str]
"""A bar's name, its length, and the text after it."""
Point: TypeAlias = tuple[float, float]
Range: TypeAlias = tuple[float, float]

PALETTE = 8
"""How many colours tell things apart: ``var(--c0)`` to ``var(--c7)``, Okabe and Ito's, which most
colour-blind people can tell apart, lighter in the dark."""
WIDTH, HEIGHT = 460, 260  # of a chart with axes, in its own units
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 24, 40  # margins


def colour(number: int) -> str:
    """The colour of the thing with this number, from 0."""
    return f"var(--c{number % PALETTE})"


def bars(rows: Sequence[Bar], limits: Range = (0.0, 0.0)) -> Markup:
    """A bar for each row from a common zero, orange to the left of it. Charts that share their
    ``limits`` share their scale."""
    values = [0.0, *limits, *(value for _, value, _ in rows)]
    low, size = min(values), max(max(values) - min(values), 1e-12)
    zero = Markup('<b style="left:{:.1f}%"></b>').format(-low / size * 100) if low < 0 else ""
    cells = [
        Markup(
            '<span>{}</span><span class="line"><i class="{}" style="left:{:.1f}%;width:{:.1f}%">'
            "</i>{}</span><span>{}</span>"
        ).format(
            name,
            "for" if value >= 0 else "against",
            (min(value, 0.0) - low) / size * 100,
            abs(value) / size * 100,
            zero,
            note,
        )
        for name, value, note in rows
    ]
    return Markup('<div class="bars">{}</div>').format(Markup().join(cells))


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
    shapes = [frame.axes(x_label, y_label), frame.diagonal() if diagonal else Markup()]
    for _, each, tone in curves:
        places = [frame.place(*point) for point in each]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        shapes.append(Markup('<polyline points="{}" stroke="{}"/>').format(path, tone))
        if dots or len(places) == 1:
            circle = Markup('<circle cx="{:.1f}" cy="{:.1f}" r="3.5" fill="{}"/>')
            shapes += [circle.format(x, y, tone) for x, y in places]
    named = [(name, tone) for name, _, tone in curves if name]
    return _svg(shapes, f"{y_label} by {x_label}") + legend(named)


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
    shapes = [frame.axes(x_label, y_label)] if y_label else []
    shapes += [frame.diagonal()] if diagonal else []
    circle = Markup('<circle data-record="{}" cx="{:.1f}" cy="{:.1f}" r="4" fill="{}"/>')
    shapes += [circle.format(number, *frame.place(x, y), tone) for x, y, tone, number in points]
    return _svg(shapes, f"{y_label} by {x_label}" if y_label else "records as points")


def legend(names: Sequence[tuple[str, str]]) -> Markup:
    """What the colours stand for; empty for a single thing."""
    if len(names) < 2:
        return Markup()
    items = [Markup('<span><i style="background:{}"></i>{}</span>').format(t, n) for n, t in names]
    return Markup('<p class="key">{}</p>').format(Markup().join(items))


def _range(values: Sequence[float]) -> Range:
    low, high = min(values, default=0.0), max(values, default=1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _svg(shapes: Sequence[Markup], label: str) -> Markup:
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    ).format(WIDTH, HEIGHT, label, Markup().join(shapes))


@dataclass(frozen=True)
class Frame:
    """The two axes of a chart, each from its lowest to its highest value."""

    x_range: Range
    y_range: Range

    def place(self, x: float, y: float) -> Point:
        """Where a point is drawn."""
        (left, right), (low, high) = self.x_range, self.y_range
        return (
            LEFT + (x - left) / (right - left) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - (y - low) / (high - low) * (HEIGHT - BOTTOM - TOP),
        )

    def diagonal(self) -> Markup:
        """The line of equal values, as far as both axes have them."""
        low = max(self.x_range[0], self.y_range[0])
        high = min(self.x_range[1], self.y_range[1])
        ends = (*self.place(low, low), *self.place(high, high))
        return Markup('<path class="guide" d="M{:.1f},{:.1f} L{:.1f},{:.1f}"/>').format(*ends)

    def axes(self, x_label: str, y_label: str) -> Markup:
        """A line across at each value of y, the values of x below, and the axes' names."""
        line = Markup(
            '<path class="axis" d="M{:.1f},{y:.1f} L{:.1f},{y:.1f}"/>'
            '<text x="{:.1f}" y="{:.1f}" text-anchor="end">{:.4g}</text>'
        )
        shapes = []
        for value in _ticks(*self.y_range):
            (left, y), (right, _) = (self.place(x, value) for x in self.x_range)
            shapes.append(line.format(left, right, left - 5, y + 4, value, y=y))
        for value in _ticks(*self.x_range):
            x, y = self.place(value, self.y_range[0])
            text = Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="middle">{:,.4g}</text>')
            shapes.append(text.format(x, y + 16, value))
        names = Markup(
            '<text x="{}" y="{}" text-anchor="end">{}</text><text x="4" y="12">{}</text>'
        )
        shapes.append(names.format(WIDTH - RIGHT, HEIGHT - 4, x_label, y_label))
        return Markup().join(shapes)


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers between two."""
    size = high - low
    step = 10.0 ** math.floor(math.log10(size / 4))
    step = next(step * times for times in (1, 2, 5, 10) if size / (step * times) <= 5)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]
