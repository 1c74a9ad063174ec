"""A comparison in words: its lines as rows of text, its findings as sentences."""

from __future__ import annotations

from collections.abc import Iterator

from plait.comparison.classical import NAME as CLASSICAL
from plait.comparison.results import LOOKS, Comparison, Finding, Line
from plait.render.numbers import counted, number

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
        d = finding.difference
        better = "better than" if d.mean > 0 else "worse than" if d.mean < 0 else "as good as"
        best = "the best single input, " if finding.about == "fusion" else ""
        noise = "" if d.real else ", which may be noise"
        if noise and not d.interval[0] <= 0 <= d.interval[1]:
            corrected = f"{d.adjusted:.2g} after correction for {differences} differences"
            noise += f": p {d.p:.2g}, {corrected}"
        yield (
            f"{_verdict(finding)}: {finding.first} is {better} {best}{finding.second} "
            f"({signed(d.mean)}, 95 % interval {' to '.join(map(signed, d.interval))}){noise}."
        )


def _verdict(finding: Finding) -> str:
    part = finding.about.removeprefix(LOOKS)
    of_part = OF_INPUT if part == finding.about else OF_LOOKS
    helps, hurts, noise = VERDICTS.get(finding.about, of_part)
    real, better = finding.difference.real, finding.difference.mean > 0
    return (noise if not real else helps if better else hurts).format(part)


def markdown(comparison: Comparison) -> str:
    """The table and the sentences, as a page."""
    table = [
        f"| {' | '.join(HEADINGS)} |",
        f"|{'---|' * len(HEADINGS)}",
        *(f"| {' | '.join(row)} |" for row in table_rows(comparison)),
    ]
    said = [f"- {sentence}" for sentence in sentences(comparison)]
    return "\n".join([f"# {heading(comparison)}", "", *table, "", *said, ""])
