"""Compare ways to learn from a table: run all, weigh the differences, keep the winner."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from plait.comparison.classical import NAME as CLASSICAL
from plait.comparison.found import Comparison, Line
from plait.comparison.picture import draw_comparison
from plait.comparison.report import markdown
from plait.comparison.runs import Job, Result, finished, run
from plait.comparison.variants import Variant, make_variants
from plait.comparison.weigh import weigh
from plait.config.recipe import Recipe, load_recipe
from plait.data.cells import OnBad
from plait.data.tables import Table
from plait.model import load_model
from plait.package.card import number
from plait.package.format import check_target
from plait.pipeline.columns import split_column
from plait.pipeline.inputs import Progress
from plait.pipeline.parts import build_output, build_parts
from plait.pipeline.records import COMPARED, open_table, split_table
from plait.training.train import table_digest
from plait.types import ColumnName, UsageError
from plait.util.files import make_folder, write_atomically
from plait.util.suggest import did_you_mean

OnRun = Callable[[str], None]
"""Called after a run, with a line of what came of it."""


def compare(
    recipe: Recipe | str,
    table: Table | str | Path,
    out: str | Path,
    *,
    fusions: Sequence[str] = (),
    representations: Mapping[str, Any] | None = None,
    rows: Sequence[int] = (),
    output: str | None = None,
    seeds: int = 3,
    budget: float | None = None,
    split: str = "val",
    test: bool = False,
    keep: str | Path | None = None,
    overrides: Iterable[str] = (),
    columns: Mapping[str, ColumnName] | None = None,
    on_bad: OnBad | None = None,
    progress: Progress | None = None,
    on_run: OnRun | None = None,
) -> Comparison:
    """Train a recipe's variants on a table, and tell which differences are real.

    Always among them: each input alone, and the classical baseline. Every run has a process of
    its own, and its result is kept in ``out``: called again, only what is missing is run.

    Args:
        recipe: a recipe, a shipped recipe's name or a YAML file.
        table: a table, or what `read_table` takes.
        out: the comparison's folder.
        fusions, representations, rows: what to try, see `make_variants`.
        output: whose answers are scored and choose the winner; the recipe's first if None. Runs
            answer all outputs: called again for another one, it only weighs anew.
        seeds: how many, from the recipe's own on.
        budget: seconds; None is no limit. All variants get a first seed before any gets a second;
            what is not finished in time is named, and can go on later.
        split: the rows that answers are scored on, and the winner chosen by.
        test: score the winner, the single inputs, the baseline and whatever a finding is of on
            the test rows too. Do so once, when nothing will be changed any more.
        keep: a folder for the winner's package, of its best seed.
        overrides, columns, on_bad: see `train`.
        progress: called before every run.
        on_run: called after every run, with a line of what came of it.

    Raises:
        PlaitError: no run could be finished.
    """
    checked = load_recipe(recipe, overrides) if isinstance(recipe, str) else recipe
    if keep is not None:
        check_target(Path(keep).absolute())
    if seeds < 1:
        raise UsageError(f"{seeds} seeds", expected="1 at least")
    # The rows that variants are compared on must not be learned from.
    training = checked.training.model_copy(update={"refit": False})
    checked = checked.with_columns(columns or {}).model_copy(update={"training": training})
    scored = _output(checked, output)
    plan = _Plan(checked, table, Path(out).absolute(), split, on_bad, seeds, scored)
    if test and not plan.has("test"):
        raise UsageError("the table has no test rows", hint="leave --test out")
    numbers, left_out = _fewer(rows, len(plan.rows["train"]), plan.recipe.data.rows)
    variants = make_variants(plan.recipe, fusions, representations, numbers)
    if build_output(plan.recipe.outputs[scored]).linear:
        variants = [Variant(CLASSICAL, CLASSICAL, "", plan.recipe), *variants]
    else:
        left_out.append("the classical baseline, as no linear model gives such answers")
    unfinished = _run_all(plan, variants, budget, progress, on_run)
    found = replace(plan.weigh(variants, split), unfinished=unfinished, left_out=left_out)
    if test:
        found = replace(found, test=_on_test(plan, variants, found, progress, on_run))
    _write(found)
    if keep is not None:
        winner = next(variant for variant in variants if variant.name == found.winner)
        _keep(plan, winner, found.line(winner.name), Path(keep).absolute())
    return found


def _output(recipe: Recipe, name: str | None) -> str:
    """The output that is scored."""
    if name is None:
        return next(iter(recipe.outputs))
    if name not in recipe.outputs:
        raise UsageError(
            f"--output: there is no output {name!r}",
            expected=f"one of: {', '.join(recipe.outputs)}",
            hint=did_you_mean(name, recipe.outputs),
        )
    return name


def _fewer(rows: Iterable[int], there: int, most: int | None) -> tuple[list[int], list[str]]:
    """The numbers of training rows that are worth a variant; and why the others are not.

    Args:
        rows: as they were asked for.
        there: how many the table has.
        most: of them that the recipe learns from; None for all.
    """
    whole = min(most or there, there)
    why = {
        number: f"{number:,} rows, as there are {there:,} to learn from"
        if number > there
        else f"{number:,} rows, as all variants learn from as many"
        for number in sorted(set(rows))
        if number > there or number == whole
    }
    return [number for number in rows if number not in why], list(why.values())


def _write(found: Comparison) -> None:
    """As JSON, as a page and as a picture."""
    content, page = json.dumps(found.to_json(), indent=1), markdown(found)
    write_atomically(found.folder / "compare.json", lambda part: part.write_text(content, "utf-8"))
    write_atomically(found.folder / "compare.md", lambda part: part.write_text(page, "utf-8"))
    draw_comparison(found, found.folder / "compare.png")


class _Plan:
    """The table's records and their splits, decided once, from the recipe as it was given; and the
    runs of each variant, finished or to do."""

    def __init__(
        self, recipe: Recipe, table: Table | str | Path, out: Path, split: str,
        on_bad: OnBad | None, seeds: int, output: str,
    ) -> None:  # fmt: skip
        self.parts = build_parts(recipe)
        opened, columns = open_table(recipe, self.parts, table)
        self.recipe = recipe.with_columns(columns)
        # None where there is no such column: the splits are the comparison's own.
        self.column = split_column(recipe, opened)
        self.rows = split_table(recipe, self.parts, opened, columns)
        if not self.rows.get(split):
            raise UsageError(f"{opened.path} has no {split} rows", expected="train, val or test")
        self.table = _with_splits(opened, self.rows)
        self.digest = table_digest(self.table)
        self.seeds, self.out, self.split, self.output = seeds, out, split, output
        self.on_bad = on_bad or recipe.data.on_bad
        make_folder(out)

    def has(self, split: str) -> bool:
        """Whether there are such rows."""
        return bool(self.rows[split])

    def seeds_of(self, variant: Variant) -> range:
        """A variant's seeds; the baseline has one, as nothing of it is drawn."""
        first = self.recipe.seed
        return range(first, first + (1 if variant.role == CLASSICAL else self.seeds))

    def job(self, variant: Variant, seed: int, split: str) -> Job:
        """A variant's run."""
        recipe = variant.recipe
        data = recipe.data.model_copy(update={"split": COMPARED})
        return Job(
            recipe=recipe.model_copy(update={"seed": seed, "data": data}),
            table=self.table,
            digest=self.digest,
            split=split,
            on_bad=self.on_bad,
            place=self.out / "runs" / variant.name.replace(" ", "_"),
            classical=variant.role == CLASSICAL,
            trained=split != self.split,
        )

    def results(self, variant: Variant, split: str) -> dict[int, Result]:
        """Seed -> result of a variant's finished runs."""
        found = {s: finished(self.job(variant, s, split)) for s in self.seeds_of(variant)}
        return {seed: result for seed, result in found.items() if result is not None}

    def told(self, result: Result | None) -> str:
        """What came of a run, its score of all that it answered, in a word."""
        if result is None:
            return "not finished"
        if result.failed:
            return f"failed: {result.failed.splitlines()[0]}"
        if not result.predictions.get(self.output):
            return "no score"
        output = self.parts.outputs[self.output]
        scorer = output.scorer(result.predictions[self.output], result.references[self.output])
        return number(scorer(np.arange(len(result.rows)))[output.best_metrics[0]])

    def weigh(
        self, variants: Sequence[Variant], split: str, chosen: Comparison | None = None
    ) -> Comparison:
        """Scores and differences of what is finished; see `weigh`."""
        results = {variant.name: self.results(variant, split) for variant in variants}
        output = self.output, self.parts.outputs[self.output]
        return weigh(self.recipe, variants, results, output, split, self.out, chosen)


