"""The segments of a cell, which an explanation hides, and where the tokens lie in them.

A modality divides its cells into segments; explanations hide some, weigh them, and draw the weights
over the cell, whatever its modality.

Shapes: P segments, T tokens, R rows, C columns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from html import escape
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from plait.render.html import picture_uri

Weights: TypeAlias = NDArray[np.float64]
Kept: TypeAlias = NDArray[np.bool_]
Span: TypeAlias = tuple[int, int]
View: TypeAlias = tuple[tuple[float, float], tuple[float, float]]
"""The part of a picture that a model saw: start and end across, and down, as shares of it. They lie
beyond 0 and 1 where the model saw a margin around the picture."""
Perturb: TypeAlias = Callable[[Kept], NDArray[Any]]
"""(P,) which segments are kept -> the item with the others hidden, as `Modality.read` returns it;
of length 0 where nothing is left, which is an absent input."""

STRONGEST = 0.8  # opacity of the heaviest segment
SIDE = 1024  # pixels of a picture's longer side on a page
WHOLE: View = ((0.0, 1.0), (0.0, 1.0))


class Segments(ABC):
    """The segments of one cell.

    Attributes:
        names: what people know each segment by.
        perturb: hides the others.
        broad: whether a drawing has names to read, and so needs room.
    """

    broad = True

    def __init__(self, names: Sequence[str], perturb: Perturb) -> None:
        self.names, self.perturb = tuple(names), perturb

    def overlap(self, tokens: int) -> Weights:
        """(T, P) how much of each of an encoder's tokens lies in each segment; a row sums to 1. By
        default both lie evenly along one line."""
        return along(tokens, len(self.names))

    def symbol(self, name: str) -> str:
        """What all drawings share, once a page, as HTML with that ``id``; empty if nothing."""
        return ""

    @abstractmethod
    def drawing(self, weights: Weights, name: str) -> str:
        """The cell with each segment's weight (P,) on it, as HTML; those that speak for the answer
        are blue, those against it orange. ``name`` as in `symbol`."""


class Words(Segments):
    """A text and its words."""

    def __init__(
        self, text: str, words: Sequence[Span], tokens: Sequence[Span], perturb: Perturb
    ) -> None:
        """Words and tokens are spans of characters, their ends exclusive."""
        super().__init__([text[start:end] for start, end in words], perturb)
        self.text, self.words, self.tokens = text, words, tokens

    def overlap(self, tokens: int) -> Weights:
        """By the characters that they share; tokens of no character, such as a start, are
        everywhere."""
        if tokens != len(self.tokens):
            return super().overlap(tokens)
        token, word = np.array(self.tokens).reshape(-1, 1, 2), np.array(self.words)
        shared = np.minimum(token[..., 1], word[:, 1]) - np.maximum(token[..., 0], word[:, 0])
        return normalised(np.clip(shared, 0, None).astype(np.float64))

    def drawing(self, weights: Weights, name: str) -> str:
        """The text, its words coloured."""
        inside, at = "", 0
        strengths = STRONGEST * magnitudes(weights)
        for (start, end), weight, strength in zip(self.words, weights, strengths, strict=True):
            inside += (
                f'{escape(self.text[at:start])}<mark class="{tone(weight)}" '
                f'style="--how:{strength * 100:.0f}%" title="{weight:+.4f}">'
                f"{escape(self.text[start:end])}</mark>"
            )
            at = end
        return f'<p class="words">{inside}{escape(self.text[at:])}</p>'


class Listing(Segments):
    """Named values, each a segment and a token."""

    def __init__(self, values: Sequence[tuple[str, str]], perturb: Perturb) -> None:
        super().__init__([name for name, _ in values], perturb)
        self.values = values

    def drawing(self, weights: Weights, name: str) -> str:
        """A bar for each value."""
        each = zip(self.values, weights, magnitudes(weights), strict=True)
        rows = [
            f"<tr><th>{escape(key)}</th><td>{escape(value)}</td>"
            f'<td class="bar"><i class="{tone(w)}" style="width:{share * 100:.0f}%"></i></td>'
            f"<td>{w:+.3g}</td></tr>"
            for (key, value), w, share in each
        ]
        return f'<table class="values">{"".join(rows)}</table>'


class Grid(Segments):
    """A picture, or a drawing over time, in rows and columns of segments, row by row."""

    def __init__(
        self,
        backdrop: NDArray[np.uint8] | str,
        size: tuple[int, int],
        rows: Sequence[str],
        columns: Sequence[str],
        perturb: Perturb,
        *,
        square: bool = False,
        spans: Callable[[int], Weights] | None = None,
        view: View = WHOLE,
    ) -> None:
        """
        Args:
            backdrop: what lies behind the segments: (H, W, 3) pixels, or the inside of an SVG.
            size: width and height of the drawing.
            rows, columns: what they are called; empty names are not written.
            perturb: as in `Segments`.
            square: whether tokens lie on a square grid, row by row.
            spans: T -> (T, C), where tokens lie along the columns. Without it, and off a square,
                they lie evenly along all segments, row after row.
            view: the part of the drawing that rows and columns divide.
        """
        names = [", ".join(filter(None, (c, r))) or f"{n + 1}, {m + 1}"
                 for n, r in enumerate(rows) for m, c in enumerate(columns)]  # fmt: skip
        super().__init__(names, perturb)
        self.backdrop, self.size, self.rows, self.columns = backdrop, size, rows, columns
        self.square, self.spans, self.view, self.broad = square, spans, view, any(rows)

    def overlap(self, tokens: int) -> Weights:
        """By the area that they share; a number that fills no square is everywhere."""
        rows, columns = len(self.rows), len(self.columns)
        if self.spans is not None:
            return np.tile(self.spans(tokens) / rows, rows)  # (T, R · C)
        if not self.square:
            return super().overlap(tokens)
        side = round(tokens**0.5)
        if side * side != tokens:
            return along(1, rows * columns).repeat(tokens, axis=0)
        down, over = along(side, rows), along(side, columns)
        return np.einsum("ar,bc->abrc", down, over).reshape(tokens, -1)

    def symbol(self, name: str) -> str:
        """The backdrop, which every drawing shows again."""
        (width, height), inside = self.size, self.backdrop
        if not isinstance(inside, str):
            box = f'width="{width}" height="{height}" preserveAspectRatio="none"'
            inside = f'<image href="{picture_uri(inside, SIDE)}" {box}/>'
        return (
            f'<svg width="0" height="0" class="store" aria-hidden="true"><symbol id="{name}" '
            f'viewBox="0 0 {width} {height}">{inside}</symbol></svg>'
        )

    def drawing(self, weights: Weights, name: str) -> str:
        """The backdrop under coloured tiles, with the names of rows and columns beside it; weights
        of zero show a picture as it is."""
        width, height = self.size
        wide, high = width / len(self.columns), height / len(self.rows)
        (left, right), (top, bottom) = self.view
        xs = np.linspace(left, right, len(self.columns) + 1).clip(0, 1) * width
        ys = np.linspace(top, bottom, len(self.rows) + 1).clip(0, 1) * height
        each = zip(self.names, weights, STRONGEST * magnitudes(weights), strict=True)
        tiles = [self._unseen(xs, ys)]
        for number, (segment, weight, strength) in enumerate(each):
            row, column = divmod(number, len(self.columns))
            tiles.append(
                f'<rect class="{tone(weight)}" x="{xs[column]:.1f}" y="{ys[row]:.1f}" '
                f'width="{xs[column + 1] - xs[column] + 0.4:.1f}" '
                f'height="{ys[row + 1] - ys[row] + 0.4:.1f}" fill-opacity="{strength:.2f}">'
                f"<title>{escape(segment)}: {weight:+.4f}</title></rect>"
            )
        longest = max(map(len, self.rows), default=0)
        left, below = longest and longest * 7 + 10, 18 if any(self.columns) else 0
        kind = "grid" if isinstance(self.backdrop, str) or not weights.any() else "grid faint"
        return (
            f'<svg class="{kind}" viewBox="{-left} 0 {width + left} {height + below}" role="img" '
            f'aria-label="weights of the segments"><use href="#{name}" width="{width}" '
            f'height="{height}"/>{"".join(tiles)}{self._names(wide, high)}</svg>'
        )

    def _unseen(self, xs: Weights, ys: Weights) -> str:
        """A veil over what lies outside the view."""
        (width, height), (left, *_, right), (top, *_, bottom) = self.size, xs, ys
        if (left, right, top, bottom) == (0, width, 0, height):
            return ""
        return (
            f'<path class="unseen" fill-rule="evenodd" d="M0 0H{width}V{height}H0Z'
            f'M{left:.1f} {top:.1f}H{right:.1f}V{bottom:.1f}H{left:.1f}Z">'
            "<title>the model did not see this part</title></path>"
        )

    def _names(self, wide: float, high: float) -> str:
        rows = [
            f'<text x="-5" y="{(n + 0.5) * high + 4:.1f}" text-anchor="end">{escape(name)}</text>'
            for n, name in enumerate(self.rows)
            if name and (high >= 11 or n % 2 == 0)
        ]
        skip = max(1, -(-max(map(len, self.columns)) * 8 // int(max(wide, 1))))
        columns = [
            f'<text x="{n * wide + 2:.1f}" y="{self.size[1] + 13}">{escape(name)}</text>'
            for n, name in enumerate(self.columns)
            if name and n % skip == 0
        ]
        return "".join(rows + columns)


def along(tokens: int, segments: int) -> Weights:
    """(T, P): both evenly along one line, by the length that they share."""
    edges = np.linspace(0, 1, tokens + 1)
    return spread(edges[:-1], edges[1:], segments)


def spread(starts: NDArray[np.float64], ends: NDArray[np.float64], segments: int) -> Weights:
    """(T,) shares of a line at which tokens start and end -> (T, P) of equal segments of it."""
    edges = np.linspace(0, 1, segments + 1)
    low = np.maximum(starts[:, None], edges[:-1])
    high = np.minimum(ends[:, None], edges[1:])
    return normalised(np.clip(high - low, 0, None))


def normalised(shares: Weights) -> Weights:
    """Rows that sum to 1; those of zeros are alike everywhere."""
    total = shares.sum(axis=1, keepdims=True)
    even = np.full_like(shares, 1 / max(1, shares.shape[1]))
    return np.where(total > 0, shares / np.where(total > 0, total, 1), even)


def magnitudes(weights: Weights) -> Weights:
    """(P,) 0 to 1, as shares of the heaviest."""
    size = np.abs(weights)
    return size / max(float(size.max(initial=0)), 1e-12)


def tone(weight: float) -> str:
    """The class of a weight's colour."""
    return "for" if weight >= 0 else "against"


