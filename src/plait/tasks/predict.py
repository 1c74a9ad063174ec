"""What the commands ``caption`` and ``predict`` do with a model's answers."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from itertools import tee
from pathlib import Path
from typing import Any

import plait
from plait.data.cells import ErrorPolicy, check_policy, in_chunks, is_missing
from plait.data.images import find_images
from plait.data.tables import Table, is_table_name, read_table
from plait.render.progress import Progress, reported
from plait.runtime.engines import Answerer, open_model
from plait.types import ColumnName, Prediction, UsageError
from plait.util.files import write_atomically

CHUNK = 256  # photos in memory at a time
Answers = Mapping[str, Prediction]
"""One record's, by output."""
PHOTO = "image"
DIGITS = 4  # of scores and probabilities
UNTOLD = ("value", "detected")
"""What of a prediction's JSON is not written: the value has the output's name there, and what led
to it is for `plait explain`."""
ROW = "row"
"""The title of the rows' numbers in what is written."""
Told = Mapping[str, Any]
"""What a record is known by, by title: its row in the table, its photo."""
Named = Iterator[tuple[Told, Answers | None]]
"""What a record is known by and its answers; None where it has none."""


def caption_photos(
    paths: Sequence[Path],
    model_name: str,
    options: Mapping[str, Any],
    on_bad: str,
    out: Path | None,
    explain: Path | None,
    as_json: bool,
    engine: str = "torch",
    progress: Progress | None = None,
) -> None:
    """Caption photos and folders; print, or write a CSV, and attention pictures if asked."""
    for path in paths:
        if is_table_name(path.name):
            raise UsageError(f"{path} is a table", hint=f"try: plait predict {model_name} {path}")
    bad = ErrorPolicy(check_policy(on_bad), in_table=False)
    model, photos = open_model(model_name, engine), find_images(paths)
    if not photos:
        raise UsageError("no photo in " + ", ".join(map(str, paths)))
    model.decoding_options(**options)  # checked before any photo is read
    save = _saver(out, model) if out else None
    records = [{_only(model): path} for path in photos]
    rows = reported(
        _answers(model, records, Path(), options, bad), "answers", len(photos), progress
    )
    named: Named = (({PHOTO: str(path)}, p) for path, p in zip(photos, rows, strict=True))
    if explain is not None:
        named = _explained(named, model, explain)
    if save is not None:
        count = save(named)
        print(f"{count} of {len(photos)} photos captioned, written to {out}")
    elif as_json:
        print(_json_text(model, named))
    else:
        _print(named)
    _tell(bad)


def _tell(bad: ErrorPolicy) -> None:
    """Name the cells that could not be used, on the error stream."""
    if bad.failures:
        from plait.render.console import show_bad  # rich is slow to import

        show_bad(bad.failures)


def predict_table(
    model_name: str,
    table: str,
    named: Mapping[str, str],
    options: Mapping[str, Any],
    on_bad: str,
    out: Path,
    as_json: bool,
    shares: bool = False,
    progress: Progress | None = None,
) -> None:
    """Answer every row of a table and write a CSV or JSON; with ``shares`` also each input's share
    of the answers."""
    from plait.pipeline.records import (
        choose_present_columns,  # needs torch, which is slow to import
    )

    model, rows, bad = plait.load(model_name), read_table(table), ErrorPolicy(check_policy(on_bad))
    model.decoding_options(**options)  # checked before any row is read
    save = _saver(out, model)
    columns = choose_present_columns(model.recipe, model.parts, rows, named)
    # A column may be larger than the memory: no more is kept of it than is answered at a time.
    cells = zip(*map(rows.column, columns.values()), strict=True)
    records, again = tee(dict(zip(columns, row, strict=True)) for row in cells)
    answers = reported(
        _answers(model, records, rows.root, options, bad, shares), "answers", len(rows), progress
    )
    told = _told_of_rows(rows, columns, again)
    answered = zip(told, answers, strict=True)
    if as_json:
        print(_json_text(model, answered))
    else:
        print(f"{save(answered)} of {len(rows)} rows answered, written to {out}")
    _tell(bad)


def _told_of_rows(
    table: Table, columns: Mapping[str, ColumnName], records: Iterable[Mapping[str, Any]]
) -> Iterator[Told]:
    """Each row's number, as errors name it, and the cells of the inputs that are one column: texts,
    paths and numbers; others, as a photo's bytes, are left empty."""
    single = {name: c for name, c in columns.items() if isinstance(c, str) and c != ROW}
    for row, record in enumerate(records):
        cells = {column: record[name] for name, column in single.items()}
        yield {ROW: table.number(row)} | {c: _written(cell) for c, cell in cells.items()}


def _written(cell: Any) -> str | float | None:
    there = isinstance(cell, (str, int, float)) and not is_missing(cell)
    return cell if there else None


def _answers(
    model: Answerer,
    records: Iterable[Mapping[str, Any]],
    root: Path,
    options: Mapping[str, Any],
    bad: ErrorPolicy,
    shares: bool = False,
) -> Iterator[Answers | None]:
    """Every record's answers; None where nothing of the record could be used, or by the policy."""
    for number, chunk in enumerate(in_chunks(records, CHUNK)):
        start = number * CHUNK
        found = list(
            model.answers(chunk, root=root, bad=bad, first_row=start, shares=shares, **options)
        )
        for row, (record, answers) in enumerate(zip(chunk, found, strict=True), start=start):
            lost = {name for name in record if (row, name) in bad.met}
            there = any(not is_missing(record[name]) for name in set(record) - lost)
            if not there and not lost:
                bad.failures.append(f"row {row + 1}: no input that could be used")
            yield answers if there and not (lost and bad.policy == "skip") else None


