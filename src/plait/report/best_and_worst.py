"""An evaluation to look through: the best and the worst captions as a page, the errors of
transcripts as text.

The page is a single file: its photos are small JPEGs inside it, and it links to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from plait.data.images import IMAGE, open_image
from plait.data.paths import peek
from plait.evaluation.evaluate import Evaluation
from plait.render.html import picture_uri, render
from plait.render.numbers import number
from plait.types import BadCell, UsageError
from plait.util.files import write_atomically

MAX_SIDE = 320  # pixels of a photo's longer side


def best_and_worst(evaluation: Evaluation, path: Path, count: int = 10) -> None:
    """Write a page of the photos whose captions score best and worst, below all the scores.

    No photo is shown twice: of fewer than ``2 * count`` photos, half are the best.

    Args:
        evaluation: what `Model.evaluate` returned.
        path: the HTML file.
        count: how many of each.

    Raises:
        UsageError: no output of the model is scored caption by caption.
        PlaitError: the file can't be written.
    """
    ranked_as = {n: output.scored_by.ranked_as for n, output in evaluation.outputs.items()}
    names = [name for name, called in ranked_as.items() if called]
    if not names:
        raise UsageError(
            "a page needs an output of captions",
            expected="outputs.NAME.kind: text, its settings.metrics: captions",
        )
    ranked = " and ".join(dict.fromkeys(ranked_as[name] for name in names))
    text = render(
        "report/captions.html",
        title=f"Best and worst {ranked} of {evaluation.table.path.name}",
        table=evaluation.table.path.name,
        failures=len(evaluation.failures),
        seen=evaluation.seen,
        outputs=[_output(evaluation, name, count) for name in names],
    )
    write_atomically(path, text)


def write_errors(evaluation: Evaluation, path: Path) -> None:
    """Write every wrong transcript below its reference, the errors in capitals; those with the
    largest share of wrong words first. Raises UsageError if no output of the model is scored as
    transcripts, and PlaitError if the file can't be written."""
    texts, table = [], evaluation.table
    read = [column for path, column in evaluation.columns.items() if path.startswith("inputs.")]
    cells: Sequence[Any] = table.column(read[0]) if read else [None] * len(table)

    def recording(row: int) -> str:
        return cells[row] if isinstance(cells[row], str) else f"row {table.number(row)}"

    for name, output in evaluation.outputs.items():
        wrong = output.scorer(evaluation.predictions[name], evaluation.references[name]).errors()
        if wrong is not None:
            title = f"{name}: {len(wrong):,} of {len(evaluation.rows):,} transcripts have errors"
            blocks = [f"{recording(evaluation.rows[at])}\n{lines}" for at, lines in wrong]
            texts.append("\n\n".join([title, *blocks]) + "\n")
    if not texts:
        raise UsageError(
            "aligned errors need an output of transcripts",
            expected="outputs.NAME.kind: text, its settings.metrics: transcripts",
        )
    write_atomically(path, "".join(texts))


def _output(evaluation: Evaluation, name: str, count: int) -> dict[str, Any]:
    """One output's scores, and its best and worst photos."""
    output, predictions = evaluation.outputs[name], evaluation.predictions[name]
    references = evaluation.references[name]
    metrics = output.scorer(predictions, references)
    by, rightness = metrics.rightness()
    best, worst = choose(metrics.ranked(), count)
    values, tiles = evaluation.scores[name].to_json(), []
    for score, title in metrics.titles.items():
        if values.get(score) is not None:
            ends = values["intervals"].get(score)
            interval = f"{number(ends[0])} to {number(ends[1])}" if ends else ""
            tiles.append((title, number(values[score]), interval))

    def photo(position: int) -> dict[str, Any]:
        table, row = evaluation.table, evaluation.rows[position]
        picture, label = "", f"row {table.number(row)}"
        for path, column in evaluation.columns.items():  # the first input that is a photo
            cell: Any = table.column(column)[row] if path.startswith("inputs.") else None
            if picture or cell is None or not (IMAGE.is_certain(cell) or isinstance(cell, bytes)):
                continue
            with suppress(BadCell):
                picture, file = picture_uri(open_image(cell, table.root), MAX_SIDE), peek(cell)
                label = f"{Path(file).name}, {label}" if isinstance(file, str) else label
        return {
            "picture": picture,
            "label": label,
            "caption": predictions[position].value,
            "score": rightness[position],
            "references": references[position],
        }

    return {
        "name": name,
        "ranked_as": metrics.ranked_as,
        "by": by,
        "scores": tiles,
        "count": len(evaluation.rows),
        "best": list(map(photo, best)),
        "worst": list(map(photo, worst)),
    }


def choose(order: Sequence[int], count: int) -> tuple[list[int], list[int]]:
    """The best (best first) and the worst (worst first) of a ranking, without overlap."""
    half = len(order) // 2
    best, worst = order[: len(order) - half], order[::-1][:half]
    return list(best[:count]), list(worst[:count])
