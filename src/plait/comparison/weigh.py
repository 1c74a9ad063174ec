"""What the runs of a comparison are worth: scores of the same records, the best, differences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise, permutations
from pathlib import Path
from statistics import mean

import numpy as np

from plait.comparison.classical import NAME as CLASSICAL
from plait.comparison.found import LOOKS, Comparison, Finding, Line
from plait.comparison.runs import Result
from plait.comparison.statistics import Difference, PairedBootstrap, Scored, adjust
from plait.comparison.variants import Variant
from plait.config.recipe import Recipe
from plait.outputs.base import Output
from plait.types import PlaitError

WHOLE = {"fused", "rows", CLASSICAL}  # roles that have every input
Results = Mapping[str, Mapping[int, Result]]
"""Variant -> seed -> what its run found."""


def weigh(
    recipe: Recipe,
    variants: Sequence[Variant],
    results: Results,
    output: tuple[str, Output],
    split: str,
    folder: Path,
    chosen: Comparison | None = None,
) -> Comparison:
    """Scores, intervals and differences of all that is finished.

    Args:
        recipe: what is compared, with all of its inputs.
        output: whose answers are scored, and its name.
        split: the rows that were answered; folder: where everything lies; both to be told.
        chosen: the comparison on other rows that named the best and the pairs; by these if None.

    Raises:
        PlaitError: no run of a network was finished.
    """
    name, scorer = output
    metric = scorer.best_metrics[0]
    every = {**results, **_swapped(recipe, results)}
    scored = _of_same_records(variants, _scored(every, name, scorer))
    if not any(name != CLASSICAL for name in scored):
        raise _nothing(results)
    ends = scorer.lowest, scorer.highest
    bootstrap = PairedBootstrap(scored, metric, seedless={CLASSICAL}, ends=ends)
    lines = [_line(v, results[v.name], scored.get(v.name, []), metric, bootstrap) for v in variants]
    winner = chosen.winner if chosen else _best(lines)
    behind = _behind(lines, winner, bootstrap)
    lines = _in_order(lines, winner, behind)
    pairs = _asked(chosen) if chosen else _pairs(variants, lines, recipe, winner)
    behind, findings = _corrected(behind, list(_findings(pairs, bootstrap)))
    return Comparison(
        output=name,
        metric=metric,
        title=scorer.titles[metric],
        split=split,
        lines=[replace(line, behind=behind.get(line.name)) for line in lines],
        winner=winner,
        findings=findings,
        others=[other for other in recipe.outputs if other != name],
        test=None,
        unfinished=[],
        left_out=[],
        folder=folder,
    )


def _scored(results: Results, name: str, output: Output) -> dict[str, list[Scored]]:
    """The runs that answered the output, by variant."""
    return {
        variant: [
            Scored(run.rows, output.scorer(run.predictions[name], run.references[name]))
            for run in runs.values()
            if name in run.predictions
        ]
        for variant, runs in results.items()
    }


def _swapped(recipe: Recipe, results: Results) -> Results:
    """The same runs with another record's input, where all of a variant's have answered so."""
    return {
        with_another(variant, part): {
            seed: replace(run, predictions=run.swapped.get(part, {})) for seed, run in runs.items()
        }
        for variant, runs in results.items()
        for part in recipe.inputs
        if all(part in run.swapped or run.failed for run in runs.values())
    }


def with_another(variant: str, part: str) -> str:
    """What a variant is called whose input is another record's."""
    return f"{variant} with another record's {part}"


def _of_same_records(
    variants: Iterable[Variant], scored: Mapping[str, list[Scored]]
) -> dict[str, list[Scored]]:
    """The runs on the records that all with every input answered, so that those have the scores
    of the same records; variants without any such record are left out."""
    whole = [set(run.records) for v in variants if v.role in WHOLE for run in scored[v.name]]
    every = {number for runs in scored.values() for run in runs for number in run.records}
    kept = set.intersection(*whole) if whole else every
    found = {name: [_only(run, kept) for run in runs] for name, runs in scored.items()}
    return {name: runs for name, runs in found.items() if runs and all(r.records for r in runs)}


def _only(run: Scored, kept: set[int]) -> Scored:
    """A run's answers to these records."""
    places = np.array([at for at, number in enumerate(run.records) if number in kept], np.int64)
    return Scored([run.records[at] for at in places], lambda rows: run.score(places[rows]))


def _nothing(results: Results) -> PlaitError:
    failed = next((r.failed for runs in results.values() for r in runs.values() if r.failed), "")
    return PlaitError(
        "no run of the comparison was finished" + (f": {failed}" if failed else ""),
        hint="" if failed else "give it a larger --budget",
    )


