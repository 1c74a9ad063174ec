"""Small charts as HTML and SVG, coloured by the page's own style, light and dark.

Everything that comes from data is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeAlias

Bar: TypeAlias = tuple[str, float, str]
"""What a bar is called, how long it is, and what is written behind it."""
Point: TypeAlias = tuple[float, float]

PALETTE = 8
"""Colours that tell things apart, ``var(--c0)`` to ``var(--c7)`` (Okabe and Ito's, which most of
the colour-blind tell apart, lighter in the dark)."""
WIDE, HIGH = 460, 260  # of a chart with axes, in its own units
MARGIN, RIGHT, ABOVE, BELOW = 44, 12, 24, 40  # round what is drawn

CHART_STYLE = """
:root { --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #cc79a7; --c4: #e69f00; --c5: #56b4e9;
  --c6: #7a5fb0; --c7: #8a8a6a; }
@media (prefers-color-scheme: dark) { :root { --c0: #4aa3e0; --c1: #f08a4a; --c2: #3cc79c;
  --c3: #e3a3c6; --c4: #f2bd4e; --c5: #8fd0f5; --c6: #a892dd; --c7: #b9b996; } }
.bars { display: grid; grid-template-columns: minmax(4rem, max-content) 1fr max-content;
  gap: .35rem .7rem; align-items: center; font-size: .95rem; overflow-wrap: anywhere; }
.bars .line { position: relative; height: 1.05em; background: var(--shade); border-radius: .25em; }
.bars .line i { position: absolute; top: 0; bottom: 0; border-radius: .25em; min-width: 2px; }
.bars i.for { background: var(--for); } .bars i.against { background: var(--against); }
.bars .line b { position: absolute; top: -2px; bottom: -2px; width: 1px; background: var(--soft); }
.bars span:nth-child(3n) { font-variant-numeric: tabular-nums; color: var(--soft); }
.chart { display: block; width: 100%; height: auto; max-width: 40rem; }
.chart text { font: 11px system-ui, sans-serif; fill: var(--soft); }
.chart .axis { stroke: var(--line); stroke-width: 1; }
.chart .guide { stroke: var(--soft); stroke-dasharray: 4 4; fill: none; opacity: .7; }
.chart polyline { fill: none; stroke-width: 2; }
.key { display: flex; flex-wrap: wrap; gap: .2rem 1rem; font-size: .88rem; color: var(--soft);
  margin: .4rem 0 0; }
.key i { display: inline-block; width: .75em; height: .75em; border-radius: 50%;
  margin-right: .4em; }
@media print { :root { --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #cc79a7; --c4: #e69f00;
  --c5: #56b4e9; --c6: #7a5fb0; --c7: #8a8a6a; } }
"""


def colour(number: int) -> str:
    """Of the things that are told apart, from 0."""
    return f"var(--c{number % PALETTE})"


def bars(rows: Sequence[Bar], ends: tuple[float, float] = (0.0, 0.0)) -> str:
    """A bar a row from a common zero; those to the left of it are orange. ``ends`` are on the
    scale, so that several charts may share theirs."""
    low = min([0.0, *ends, *(value for _, value, _ in rows)])
    high = max([0.0, *ends, *(value for _, value, _ in rows)])
    size = max(high - low, 1e-12)
    zero = -low / size * 100
    cells = []
    for name, value, note in rows:
        start = zero if value >= 0 else zero + value / size * 100
        tone = "for" if value >= 0 else "against"
        cells.append(
            f'<span>{escape(name)}</span><span class="line"><i class="{tone}" '
            f'style="left:{start:.1f}%;width:{abs(value) / size * 100:.1f}%"></i>'
            + (f'<b style="left:{zero:.1f}%"></b>' if low < 0 else "")
            + f"</span><span>{escape(note)}</span>"
        )
    return f'<div class="bars">{"".join(cells)}</div>'


def lines(
    curves: Sequence[tuple[str, Sequence[Point], str]],
    across: str,
    up: str,
    *,
    width: tuple[float, float] | None = None,
    ends: tuple[float, float] | None = None,
    diagonal: bool = False,
    dots: bool = False,
) -> str:
    """Curves in one chart, with a key below.

    Args:
        curves: of each its name, its points and its colour.
        across, up: what the axes are called.
        width, ends: of the two axes; those of the points where not given.
        diagonal: whether to draw the line of equal values.
        dots: whether each point is marked.
    """
    points = [point for _, each, _ in curves for point in each]
    frame = Frame(width or _range([x for x, _ in points]), ends or _range([y for _, y in points]))
    drawn = [frame.axes(across, up), frame.diagonal() if diagonal else ""]
    for _, each, tone in curves:
        at = [frame.place(*point) for point in each]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        drawn.append(f'<polyline points="{path}" stroke="{tone}"/>')
        if dots or len(at) == 1:
            drawn += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{tone}"/>' for x, y in at]
    named = [(name, tone) for name, _, tone in curves if name]
    return _svg(drawn, f"{up} by {across}") + key(named)


def scatter(
    points: Sequence[tuple[float, float, str, int]], across: str, up: str, diagonal: bool = False
) -> str:
    """A dot a record: across, up, its colour and the record's number, which the page's script may
    ask for. Axes without names have no numbers either."""
    each = [[x for x, *_ in points], [y for _, y, *_ in points]]
    if diagonal:
        each = [each[0] + each[1]] * 2
    frame = Frame(_range(each[0]), _range(each[1]))
    drawn = [frame.axes(across, up) if up else "", frame.diagonal() if diagonal else ""]
    for x, y, tone, number in points:
        across_at, up_at = frame.place(x, y)
        drawn.append(
            f'<circle data-record="{number}" cx="{across_at:.1f}" cy="{up_at:.1f}" r="4" '
            f'fill="{tone}"/>'
        )
    return _svg(drawn, f"{up} by {across}" if up else "records as points")


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _svg(drawn: Sequence[str], what: str) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {WIDE} {HIGH}" role="img" aria-label="{escape(what)}">'
        f"{''.join(drawn)}</svg>"
    )


@dataclass(frozen=True)
class Frame:
    """The two axes of a chart: what they run from and to."""

    across: tuple[float, float]
    up: tuple[float, float]

    def place(self, x: float, y: float) -> Point:
        """Where a point is drawn."""
        (left, right), (low, high) = self.across, self.up
        return (
            MARGIN + (x - left) / (right - left) * (WIDE - MARGIN - RIGHT),
            HIGH - BELOW - (y - low) / (high - low) * (HIGH - BELOW - ABOVE),
        )

    def diagonal(self) -> str:
        """The line of equal values, as far as both axes have them."""
        low, high = max(self.across[0], self.up[0]), min(self.across[1], self.up[1])
        (x1, y1), (x2, y2) = self.place(low, low), self.place(high, high)
        return f'<path class="guide" d="M{x1:.1f},{y1:.1f} L{x2:.1f},{y2:.1f}"/>'

    def axes(self, across: str, up: str) -> str:
        """Lines across with their values, values below, and the axes' names."""
        found = []
        for value in _ticks(*self.up):
            (x1, y), (x2, _) = self.place(self.across[0], value), self.place(self.across[1], value)
            found.append(
                f'<path class="axis" d="M{x1:.1f},{y:.1f} L{x2:.1f},{y:.1f}"/>'
                f'<text x="{x1 - 5:.1f}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>'
            )
        for value in _ticks(*self.across):
            x, y = self.place(value, self.up[0])
            found.append(
                f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{value:,.4g}</text>'
            )
        found.append(f'<text x="{WIDE - RIGHT}" y="{HIGH - 4}" text-anchor="end">{escape(across)}'
                     f'</text><text x="4" y="12">{escape(up)}</text>')  # fmt: skip
        return "".join(found)


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers between two."""
    size = high - low
    step = 10.0 ** math.floor(math.log10(size / 4))
    step = next(step * times for times in (1, 2, 5, 10) if size / (step * times) <= 5)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def key(names: Sequence[tuple[str, str]]) -> str:
    """What the colours stand for; empty where there is one thing alone."""
    if len(names) < 2:
        return ""
    items = [f'<span><i style="background:{tone}"></i>{escape(n)}</span>' for n, tone in names]
    return f'<p class="key">{"".join(items)}</p>'
