"""What the runs of a comparison are worth: scores on the same records, the winner, differences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise, permutations
from pathlib import Path
from statistics import mean
from typing import TypeAlias

import numpy as np

from plait.comparison.classical import NAME as CLASSICAL
from plait.comparison.results import LOOKS, Comparison, Finding, Line, Result
from plait.comparison.statistics import PairedBootstrap, Scored, adjust
from plait.comparison.variants import Variant
from plait.config.recipe import Recipe
from plait.outputs.base import Output
from plait.types import PlaitError

FULL = {"fused", "rows", CLASSICAL}  # roles that have every input
Results = Mapping[str, Mapping[int, Result]]
"""Variant -> seed -> the result of its run."""
Question: TypeAlias = tuple[str, str, str]
"""What a finding is about, the variant with it, and the one without."""


def weigh(
    recipe: Recipe,
    variants: Sequence[Variant],
    results: Results,
    output: tuple[str, Output],
    split: str,
    folder: Path,
    chosen: Comparison | None = None,
) -> Comparison:
    """Scores, intervals and differences of all finished runs.

    Args:
        recipe: what is compared; variants: what was tried; results: the finished runs.
        output: whose answers are scored: its name, and the output.
        split: the rows that were answered; folder: where everything is written.
        chosen: a comparison on other rows, which has chosen the winner and the questions.

    Raises:
        PlaitError: no run of a network was finished.
    """
    name, answering = output
    scored = _on_same_records(variants, {**results, **_swapped(recipe, results)}, name, answering)
    if not scored.keys() - {CLASSICAL}:
        failed = [r.failed for runs in results.values() for r in runs.values() if r.failed]
        raise PlaitError(
            ": ".join(["no run of the comparison was finished", *failed[:1]]),
            hint="" if failed else "give it a larger --budget",
        )
    metrics = answering.scored_by
    metric, limits = metrics.best_metrics[0], (metrics.lowest, metrics.highest)
    bootstrap = PairedBootstrap(scored, metric, seedless={CLASSICAL}, limits=limits)
    lines = [_line(v, results[v.name], scored.get(v.name, []), bootstrap) for v in variants]
    winner = chosen.winner if chosen else _winner(lines)
    lines = _in_order(lines, winner, bootstrap)
    if chosen:
        questions = [(finding.about, finding.first, finding.second) for finding in chosen.findings]
    else:
        questions = list(_questions(variants, lines, recipe, winner))
    findings = [
        Finding(about, first, second, difference)
        for about, first, second in questions
        if first != second and (difference := bootstrap.difference(first, second))
    ]
    # One correction for all the differences that are reported.
    behind = [line.behind for line in lines if line.behind]
    adjusted = iter(adjust([*behind, *(finding.difference for finding in findings)]))
    return Comparison(
        output=name,
        metric=metric,
        title=metrics.titles[metric],
        split=split,
        lines=[replace(line, behind=line.behind and next(adjusted)) for line in lines],
        winner=winner,
        findings=[replace(finding, difference=next(adjusted)) for finding in findings],
        others=[other for other in recipe.outputs if other != name],
        test=None,
        unfinished=[],
        left_out=[],
        folder=folder,
    )


def _swapped(recipe: Recipe, results: Results) -> Results:
    """The same runs with another record's input, of variants whose runs all have such answers."""
    return {
        with_another(variant, part): {
            seed: replace(run, predictions=run.swapped.get(part, {})) for seed, run in runs.items()
        }
        for variant, runs in results.items()
        for part in recipe.inputs
        if all(part in run.swapped or run.failed for run in runs.values())
    }


def with_another(variant: str, part: str) -> str:
    """The name of a variant that is given another record's input."""
    return f"{variant} with another record's {part}"


def _on_same_records(
    variants: Iterable[Variant], results: Results, name: str, output: Output
) -> dict[str, list[Scored]]:
    """Every variant's runs that answered the output, on the records that all variants with every
    input answered; variants without any such record are left out."""
    scored = {
        variant: [
            Scored(run.rows, output.scorer(run.predictions[name], run.references[name]))
            for run in runs.values()
            if name in run.predictions
        ]
        for variant, runs in results.items()
    }
    full = [set(run.records) for v in variants if v.role in FULL for run in scored[v.name]]
    every = {number for runs in scored.values() for run in runs for number in run.records}
    kept = set.intersection(*full) if full else every

    def cut(run: Scored) -> Scored:
        places = np.array([at for at, number in enumerate(run.records) if number in kept], np.int64)
        return Scored([run.records[at] for at in places], lambda rows: run.score(places[rows]))

    same = {variant: list(map(cut, runs)) for variant, runs in scored.items()}
    return {v: runs for v, runs in same.items() if runs and all(run.records for run in runs)}


def _line(
    variant: Variant, results: Mapping[int, Result], scored: Sequence[Scored],
    bootstrap: PairedBootstrap,
) -> Line:  # fmt: skip
    good = {seed: result for seed, result in results.items() if not result.failed}
    if not scored:
        failed = next((r.failed for r in results.values() if r.failed), "not finished")
        if good:
            failed = "it answered none of the records that all variants with every input answered"
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
        each={seed: scores[bootstrap.metric] for seed, scores in zip(good, each, strict=True)},
        scores={key: mean(scores[key] for scores in each) for key in each[0]},
        learned=round(mean(r.learned for r in runs)),
        parameters=runs[0].parameters,
        trained=runs[0].trained,
        seconds=mean(r.seconds for r in runs),
        milliseconds=mean(times) if times else None,
        memory=max(r.memory for r in runs),
    )  # fmt: skip


def _winner(lines: Iterable[Line]) -> str:
    """The best of those that answered the most records: a high score on a few easy ones is worth
    less."""
    trained = [line for line in lines if line.score is not None and line.role != CLASSICAL]
    return max(trained, key=lambda line: (line.records, line.score)).name


def _in_order(lines: Sequence[Line], winner: str, bootstrap: PairedBootstrap) -> list[Line]:
    """The winner, the others by their difference from it, those without one."""
    behind = {line.name: bootstrap.difference(line.name, winner) for line in lines} | {winner: None}

    def place(line: Line) -> float:
        return np.inf if line.name == winner else line.behind.mean if line.behind else -np.inf

    weighed = [replace(line, behind=behind[line.name]) for line in lines]
    return sorted(weighed, key=place, reverse=True)


def _questions(
    variants: Sequence[Variant], lines: Sequence[Line], recipe: Recipe, winner: str
) -> Iterator[Question]:
    """What fusion is worth, what each input is worth, whether the model looks at it, what a network
    is worth, what more rows are worth. Lines come best first."""
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
    # From each number of training records to the next, with the same fusion.
    learned = {line.name: line.learned for line in lines if line.score is not None}
    fewer = [v for v in variants if v.role == "rows"]
    names = [*(v.name for v in fewer), *(v.of for v in fewer)]  # of equal numbers, the last counts
    by_number = {learned[name]: name for name in names if name in learned}
    for (_, less), (_, more) in pairwise(sorted(by_number.items())):
        yield "rows", more, less
