"""Writes a report: evaluates the model on the table and puts the sections on one page."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from plait.data.cells import OnBad
from plait.evaluation.results import Evaluation
from plait.explain.neighbours import Album
from plait.model import Model, load_model
from plait.package.paths import find_package
from plait.pipeline.inputs import Progress
from plait.render.html import page
from plait.report import sections
from plait.report.records import Gallery
from plait.report.style import SCRIPT, STYLE
from plait.types import ColumnName, UsageError
from plait.util.files import write_atomically


def write_report(
    model_name: str,
    table: str | Path,
    out: Path,
    *,
    split: str | None = None,
    columns: Mapping[str, ColumnName] | None = None,
    on_bad: OnBad = "stop",
    progress: Progress | None = None,
    **options: Any,
) -> None:
    """Write one HTML file of how a model does on a table.

    Args:
        model_name: a shipped model or a package; the log of its training is looked for beside it.
        table, split, columns, on_bad, progress, options: as for `Model.evaluate`.
        out: the file.

    Raises:
        UsageError: the name does not end in .html.
        PlaitError: as `Model.evaluate`; or the file can't be written.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"can't write a report to {out}", expected="a name ending in .html")
    model = load_model(model_name)
    several = len(model.recipe.inputs) > 1
    found = model.evaluate(
        table, split=split, columns=columns, subsets=several, shares=several, vectors=True,
        on_bad=on_bad, progress=progress, **options,
    )  # fmt: skip
    folder = find_package(model_name)
    text = report_page(model, found, folder.with_name(f"{folder.name}.run") / "log.jsonl", split)
    write_atomically(out, lambda part: part.write_text(text, encoding="utf-8"))


def report_page(model: Model, found: Evaluation, log: Path, split: str | None = None) -> str:
    """The page of an evaluation that has its vectors, and its subsets and shares where the model
    has several inputs; ``log`` is the training's, and need not be there."""
    name, table = model.recipe.name, found.table.path.name
    which = f", {split} rows" if split else ""
    about = f"{len(found.rows):,} records of {table}{which}"
    about += f"; {model.recipe.about}" if model.recipe.about else ""
    body = [f'<header><h1>{escape(name)}</h1><p class="about">{escape(about)}</p></header>\n']
    for number, output in enumerate(model.recipe.outputs):
        body.append(_output(model, found, output, f"records-{number}"))
    body += [sections.learning_curve(log), sections.failures(found), f"<script>{SCRIPT}</script>\n"]
    return page(f"{name} on {table}", "".join(body), STYLE)


def _output(model: Model, found: Evaluation, output: str, name: str) -> str:
    """All sections of one output."""
    predictions, references = found.predictions[output], found.references[output]
    title, right = model.parts.outputs[output].rightness(predictions, references)
    album = Album(model.parts, model.states, found.table, found.columns)
    gallery = Gallery(album, found, output, right.tolist())
    # The extremes come last on the page and first in the gallery, which has room for so many.
    extremes = sections.extremes(found, output, title, gallery)
    parts = [
        sections.scores(model.recipe, found, output),
        sections.input_shares(found, output),
        sections.subset_table(model.recipe, found, output),
        '<div class="two">',
        sections.confusion(found, output, gallery),
        sections.numbers(found, output, gallery),
        sections.calibration(found, output),
        "</div>\n",
        sections.embedding_map(found, output, gallery),
        extremes,
    ]
    heading = f"<h2>{escape(output)}</h2>\n" if len(model.recipe.outputs) > 1 else ""
    return f'<div data-records="{name}">{heading}{"".join(parts)}{gallery.script(name)}</div>\n'