def _with_splits(table: Table, rows: Mapping[str, Sequence[int]]) -> Table:
    """With the splits in a column of their own."""
    splits: list[str | None] = [None] * len(table)
    for name, indexes in rows.items():
        for row in indexes:
            splits[row] = name
    return replace(table, columns={**table.columns, COMPARED: splits})


def _run_all(
    plan: _Plan, variants: Sequence[Variant], budget: float | None,
    progress: Progress | None, on_run: OnRun | None,
) -> list[str]:  # fmt: skip
    """Every variant with its first seed, then with the next; returns what there was no time for."""
    todo = [(variant, seed) for variant in variants for seed in plan.seeds_of(variant)]
    todo.sort(key=lambda item: item[1])  # stable: the variants keep their order
    jobs = [(_title(variant, seed), plan.job(variant, seed, plan.split)) for variant, seed in todo]
    return _run_missing(plan, jobs, budget, progress, on_run)


def _title(variant: Variant, seed: int) -> str:
    return CLASSICAL if variant.role == CLASSICAL else f"{variant.name}, seed {seed}"


def _run_missing(
    plan: _Plan, jobs: Sequence[tuple[str, Job]], budget: float | None,
    progress: Progress | None, on_run: OnRun | None,
) -> list[str]:  # fmt: skip
    """Those that were not run before, or failed; returns what there was no time for."""
    end = None if budget is None else time.monotonic() + budget
    unfinished = []
    for at, (name, job) in enumerate(jobs, start=1):
        if progress:
            progress(f"run: {name}", at - 1, len(jobs))
        begun = time.monotonic()
        left = None if end is None else end - begun
        result, took = finished(job), "from before"
        if result is None or result.failed:
            result = None if left is not None and left <= 0 else run(job, left)
            took = f"{time.monotonic() - begun:.0f} s"
        if result is None:
            unfinished.append(name)
        if on_run:
            on_run(f"{at}/{len(jobs)} {name}: {plan.told(result)}, {took}")
    return unfinished