def _line(
    variant: Variant, results: Mapping[int, Result], scored: Sequence[Scored], metric: str,
    bootstrap: PairedBootstrap,
) -> Line:  # fmt: skip
    good = {seed: result for seed, result in results.items() if not result.failed}
    if not scored:
        failed = next((r.failed for r in results.values() if r.failed), "not finished")
        if good:
            failed = "it answered no record that all with every input did"
        return Line(variant.name, variant.role, variant.about, [], failed=failed)
    each = [run.score(np.arange(len(run.records))) for run in scored]
    score, interval = bootstrap.mean(variant.name)
    runs = list(good.values())
    times = [r.milliseconds for r in runs if r.milliseconds is not None]
    return Line(
        variant.name, variant.role, variant.about,
        seeds=list(good),
        records=len(scored[0].records),
        score=score,
        interval=interval,
        each={seed: scores[metric] for seed, scores in zip(good, each, strict=True)},
        scores={key: mean(scores[key] for scores in each) for key in each[0]},
        learned=round(mean(r.learned for r in runs)),
        parameters=runs[0].parameters,
        trained=runs[0].trained,
        seconds=mean(r.seconds for r in runs),
        milliseconds=mean(times) if times else None,
        memory=max(r.memory for r in runs),
    )  # fmt: skip


def _best(lines: Iterable[Line]) -> str:
    """Of those that answered the most records: a score of few, easy ones is worth less."""
    trained = [line for line in lines if line.score is not None and line.role != CLASSICAL]
    return max(trained, key=lambda line: (line.records, line.score)).name


def _behind(
    lines: Iterable[Line], winner: str, bootstrap: PairedBootstrap
) -> dict[str, Difference]:
    """How far each is from the best, on the records that both answered."""
    others = [line.name for line in lines if line.name != winner]
    found = {name: bootstrap.difference(name, winner) for name in others}
    return {name: difference for name, difference in found.items() if difference is not None}


def _in_order(lines: Iterable[Line], winner: str, behind: Mapping[str, Difference]) -> list[Line]:
    """The best first, the others by their distance to it; at last those without one."""

    def place(line: Line) -> tuple[bool, bool, float]:
        known = behind.get(line.name)
        return line.name == winner, known is not None, known.mean if known else 0.0

    return sorted(lines, key=place, reverse=True)


def _asked(chosen: Comparison) -> Iterator[tuple[str, str, str]]:
    """The pairs of a comparison, as `_pairs` gives them."""
    return ((finding.about, finding.first, finding.second) for finding in chosen.findings)


def _pairs(
    variants: Sequence[Variant], lines: Sequence[Line], recipe: Recipe, winner: str
) -> Iterator[tuple[str, str, str]]:
    """(what is asked, the variant with it, the one without): what fusion is worth, what each input
    is worth, whether it is looked at, what a network is worth, what more rows are. Lines come best
    first."""
    best: dict[tuple[str, str], str] = {}
    for line in lines:
        best.setdefault((line.role, line.about), line.name)
    fused = best.get(("fused", ""), "")
    alone = [name for (role, _), name in best.items() if role == "alone"]
    yield from (("fusion", fused, name) for name in alone[:1])
    if len(recipe.inputs) == 2:
        for about, other in permutations(recipe.inputs):
            yield about, fused, best.get(("alone", other), "")
    yield from ((v.about, v.of, v.name) for v in variants if v.role == "without")
    yield from ((f"{LOOKS}{name}", fused, with_another(fused, name)) for name in recipe.inputs)
    yield CLASSICAL, winner, CLASSICAL
    yield from _steps(variants, lines)


def _steps(variants: Iterable[Variant], lines: Iterable[Line]) -> Iterator[tuple[str, str, str]]:
    """From each number of training records to the next, of the same fusion."""
    learned = {line.name: line.learned for line in lines if line.score is not None}
    rows = [v for v in variants if v.role == "rows"]
    names = [*(v.name for v in rows), *(v.of for v in rows)]  # of as many, the last one counts
    of_size = {learned[name]: name for name in names if name in learned}
    for (_, less), (_, more) in pairwise(sorted(of_size.items())):
        yield "rows", more, less


def _findings(
    pairs: Iterable[tuple[str, str, str]], bootstrap: PairedBootstrap
) -> Iterator[Finding]:
    """The differences of pairs that have answers to the same records, both of them."""
    for about, first, second in pairs:
        difference = bootstrap.difference(first, second)
        if difference is not None and first != second:
            yield Finding(about, first, second, difference)


def _corrected(
    behind: Mapping[str, Difference], findings: Sequence[Finding]
) -> tuple[dict[str, Difference], list[Finding]]:
    """With one correction for all differences that are told."""
    told = [*behind.values(), *(finding.difference for finding in findings)]
    adjusted = iter(adjust(told))
    return (
        {name: next(adjusted) for name in behind},
        [replace(finding, difference=next(adjusted)) for finding in findings],
    )