def _explained(named: Named, model: Answerer, folder: Path) -> Named:
    used: set[str] = set()
    for told, answers in named:
        if answers is not None:
            photo = Path(told[PHOTO])
            stem = _unused(photo, used)
            used.add(stem)
            model.attention(photo, answers[model.output]).save(folder / f"{stem}.png")
        yield told, answers
    print(f"attention pictures are in {folder}", file=sys.stderr)


def _unused(photo: Path, used: Container[str]) -> str:
    """The photo's name, with so many of its folders' names before it as it takes to be new."""
    stem = photo.stem
    for folder in photo.absolute().parents:
        if stem not in used:
            break
        stem = f"{folder.name}-{stem}"
    while stem in used:  # a.png and a.jpg of one folder
        stem += "_"
    return stem


def _only(model: Answerer) -> str:
    """The model's only input, a photo."""
    names = [n for n, modality in model.inputs.items() if modality == "image"]
    if len(model.inputs) != 1 or not names:
        raise UsageError(
            f"the model {model.name!r} takes {', '.join(model.inputs)}",
            expected="a model with one input, a photo",
            hint="use plait predict MODEL TABLE",
        )
    return names[0]


def _print(named: Named) -> None:
    for told, answers in named:
        name = told[PHOTO]
        for output, prediction in (answers or {}).items():
            start = f"{name}, {output}: " if answers and len(answers) > 1 else f"{name}: "
            for k, value in enumerate([prediction.value, *_others(prediction)]):
                print(f"{' ' * len(start) if k else start}{_shown(value)}")
        sys.stdout.flush()


def _others(prediction: Prediction) -> list[Any]:
    return [other.value for other in prediction.alternatives]


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


# Files of answers: each output's under its name. Where there are several outputs, what is told of
# an answer has the output's name before it.


def _saver(out: Path, model: Answerer) -> Callable[[Named], int]:
    """Writes answers to a file of this name's kind; gives how many records were answered.

    Raises:
        UsageError: the name is of no kind that can be written.
    """
    kinds = {".csv": _csv_text, ".json": _json_text}
    if out.suffix.lower() not in kinds:
        raise UsageError(f"can't write answers to {out}", expected="a name in .csv or .json")
    text_of = kinds[out.suffix.lower()]

    def save(named: Named) -> int:
        count = 0

        def counted() -> Named:
            nonlocal count
            for told, answers in named:
                count += answers is not None
                yield told, answers

        # Names of files may be any bytes; they are written as they are.
        text = text_of(model, counted()).encode("utf-8", "surrogateescape")
        write_atomically(out, lambda part: part.write_bytes(text))
        return count

    return save


def _csv_text(model: Answerer, named: Named) -> str:
    """A row a record; those without an answer stand with empty cells."""
    rows = [(told, _cells(model, answers)) for told, answers in named]
    titles: dict[str, None] = dict.fromkeys(title for told, _ in rows for title in told)
    for output in model.outputs:  # an output's columns stand together
        shows_score = model.output_of(output).shows_score
        scores = [_own(model, output, "score")] if shows_score else []
        titles |= dict.fromkeys([output, *scores])
        titles |= {title: None for _, cells in rows for title in cells.get(output, {})}
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, list(titles), restval="")
    writer.writeheader()
    for told, cells in rows:
        writer.writerow({**told} | {k: v for own in cells.values() for k, v in own.items()})
    return file.getvalue()


def _cells(model: Answerer, answers: Answers | None) -> dict[str, dict[str, Any]]:
    """The cells of a record's row by title, those of each output apart."""
    found: dict[str, dict[str, Any]] = {}
    for output, prediction in (answers or {}).items():
        asked = model.output_of(output)
        cells = {output: asked.to_cell(prediction.value)}
        if asked.shows_score:
            cells[_own(model, output, "score")] = f"{prediction.score:.4f}"
        cells |= {f"{output}_{key}": v for key, v in asked.extra_cells(prediction).items()}
        for name, share in prediction.shares.items():
            cells[f"share_{_own(model, output, name)}"] = f"{share:.4f}"
        others = enumerate(_others(prediction), start=2)
        found[output] = cells | {f"{output}_{k}": asked.to_cell(value) for k, value in others}
    return found


def _json_text(model: Answerer, named: Named) -> str:
    rows = [{**told} | _as_json(model, answers) for told, answers in named]
    return json.dumps(rows, ensure_ascii=False, indent=2)


def _as_json(model: Answerer, answers: Answers | None) -> dict[str, Any]:
    if answers is None:
        return dict.fromkeys(model.outputs)
    found: dict[str, Any] = {}
    for output, prediction in answers.items():
        asked = model.output_of(output)
        told = asked.to_json(prediction, DIGITS)
        found[output] = told["value"]
        for other in told["alternatives"]:
            other[output] = other.pop("value")
        for key in UNTOLD if asked.shows_score else (*UNTOLD, "score"):
            told.pop(key, None)
        found |= {_own(model, output, key): value for key, value in told.items()}
    return found


def _own(model: Answerer, output: str, key: str) -> str:
    return f"{output}_{key}" if len(model.outputs) > 1 else key
