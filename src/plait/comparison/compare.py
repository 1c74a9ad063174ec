"""Compare ways to learn from a table: run all, weigh the differences, keep the winner."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from plait.comparison.classical import NAME as CLASSICAL
from plait.comparison.classical import classical_recipe
from plait.comparison.report import draw_comparison, markdown
from plait.comparison.results import Comparison, Result
from plait.comparison.runs import Job, finished, run
from plait.comparison.variants import Variant, make_variants
from plait.comparison.weigh import weigh
from plait.config.recipe import Recipe, load_recipe
from plait.data.cells import OnBad
from plait.data.tables import table_digest
from plait.model import load_model
from plait.package.format import check_target
from plait.pipeline.columns import split_column
from plait.pipeline.engine import build_output, build_parts
from plait.pipeline.records import COMPARED, file_keys, open_table, split_table
from plait.render.numbers import number
from plait.render.progress import Progress
from plait.training.sources import source_digests
from plait.types import ColumnName, UsageError
from plait.util.arguments import checked
from plait.util.files import digest, make_folder, write_atomically
from plait.util.suggest import did_you_mean

OnRun = Callable[[str], None]
"""Called after each run with a line about its outcome."""


@dataclass(frozen=True)
class Plan:
    """What a comparison tries, and how: the settings of `compare`, which says what they mean."""

    fusions: Sequence[str] = ()
    representations: Mapping[str, Any] | None = None
    rows: Sequence[int] = ()
    output: str | None = None
    seeds: int = 3
    budget: float | None = None
    split: str = "val"
    test: bool = False
    keep: str | Path | None = None
    overrides: Iterable[str] = ()
    columns: Mapping[str, ColumnName] | None = None
    on_bad: OnBad | None = None

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise UsageError(f"{self.seeds} seeds", expected="at least 1")
        if self.keep is not None:
            check_target(Path(self.keep).absolute())


@checked
def compare(
    recipe: Recipe | str | Path | Mapping[str, Any],
    table: Any,
    out: str | Path,
    *,
    progress: Progress | None = None,
    on_run: OnRun | None = None,
    **settings: Any,
) -> Comparison:
    """Train a recipe's variants on a table, and find out which differences are real.

    Each input alone and the classical baseline are always among them. Every run has its own
    process, and its result is kept in ``out``: called again, only what is missing is run.

    Args:
        recipe: as for `train`.
        table: as for `train`.
        out: the comparison's folder.
        progress: called before every run.
        on_run: called after every run with a line about its outcome.

    Keyword Args:
        fusions (Sequence[str]): to try, such as ``early.gated``, ``late`` or ``all``.
        representations (Mapping[str, Any]): to try, by input: ``all``, or names and settings.
        rows (Sequence[int]): numbers of training rows to learn from, besides all of them.
        output (str): whose answers are scored and choose the winner; the recipe's first by default.
            Runs answer all outputs: called again for another one, nothing is trained.
        seeds (int): how many seeds, from the recipe's own on; 3 by default.
        budget (float): seconds; no limit by default. Every variant gets a first seed before any
            gets a second; variants that don't finish in time are listed, and the same call
            continues them.
        split (str): the rows to answer, which choose the winner; ``val`` by default.
        test (bool): also score the winner, the single inputs, the baseline and the variants of all
            findings on the test rows. Do so once, when nothing will change any more.
        keep (str | Path): a folder for the winner's package, from its best seed.
        overrides (Iterable[str]): as for `train`, like ``columns`` and ``on_bad``.

    Returns:
        A `Comparison`: ``lines``, every variant's score with its interval, the ``winner`` first;
        ``findings``, whether the differences are real; the same on the ``test`` rows, if asked for;
        ``unfinished`` and ``left_out``, what was not tried; the ``folder`` with it all as a page.

    Raises:
        PlaitError: no run could be finished.
        UsageError: the table has none of the asked rows, a setting is wrong, or the recipe has
            ``training.start``.

    Examples:
        >>> found = plait.compare("sentiment", "posts.csv", "comparison", fusions=["all"])
        >>> found.winner, found.lines[0].score, found.lines[0].interval
        ('early.concat', 0.71, (0.66, 0.75))
    """
    plan = checked(Plan)(**settings)
    study = _Study(recipe, table, Path(out).absolute(), plan, progress, on_run)
    numbers, left_out = fewer_rows(plan.rows, len(study.splits["train"]), study.recipe.data.rows)
    variants = make_variants(study.recipe, plan.fusions, plan.representations, numbers)
    try:
        baseline = classical_recipe(study.recipe, study.output)
        variants = [Variant(CLASSICAL, CLASSICAL, "", baseline), *variants]
    except UsageError as error:
        left_out.append(f"the classical baseline, as {error.what}")
    result = replace(study.run(variants), left_out=left_out)
    if plan.test:
        result = replace(result, test=study.run_on_test(variants, result))
    if plan.keep is not None:
        result = replace(result, kept=study.keep(variants, result, Path(plan.keep).absolute()))
    write_atomically(study.out / "compare.json", json.dumps(result.to_json(), indent=1))
    write_atomically(study.out / "compare.md", markdown(result))
    draw_comparison(result, study.out / "compare.png")
    return result


def fewer_rows(
    rows: Iterable[int], available: int, learned: int | None
) -> tuple[list[int], list[str]]:
    """The numbers of training rows that are worth a variant, and why the others are not.

    Args:
        rows: the numbers that were asked for.
        available: how many training rows the table has.
        learned: how many of them the recipe learns from; None for all.
    """
    full = min(learned or available, available)
    why = {
        number: f"{number:,} rows, as the table has {available:,} training rows"
        if number > available
        else f"{number:,} rows, as every variant learns from that many"
        for number in sorted(set(rows))
        if number > available or number == full
    }
    return [number for number in rows if number not in why], list(why.values())


class _Study:
    """A comparison under way: the table's records and splits, decided once by the recipe as it was
    given, and the runs of each variant."""

    def __init__(
        self, recipe: Recipe | str | Path | Mapping[str, Any], table: Any, out: Path, plan: Plan,
        progress: Progress | None, on_run: OnRun | None,
    ) -> None:  # fmt: skip
        self.out, self.plan, self.progress, self.on_run = out, plan, progress, on_run
        if not isinstance(recipe, Recipe):
            recipe = load_recipe(recipe, plan.overrides)
        if recipe.training.start:
            raise UsageError(
                "training.start: the runs of a comparison can't start from trained models, which "
                "may have learned from the rows that it scores",
                expected="a recipe without training.start",
                hint="leave it out; or train with it, and score the model with plait evaluate, "
                "which leaves out what it has learned from",
            )
        # The rows that variants are compared on must not be learned from.
        training = recipe.training.model_copy(update={"refit": False})
        recipe = recipe.with_columns(plan.columns or {}).model_copy(update={"training": training})
        self.output = next(iter(recipe.outputs)) if plan.output is None else plan.output
        if self.output not in recipe.outputs:
            raise UsageError(
                f"--output: there is no output {self.output!r}",
                expected=f"one of: {', '.join(recipe.outputs)}",
                hint=did_you_mean(self.output, recipe.outputs),
            )
        self.scored = build_output(recipe.outputs[self.output])
        parts = build_parts(recipe)
        opened, columns = open_table(recipe, parts, table)
        self.recipe = recipe.with_columns(columns)
        # None where the table has no split column: the comparison splits the rows itself.
        self.split_column = split_column(recipe, opened)
        self.splits = split_table(recipe, parts, opened, columns)
        if not self.splits.get(plan.split):
            raise UsageError(
                f"{opened.path} has no {plan.split} rows", expected="train, val or test"
            )
        if plan.test and not self.splits["test"]:
            raise UsageError("the table has no test rows", hint="leave out --test")
        names: list[str | None] = [None] * len(opened)
        for name, rows in self.splits.items():
            for row in rows:
                names[row] = name
        self.table = replace(opened, columns={**opened.columns, COMPARED: names})
        files = file_keys(parts, opened, columns)
        sources = source_digests(self.recipe, parts)
        self.digest = digest(table_digest(self.table), json.dumps(files), *sources)
        self.on_bad = plan.on_bad or recipe.data.on_bad
        make_folder(out)

    def seeds(self, variant: Variant) -> range:
        """A variant's seeds; the baseline has one, as it draws nothing at random."""
        first = self.recipe.seed
        return range(first, first + (1 if variant.role == CLASSICAL else self.plan.seeds))

    def job(self, variant: Variant, seed: int, split: str) -> Job:
        """A variant's run."""
        data = variant.recipe.data.model_copy(update={"split": COMPARED})
        return Job(
            recipe=variant.recipe.model_copy(update={"seed": seed, "data": data}),
            table=self.table,
            digest=self.digest,
            split=split,
            on_bad=self.on_bad,
            variant_folder=self.out / "runs" / variant.name.replace(" ", "_"),
        )

    def run(self, variants: Sequence[Variant]) -> Comparison:
        """Run every variant with its first seed, then with the next; weigh what is finished."""
        split = self.plan.split
        todo = [(variant, seed) for variant in variants for seed in self.seeds(variant)]
        todo.sort(key=lambda item: item[1])  # stable: the variants keep their order
        jobs = {_title(variant, seed): self.job(variant, seed, split) for variant, seed in todo}
        unfinished = self._run_missing(jobs, self.plan.budget)
        return replace(self._weigh(variants, split), unfinished=unfinished)

    def run_on_test(self, variants: Sequence[Variant], chosen: Comparison) -> Comparison:
        """The same questions on the test rows, which choose nothing, and the scores of the winner
        and of every single input."""
        named = {chosen.winner}.union(*((f.first, f.second) for f in chosen.findings))
        asked = [v for v in variants if v.name in named or v.role in {"alone", CLASSICAL}]
        jobs = {
            f"{_title(variant, seed)}, on test rows": self.job(variant, seed, "test")
            for variant in asked
            for seed, result in self._results(variant, self.plan.split).items()
            if not result.failed
        }
        self._run_missing(jobs, None)
        return self._weigh(asked, "test", chosen)

    def keep(self, variants: Iterable[Variant], found: Comparison, target: Path) -> dict[str, int]:
        """Save the winner's package, from the seed that scored best; returns how many records its
        memory holds. Its recipe names the table's split column. Where there is none it names the
        comparison's, so that no split of the table is ever scored: with another seed or fewer
        inputs, the rows would be split differently."""
        winner = next(variant for variant in variants if variant.name == found.winner)
        scores = found.line(winner.name).each
        seed = max(scores, key=lambda seed: scores[seed])
        model = load_model(self.job(winner, seed, self.plan.split).package)
        if self.split_column is not None:
            data = model.recipe.data.model_copy(update={"split": self.split_column})
            model.recipe = model.recipe.model_copy(update={"data": data})
        model.save(target, weights=model.recipe.training.weights)
        return {name: len(records) for name, records in vars(model.memory).items()}

    def _results(self, variant: Variant, split: str) -> dict[int, Result]:
        """Seed -> result of a variant's finished runs."""
        results = ((seed, finished(self.job(variant, seed, split))) for seed in self.seeds(variant))
        return {seed: result for seed, result in results if result is not None}

    def _weigh(
        self, variants: Sequence[Variant], split: str, chosen: Comparison | None = None
    ) -> Comparison:
        results = {variant.name: self._results(variant, split) for variant in variants}
        output = self.output, self.scored
        return weigh(self.recipe, variants, results, output, split, self.out, chosen)

    def _run_missing(self, jobs: Mapping[str, Job], budget: float | None) -> list[str]:
        """Run the jobs that were not run before, or failed; returns those there was no time for."""
        end = None if budget is None else time.monotonic() + budget
        unfinished = []
        for at, (name, job) in enumerate(jobs.items(), start=1):
            if self.progress:
                self.progress(f"run: {name}", at - 1, len(jobs))
            begun = time.monotonic()
            left = None if end is None else end - begun
            result, took = finished(job), "finished before"
            if result is None or result.failed:
                result = None if left is not None and left <= 0 else run(job, left)
                took = f"{time.monotonic() - begun:.0f} s"
            if result is None:
                unfinished.append(name)
            if self.on_run:
                self.on_run(f"{at}/{len(jobs)} {name}: {self._outcome(result)}, {took}")
        return unfinished

    def _outcome(self, result: Result | None) -> str:
        """A run's score on everything that it answered, or why it has none."""
        if result is None:
            return "not finished"
        if result.failed:
            return f"failed: {result.failed.splitlines()[0]}"
        if not result.predictions.get(self.output):
            return "no score"
        scorer = self.scored.scorer(result.predictions[self.output], result.references[self.output])
        return number(scorer(np.arange(len(result.rows)))[self.scored.scored_by.best_metrics[0]])


def _title(variant: Variant, seed: int) -> str:
    return CLASSICAL if variant.role == CLASSICAL else f"{variant.name}, seed {seed}"