SEGMENTS_STYLE = """
.store { position: absolute; }
.grid { display: block; width: 100%; height: auto; }
.faint use { filter: grayscale(1); opacity: .55; }
.grid text { font: 12px system-ui, sans-serif; fill: var(--soft); }
.line { fill: none; stroke: var(--ink); stroke-width: 1; opacity: .8; }
.unseen { fill: #000; fill-opacity: .6; }
rect.for { fill: var(--for); } rect.against { fill: var(--against); }
.words { margin: 0; padding: .3rem 0; font-size: 1.1rem; line-height: 1.9;
  overflow-wrap: anywhere; }
mark { color: inherit; padding: .12em .14em; border-radius: .25em; }
mark.for { background: color-mix(in srgb, var(--for) var(--how), transparent); }
mark.against { background: color-mix(in srgb, var(--against) var(--how), transparent); }
.values { width: 100%; border-collapse: collapse; font-size: .92rem;
  font-variant-numeric: tabular-nums; }
.values th { text-align: left; font-weight: 600; } .values td, .values th { padding: .22rem .4rem; }
.values td:last-child { text-align: right; }
.bar { width: 40%; } .bar i { display: block; height: .8em; border-radius: .2em; min-width: 1px; }
.bar i.for { background: var(--for); } .bar i.against { background: var(--against); }
"""
