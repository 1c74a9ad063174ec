"""Predictions written as CSV or JSON, by the command line and by whoever wants the same file.

Each output's values stand under its name. With several outputs, everything else about an answer
has the output's name before it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from plait.outputs.base import Output
from plait.types import Prediction, UsageError
from plait.util.files import write_atomically

DIGITS = 4  # of scores and probabilities
UNWRITTEN = ("value", "detected")
"""Keys of a prediction's JSON that a file goes without: the value has the output's name there, and
what led to it is for `plait explain`."""

Answers: TypeAlias = Mapping[str, Prediction]
"""One record's predictions by output."""
Row: TypeAlias = tuple[Mapping[str, Any], Answers | None]
"""What identifies a record, by title (its row, its photo), and its answers; None if there are
none."""


def writer(path: Path, outputs: Mapping[str, Output]) -> Callable[[Iterable[Row]], int]:
    """A function that writes rows to a file of the path's kind and returns how many of them have
    answers.

    Raises:
        UsageError: files of that name can't be written.
    """
    formats = {".csv": to_csv, ".json": to_json}
    if path.suffix.lower() not in formats:
        raise UsageError(
            f"can't write answers to {path}", expected="a name ending in .csv or .json"
        )
    text_of = formats[path.suffix.lower()]

    def write(rows: Iterable[Row]) -> int:
        count = 0

        def counted() -> Iterator[Row]:
            nonlocal count
            for identity, answers in rows:
                count += answers is not None
                yield identity, answers

        # Names of files may be any bytes; they are written as they are.
        text = text_of(counted(), outputs).encode("utf-8", "surrogateescape")
        write_atomically(path, lambda part: part.write_bytes(text))
        return count

    return write


def to_csv(rows: Iterable[Row], outputs: Mapping[str, Output]) -> str:
    """A line for each record; the cells of records without answers are empty."""
    lines = [(identity, _cells(answers, outputs)) for identity, answers in rows]
    titles: dict[str, None] = dict.fromkeys(title for identity, _ in lines for title in identity)
    for name, output in outputs.items():  # an output's columns stand together
        titles |= dict.fromkeys([name, _title("score", name, outputs)][: 1 + output.shows_score])
        titles |= {title: None for _, cells in lines for title in cells.get(name, {})}
    file = io.StringIO(newline="")
    table = csv.DictWriter(file, list(titles), restval="")
    table.writeheader()
    for identity, cells in lines:
        table.writerow({**identity} | {k: v for own in cells.values() for k, v in own.items()})
    return file.getvalue()


def _cells(answers: Answers | None, outputs: Mapping[str, Output]) -> dict[str, dict[str, Any]]:
    """Output -> title -> cell."""
    cells: dict[str, dict[str, Any]] = {}
    for name, prediction in (answers or {}).items():
        output = outputs[name]
        own: dict[str, Any] = {name: output.to_cell(prediction.value)}
        if output.shows_score:
            own[_title("score", name, outputs)] = f"{prediction.score:.4f}"
        own |= {f"{name}_{key}": cell for key, cell in output.extra_cells(prediction).items()}
        for source, share in prediction.shares.items():
            own[f"share_{_title(source, name, outputs)}"] = f"{share:.4f}"
        for rank, other in enumerate(prediction.alternatives, start=2):
            own[f"{name}_{rank}"] = output.to_cell(other.value)
        cells[name] = own
    return cells


def to_json(rows: Iterable[Row], outputs: Mapping[str, Output]) -> str:
    """A list with an object for each record; the values of records without answers are null."""
    objects = []
    for identity, answers in rows:
        record: dict[str, Any] = {**identity}
        if answers is None:
            record |= dict.fromkeys(outputs)
        for name, prediction in (answers or {}).items():
            output = outputs[name]
            own = output.to_json(prediction, DIGITS)
            record[name] = own["value"]
            own["alternatives"] = [
                {name: other.pop("value"), **other} for other in own["alternatives"]
            ]
            unwritten = UNWRITTEN if output.shows_score else (*UNWRITTEN, "score")
            record |= {_title(k, name, outputs): v for k, v in own.items() if k not in unwritten}
        objects.append(record)
    return json.dumps(objects, ensure_ascii=False, indent=2)


def _title(key: str, output: str, outputs: Mapping[str, Output]) -> str:
    return f"{output}_{key}" if len(outputs) > 1 else key
