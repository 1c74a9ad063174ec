"""A comparison in words: its lines as rows of text, its findings as sentences."""

from __future__ import annotations

from collections.abc import Iterator

from plait.comparison.classical import NAME as CLASSICAL
from plait.comparison.found import LOOKS, Comparison, Finding, Line
from plait.comparison.statistics import Difference
from plait.package.card import number

HEADINGS = (
    "variant",
    "score",
    "95 %",
    "records",
    "to best",
    "weights",
    "training",
    "answer",
    "MiB",
)
LESS_NEEDED = ("MiB", "answer", "weights", "training", "records")
"""Headings of what a narrow terminal can do without, the first of them first."""

UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def table_rows(found: Comparison) -> list[tuple[str, ...]]:
    """Every line of the comparison, under `HEADINGS`."""
    return [_row(line) for line in found.lines]


def _row(line: Line) -> tuple[str, ...]:
    if line.score is None or line.interval is None:
        return (line.name, "none", *[""] * (len(HEADINGS) - 2))
    return (
        line.name,
        number(line.score),
        "–".join(map(number, line.interval)),
        f"{line.records:,}",
        "" if line.behind is None else _behind(line.behind),
        _short(line.trained),
        f"{line.seconds:,.1f} s",
        "" if line.milliseconds is None else f"{line.milliseconds:.0f} ms",
        f"{line.memory:,.0f}",
    )


def _behind(difference: Difference) -> str:
    return signed(difference.mean) + ("" if difference.real else "?")


def signed(value: float) -> str:
    """A difference as people are shown it, as many digits as a score has."""
    return f"+{number(value)}" if value >= 0 else number(value)


def _short(count: float) -> str:
    """12,345 as 12k."""
    for size, unit in UNITS:
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)


def heading(found: Comparison) -> str:
    """Which score of which output, on which rows."""
    return f"{found.title} of {found.output}, on {found.split}"


def sentences(found: Comparison) -> list[str]:
    """What was found, a sentence each."""
    best = found.line(found.winner)
    said = [
        f"Of what was trained, {best.name} is best on {found.split}: {found.title} "
        f"{_score(best)}, {_seeds(best)}, {best.records:,} records."
    ]
    if found.others:
        were = "was" if len(found.others) == 1 else "were"
        said.append(
            f"Scored by {found.output} alone; {' and '.join(found.others)} {were} not looked at "
            f"({', '.join(f'--output {name}' for name in found.others)})."
        )
    if any(line.behind is not None and not line.behind.real for line in found.lines):
        said.append("A ? marks a distance to the best that may be noise.")
    said += list(_without_score(found))
    said += list(_of_fewer_records(found))
    said += _told(found)
    if len(best.seeds) == 1:
        said.append("One seed a variant: the intervals know nothing of other draws of the weights.")
    if found.test is not None:
        said += list(_of_test(found.test))
    said += [f"Left out: {variant}." for variant in found.left_out]
    if found.unfinished:
        said.append(
            f"Not finished in the time given: {', '.join(found.unfinished)}. "
            "The same command goes on with them."
        )
    return said


def _without_score(found: Comparison) -> Iterator[str]:
    for line in found.lines:
        if line.score is None:
            yield f"{line.name} has no score: {line.failed.splitlines()[0].rstrip('.')}."


def _of_fewer_records(found: Comparison) -> Iterator[str]:
    """Those whose scores are of other records than the best one's."""
    most = found.line(found.winner).records
    for line in found.lines:
        if line.score is not None and line.records < most:
            yield (
                f"{line.name} answered {line.records:,} of the {most:,} records: its score is of "
                "those, its distance to the best too, and it can't be the best."
            )


def _seeds(line: Line) -> str:
    return f"{len(line.seeds)} seeds" if len(line.seeds) > 1 else "1 seed"


def _score(line: Line) -> str:
    assert line.score is not None
    assert line.interval is not None
    low, high = map(number, line.interval)
    return f"{number(line.score)} ({low} to {high})"


def _of_test(test: Comparison) -> Iterator[str]:
    line = test.line(test.winner)
    if line.score is None:
        return
    yield f"On the test rows, which chose nothing, it has {test.title} {_score(line)}."
    for said in _told(test):
        yield f"There, {said[0].lower()}{said[1:]}"


def _told(found: Comparison) -> list[str]:
    """The findings; they and the distances to the best are corrected together."""
    behind = sum(line.behind is not None for line in found.lines)
    return [_sentence(finding, behind + len(found.findings)) for finding in found.findings]


def _sentence(finding: Finding, told: int) -> str:
    """What a finding says; ``told`` differences share one correction."""
    d = finding.difference
    better = "better than" if d.mean > 0 else "worse than" if d.mean < 0 else "as good as"
    second = finding.second
    if finding.about == "fusion":
        second = f"the best single input, {second}"
    low, high = map(signed, d.interval)
    size = f"{signed(d.mean)}, 95 % interval {low} to {high}"
    noise = "" if d.real else f", which may be noise{_corrected(d, told)}"
    return f"{_verdict(finding)}: {finding.first} is {better} {second} ({size}){noise}."


def _verdict(finding: Finding) -> str:
    if finding.about.startswith(LOOKS):
        part = finding.about.removeprefix(LOOKS)
        if not finding.difference.real:
            return f"The model is not shown to look at {part}"
        looks = finding.difference.mean > 0
        return f"The model {finding.about}" if looks else f"The model is misled by its {part}"
    subject, helps, hurts, to_help = {
        "fusion": ("Fusion", "helps", "hurts", "to help"),
        CLASSICAL: (
            "The network",
            "beats the classical baseline",
            "loses to the classical baseline",
            "to beat the classical baseline",
        ),
        "rows": ("Learning from more rows", "helps", "hurts", "to help"),
    }.get(finding.about, (finding.about, "earns its place", "does harm", "to earn its place"))
    if not finding.difference.real:
        return f"{subject} is not shown {to_help}"
    return f"{subject} {helps if finding.difference.mean > 0 else hurts}"


def _corrected(difference: Difference, told: int) -> str:
    """Why a difference whose own interval excludes 0 may be noise all the same."""
    low, high = difference.interval
    if low <= 0 <= high:
        return ""
    p, adjusted = difference.p, difference.adjusted
    return f": p {p:.2g}, {adjusted:.2g} after correction for {told} differences"


def markdown(found: Comparison) -> str:
    """The table and the sentences, as a page."""
    table = [
        f"| {' | '.join(HEADINGS)} |",
        f"|{'---|' * len(HEADINGS)}",
        *(f"| {' | '.join(row)} |" for row in table_rows(found)),
    ]
    said = [f"- {sentence}" for sentence in sentences(found)]
    return "\n".join([f"# {heading(found)}", "", *table, "", *said, ""])