def _on_test(
    plan: _Plan, variants: Sequence[Variant], found: Comparison,
    progress: Progress | None, on_run: OnRun | None,
) -> Comparison:  # fmt: skip
    """What was asked on the other rows, on the test rows, which choose nothing; and the scores of
    every single input."""
    named = {found.winner}.union(*((f.first, f.second) for f in found.findings))
    asked = [v for v in variants if v.name in named or v.role in {"alone", CLASSICAL}]
    jobs = [
        (f"{_title(variant, seed)}, on test rows", plan.job(variant, seed, "test"))
        for variant in asked
        for seed, result in plan.results(variant, plan.split).items()
        if not result.failed
    ]
    _run_missing(plan, jobs, None, progress, on_run)
    return plan.weigh(asked, "test", found)


def _keep(plan: _Plan, winner: Variant, line: Line, target: Path) -> None:
    """The winner's package, of the seed that scored best. Its recipe has the table's split column;
    where there is none, the comparison's, without which no split of the table is scored: neither
    another seed nor fewer inputs would give the same rows."""
    seed = max(line.each, key=lambda seed: line.each[seed])
    model = load_model(plan.job(winner, seed, plan.split).package)
    if plan.column is not None:
        data = model.recipe.data.model_copy(update={"split": plan.column})
        model.recipe = model.recipe.model_copy(update={"data": data})
    model.save(target, half=model.recipe.training.weights == "float16")
