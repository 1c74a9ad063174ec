"""A comparison in words and as a picture: rows of text, sentences, and the scores with their
intervals and against their cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.comparison.classical import NAME as CLASSICAL
from plait.comparison.results import LOOKS, Comparison, Line
from plait.render.curves import CHARTS, LOSS_COLOUR, SCORE_COLOURS, new_figure, tidy
from plait.render.numbers import counted, number
from plait.util.files import write_atomically
from plait.util.imports import can_make, needed

HEADINGS = (
    "variant", "score", "95 %", "records", "vs best", "weights", "training", "latency", "MiB",
)  # fmt: skip
LESS_NEEDED = ("MiB", "latency", "weights", "training", "records")
"""Headings that a narrow terminal can do without, the least needed first."""

UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))

VERDICTS = {
    "fusion": ("Fusion helps", "Fusion hurts", "Fusion is not shown to help"),
    "rows": (
        "Learning from more rows helps",
        "Learning from more rows hurts",
        "Learning from more rows is not shown to help",
    ),
    CLASSICAL: (
        "The network beats the classical baseline",
        "The network loses to the classical baseline",
        "The network is not shown to beat the classical baseline",
    ),
}
"""What a finding is about -> what to say of a real gain, of a real loss, and of noise."""
OF_LOOKS = (
    "The model looks at {}",
    "The model is misled by its {}",
    "The model is not shown to look at {}",
)
OF_INPUT = ("{} earns its place", "{} does harm", "{} is not shown to earn its place")

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


def table_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Every line of the comparison, below `HEADINGS`."""
    return [_row(line) for line in comparison.lines]


def _row(line: Line) -> tuple[str, ...]:
    if line.score is None or line.interval is None:
        return (line.name, "none", *[""] * (len(HEADINGS) - 2))
    behind = line.behind
    unit, suffix = next(((u, s) for u, s in UNITS if line.trained >= u), (1, ""))
    return (
        line.name,
        number(line.score),
        "–".join(map(number, line.interval)),
        f"{line.records:,}",
        "" if behind is None else signed(behind.mean) + ("" if behind.real else "?"),
        f"{line.trained / unit:.3g}{suffix}" if suffix else str(line.trained),
        f"{line.seconds:,.1f} s",
        "" if line.milliseconds is None else f"{line.milliseconds:.0f} ms",
        f"{line.memory:,.0f}",
    )


def signed(value: float) -> str:
    """A difference with its sign, and as many digits as a score has."""
    return f"+{number(value)}" if value >= 0 else number(value)


def heading(comparison: Comparison) -> str:
    """Which score of which output, on which rows."""
    return f"{comparison.title} of {comparison.output}, on {comparison.split}"


def sentences(comparison: Comparison) -> list[str]:
    """The findings, and what to know about them, one sentence each."""
    best, others = comparison.line(comparison.winner), comparison.others
    seeds = f"{len(best.seeds)} seeds" if len(best.seeds) > 1 else "1 seed"
    said = [
        f"Of the trained variants, {best.name} is best on {comparison.split}: {comparison.title} "
        f"{_score(best)}, {seeds}, {best.records:,} records."
    ]
    if others:
        options = ", ".join(f"--output {name}" for name in others)
        was = "was" if len(others) == 1 else "were"
        said.append(
            f"Only {comparison.output} was scored; {' and '.join(others)} {was} not ({options})."
        )
    if any(line.behind is not None and not line.behind.real for line in comparison.lines):
        said.append("A ? marks a difference from the best that may be noise.")
    for line in comparison.lines:
        if line.score is None:
            said.append(f"{line.name} has no score: {line.failed.splitlines()[0].rstrip('.')}.")
    for line in comparison.lines:
        if line.score is not None and line.records < best.records:
            said.append(
                f"{line.name} answered {line.records:,} of the {best.records:,} records: its score "
                "and its difference from the best are of those alone, and it can't be the best."
            )
    said += _findings(comparison)
    if len(best.seeds) == 1:
        said.append("With one seed, the intervals leave out the chance of other initial weights.")
    test = comparison.test
    if test is not None and test.line(test.winner).score is not None:
        said.append(
            f"On the test rows, which had no part in the choice, its {test.title} is "
            f"{_score(test.line(test.winner))}."
        )
        said += [f"There, {sentence[0].lower()}{sentence[1:]}" for sentence in _findings(test)]
    if comparison.kept:
        learned, chosen = comparison.kept["training"], comparison.kept["validation"]
        said.append(
            f"The kept package learned from {counted(learned, 'record')} and was chosen by "
            f"{chosen:,}; plait evaluate leaves them out."
        )
    said += [f"Left out: {variant}." for variant in comparison.left_out]
    if comparison.unfinished:
        said.append(
            f"Not finished within the budget: {', '.join(comparison.unfinished)}. "
            "Run the same command again to continue."
        )
    return said


def _score(line: Line) -> str:
    assert line.score is not None
    assert line.interval is not None
    low, high = map(number, line.interval)
    return f"{number(line.score)} ({low} to {high})"


def _findings(comparison: Comparison) -> Iterator[str]:
    """A sentence for each finding."""
    # The differences from the best share their correction.
    differences = len(comparison.findings) + sum(
        line.behind is not None for line in comparison.lines
    )
    for finding in comparison.findings:
        d, part = finding.difference, finding.about.removeprefix(LOOKS)
        of_part = OF_INPUT if part == finding.about else OF_LOOKS
        helps, hurts, unclear = VERDICTS.get(finding.about, of_part)
        verdict = unclear if not d.real else helps if d.mean > 0 else hurts
        better = "better than" if d.mean > 0 else "worse than" if d.mean < 0 else "as good as"
        best = "the best single input, " if finding.about == "fusion" else ""
        noise = "" if d.real else ", which may be noise"
        if noise and not d.interval[0] <= 0 <= d.interval[1]:
            corrected = f"{d.adjusted:.2g} after correction for {differences} differences"
            noise += f": p {d.p:.2g}, {corrected}"
        yield (
            f"{verdict.format(part)}: {finding.first} is {better} {best}{finding.second} "
            f"({signed(d.mean)}, 95 % interval {' to '.join(map(signed, d.interval))}){noise}."
        )


def markdown(comparison: Comparison) -> str:
    """The table and the sentences, as a page."""
    table = [
        f"| {' | '.join(HEADINGS)} |",
        f"|{'---|' * len(HEADINGS)}",
        *(f"| {' | '.join(row)} |" for row in table_rows(comparison)),
    ]
    said = [f"- {sentence}" for sentence in sentences(comparison)]
    return "\n".join([f"# {heading(comparison)}", "", *table, "", *said, ""])


def draw_comparison(comparison: Comparison, picture: Path) -> None:
    """Draw a PNG: on the left the scores with their 95 % intervals, the best on top; on the right
    the scores against the seconds of training, numbered as on the left. Without matplotlib nothing
    is drawn. Raises PlaitError if the picture can't be written."""
    if not can_make(picture.name, "matplotlib", CHARTS):
        return
    lines = [line for line in comparison.lines if line.score is not None]
    figure = new_figure(11.0, 1.6 + 0.36 * len(lines))
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.25, 1]})
    _scores(left, lines, heading(comparison))
    _cost(right, lines, comparison.title)
    write_atomically(picture, lambda part: figure.savefig(part, format="png"))


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
