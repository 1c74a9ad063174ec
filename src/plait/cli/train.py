"""Commands that train and evaluate: train, compare, evaluate, report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

import plait
from plait.cli.options import (
    AsJson,
    DecodingOptions,
    Engine,
    Model,
    Recipe,
    ScoredRows,
    TrainingOptions,
    argument,
    names,
    option,
    print_json,
    seconds,
    with_groups,
)
from plait.render.progress import show_progress
from plait.types import UsageError

commands = typer.Typer()

Scored = Annotated[str, argument(..., "A table with the right answers.")]
MORE = "More scores"


@commands.command()
@with_groups
def train(
    recipe: Recipe,
    table: Annotated[str, argument(..., "CSV, JSON, Parquet, a folder or published captions.")],
    options: TrainingOptions,
    out: Path = option(Path("model"), "The folder for the trained package."),
    as_json: AsJson = False,
) -> None:
    """Train a recipe on a table. Run it again to resume after an interruption."""
    from plait.cli.show import TrainingView
    from plait.training.train import train as train_model

    with show_progress() as progress:
        view = TrainingView(as_json, progress)
        model = train_model(
            recipe, options.read(table), out, **options.given(),
            progress=progress, report=view.report, shown=view.columns
        )  # fmt: skip
    view.done(out, model.recipe, model.scores)


@dataclass(frozen=True)
class MoreScores:
    """What else a model is scored on, besides the table itself."""

    subsets: bool = option(False, "With every subset of the inputs.", "--subsets", panel=MORE)
    shares: bool = option(False, "Each input's share of the answers.", "--shares", panel=MORE)
    corruptions: bool = option(
        False, "With noise, blur, dropped words...", "--corruptions", panel=MORE
    )
    swapped: bool = option(
        False, "With each input taken from another record.", "--swapped", panel=MORE
    )
    slow_metrics: bool = option(
        False, "With metrics that run another program: METEOR.", "--slow-metrics", panel=MORE
    )
    by: str | None = option(None, "For each value of this column, separately.", panel=MORE)


@dataclass(frozen=True)
class Written:
    """Files that an evaluation writes."""

    page: Path | None = option(None, "Write a page with the ten best and ten worst answers.")
    errors: Path | None = option(None, "Write the wrong transcripts, aligned with the right ones.")


@commands.command()
@with_groups
def evaluate(
    model: Model,
    table: Scored,
    rows: ScoredRows,
    decoding: DecodingOptions,
    more: MoreScores,
    files: Written,
    engine: Engine = "torch",
    as_json: AsJson = False,
) -> None:
    """Score a model on a table, with 95 % intervals."""
    from plait.cli.show import show_columns, show_scores
    from plait.report.best_and_worst import best_and_worst, write_errors

    options = {**rows.given(), **decoding.given()}
    loaded = plait.load(model, engine)
    with show_progress() as progress:
        evaluation = loaded.evaluate(rows.read(table), progress=progress, **vars(more), **options)
    if files.page is not None:
        best_and_worst(evaluation, files.page)
    if files.errors is not None:
        write_errors(evaluation, files.errors)
    if as_json:
        print_json(evaluation.to_json())
    else:
        show_columns(evaluation.columns)
        show_scores(loaded.recipe, evaluation.to_json(), files.page)


@dataclass(frozen=True)
class Variants:
    """What is compared."""

    fusion: list[str] | None = option(
        None, "all, or a list such as early.gated,late,hybrid. May be repeated."
    )
    representation: list[str] | None = option(
        None, "INPUT=all or INPUT=NAME,NAME. May be repeated."
    )
    rows: str | None = option(None, "Also train on fewer rows: 100,300,1000.")
    seeds: int = option(3, "Runs of each variant, counting up from the recipe's seed.", min=1)


@dataclass(frozen=True)
class Choice:
    """How the best variant is found, and what becomes of it."""

    output: str | None = option(None, "The output to score. Default: the recipe's first.")
    split: str = option("val", "The rows that decide which variant is best.")
    test: bool = option(False, "Score the best on the test rows too. Do this once.", "--test")
    keep: Path | None = option(None, "Save the best variant as a package in this folder.")


@commands.command()
@with_groups
def compare(
    recipe: Recipe,
    table: Annotated[str, argument(..., "A table that the recipe can be trained on.")],
    variants: Variants,
    choice: Choice,
    options: TrainingOptions,
    out: Path = option(Path("comparison"), "The folder for the comparison."),
    budget: str | None = option(None, "Time limit for training: 90s, 20m, 2h. Default: none."),
    as_json: AsJson = False,
) -> None:
    """Compare inputs, fusions and representations: which is best, which differences are real."""
    from plait.cli.show import show_table
    from plait.comparison.compare import compare as compare_all
    from plait.comparison.report import HEADINGS, LESS_NEEDED, heading, sentences, table_rows
    from plait.comparison.variants import parse_representations
    from plait.render.console import errors

    with show_progress(one=True) as progress:
        comparison = compare_all(
            recipe, options.read(table), out, **options.given(), **vars(choice),
            seeds=variants.seeds, fusions=names(variants.fusion), rows=_row_counts(variants.rows),
            representations=parse_representations(variants.representation or []),
            budget=seconds(budget), progress=progress,
            # A log gets a line for each run; a terminal has the bar.
            on_run=None if errors.is_terminal else errors.print
        )  # fmt: skip
    if as_json:
        print_json(comparison.to_json())
    else:
        files = [f"In {comparison.folder}: compare.json, compare.md, compare.png, and every run."]
        files += [f"The best one is kept in {choice.keep}."] if choice.keep else []
        show_table(
            heading(comparison), HEADINGS, table_rows(comparison),
            [*sentences(comparison), *files], less_needed=LESS_NEEDED
        )  # fmt: skip


def _row_counts(given: str | None) -> list[int]:
    counts = names([given] if given else [])
    if not all(count.isdecimal() and int(count) > 0 for count in counts):
        raise UsageError(
            f"--rows {given!r} is not a list of row counts", expected="for example 100,300"
        )
    return [int(count) for count in counts]


@commands.command()
@with_groups
def report(
    model: Model,
    table: Scored,
    rows: ScoredRows,
    decoding: DecodingOptions,
    out: Path = option(Path("report.html"), "The page to write."),
) -> None:
    """Write one page about a model's answers on a table: scores, charts and records."""
    from plait.report.report import write_report

    options = {**rows.given(), **decoding.given()}
    with show_progress() as progress:
        write_report(model, rows.read(table), out, progress=progress, **options)
    print(f"written to {out}")
