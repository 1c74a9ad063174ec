"""Writes a report: evaluates the model on the table and puts the sections on one page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from plait.data.cells import OnBad
from plait.evaluation.results import Evaluation
from plait.explain.neighbours import Album
from plait.model import Model, load_model
from plait.package.format import find_package
from plait.pipeline.inputs import Progress
from plait.render.html import render
from plait.report import sections
from plait.types import ColumnName, UsageError
from plait.util.files import write_atomically


def write_report(
    model_name: str,
    table: Any,
    out: Path,
    *,
    split: str | None = None,
    columns: Mapping[str, ColumnName] | None = None,
    on_bad: OnBad = "stop",
    include_training: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> None:
    """Write one HTML file that shows how a model does on a table.

    Args:
        model_name: a shipped model or a package; the log of its training is looked for beside it.
        table, split, columns, on_bad, include_training, progress, options: as for
            `Model.evaluate`.
        out: the file.

    Raises:
        UsageError: the file's name does not end in .html.
        PlaitError: as `Model.evaluate`; or the file can't be written.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"can't write a report to {out}", expected="a name ending in .html")
    model = load_model(model_name)
    several = len(model.recipe.inputs) > 1
    evaluation = model.evaluate(
        table, split=split, columns=columns, subsets=several, shares=several, vectors=True,
        on_bad=on_bad, include_training=include_training, progress=progress, **options,
    )  # fmt: skip
    folder, name, about = find_package(model_name), model.recipe.name, model.recipe.about
    what = f"{len(evaluation.rows):,} records of {evaluation.table.path.name}"
    what += f", {split} rows" if split else ""
    what += f"; {evaluation.seen}" if evaluation.seen is not None else ""
    text = render(
        "report/report.html",
        title=f"{name} on {evaluation.table.path.name}",
        name=name,
        about=f"{what}; {about}" if about else what,
        outputs=[_output(model, evaluation, output) for output in model.recipe.outputs],
        curves=sections.learning_curve(folder.with_name(f"{folder.name}.run") / "log.jsonl"),
        failures=sections.failures(evaluation),
    )
    write_atomically(out, text)


def _output(model: Model, evaluation: Evaluation, output: str) -> dict[str, Any]:
    """All sections of one output, and the records that they show."""
    title, right = (
        model.parts.outputs[output]
        .scorer(evaluation.predictions[output], evaluation.references[output])
        .rightness()
    )
    album = Album(model.parts, evaluation.table, evaluation.columns)
    gallery = sections.Gallery(album, evaluation, output, right.tolist())
    # The extremes come last on the page, but first in the gallery, whose pictures are limited.
    extremes = sections.extremes(title, gallery)
    return {
        "name": output,
        "overview": Markup().join([
            sections.scores(model.recipe, evaluation, output),
            sections.input_shares(evaluation, output),
            sections.subset_table(model.recipe, evaluation, output),
        ]),
        "charts": Markup().join([
            sections.confusion(evaluation, output, gallery),
            sections.numbers(evaluation, output, gallery),
            sections.calibration(evaluation, output),
        ]),
        "records": sections.embedding_map(evaluation, output, gallery) + extremes,
        "gallery": gallery.records,
    }  # fmt: skip
