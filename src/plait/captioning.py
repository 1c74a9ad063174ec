"""What the commands ``caption``, ``predict`` and ``explain`` do with a model's answers."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

from plait.data.images import find_images
from plait.data.tables import is_table_name, read_table
from plait.features import BadCells, check_policy, is_missing
from plait.files import write_atomically
from plait.model import Model, load
from plait.records import choose_present_columns
from plait.terminal import errors, show_bad
from plait.types import Prediction, UsageError, column_text

CHUNK = 256  # photos in memory at a time
Named = Iterator[tuple[str, Prediction | None]]


def caption_photos(
    paths: Sequence[Path],
    model_name: str,
    options: Mapping[str, Any],
    on_bad: str,
    out: Path | None,
    explain: Path | None,
    as_json: bool,
) -> None:
    """Caption photos and folders; print, or write a CSV, and attention pictures if asked."""
    for path in paths:
        if is_table_name(path.name):
            raise UsageError(f"{path} is a table", mend=f"try: plait predict {model_name} {path}")
    bad = BadCells(check_policy(on_bad), in_table=False)
    model, photos = load(model_name), find_images(paths)
    if not photos:
        raise UsageError("no photo in " + ", ".join(map(str, paths)))
    num, save = model.decoding_options(**options).num, _saver(out, model.output) if out else None
    rows = _answers(model, [{_only(model): path} for path in photos], Path(), options, bad)
    named: Named = ((str(path), p) for path, p in zip(photos, rows, strict=True))
    if explain is not None:
        named = _explained(named, model, explain)
    if save is not None:
        count = save("image", named, num)
        print(f"{count} of {len(photos)} photos captioned, written to {out}")
    elif as_json:
        _print_json("image", model.output, named)
    else:
        _print(named)
    show_bad(bad.problems)


def predict_table(
    model_name: str,
    table: str,
    named: Mapping[str, str],
    options: Mapping[str, Any],
    on_bad: str,
    out: Path,
    as_json: bool,
) -> None:
    """Answer every row of a table and write a CSV."""
    model, rows, bad = load(model_name), read_table(table), BadCells(check_policy(on_bad))
    num, save = model.decoding_options(**options).num, _saver(out, model.output)
    columns = choose_present_columns(model.recipe, model.parts, rows, named)
    cells = [rows.column(column) for column in columns.values()]
    records = [dict(zip(columns, row, strict=True)) for row in zip(*cells, strict=True)]
    answers = _answers(model, records, rows.root, options, bad)
    first = column_text(next(iter(columns.values())))
    names = [
        cell if isinstance(cell, str) else f"row {i}" for i, cell in enumerate(cells[0], start=1)
    ]
    answered = zip(names, answers, strict=True)
    if as_json:
        _print_json(first, model.output, answered)
    else:
        count = save(first, answered, num)
        print(f"{count} of {len(rows)} rows answered, written to {out}")
    show_bad(bad.problems)


def explain_file(
    model_name: str, file: Path, options: Mapping[str, Any], out: Path | None, as_json: bool
) -> None:
    """Attention of one photo as a PNG or as numbers."""
    explanation = load(model_name).explain(file, **options)
    if as_json:
        print(json.dumps(explanation.to_json(), ensure_ascii=False))
        return
    target = out or Path(f"{file.stem}.attention.png")
    explanation.save(target)
    print(explanation.prediction.value)
    detected = explanation.prediction.detected
    if detected:
        found = ", ".join(f"{word} {probable:.2f}" for word, probable in detected.items())
        print(f"detected: {found}")
    print(f"written to {target}")


def _answers(
    model: Model,
    records: Sequence[Mapping[str, Any]],
    root: Path,
    options: Mapping[str, Any],
    bad: BadCells,
) -> Iterator[Prediction | None]:
    """One answer a record; None where nothing of the record could be used, or by the policy."""
    for start in range(0, len(records), CHUNK):
        chunk = records[start : start + CHUNK]
        found = list(model.predict_many(chunk, root=root, bad=bad, first_row=start, **options))
        for row, (record, prediction) in enumerate(zip(chunk, found, strict=True), start=start):
            lost = {name for name in record if (row, name) in bad.met}
            there = any(not is_missing(record[name]) for name in set(record) - lost)
            if not there and not lost:
                bad.problems.append(f"row {row + 1}: no input that could be used")
            yield prediction if there and not (lost and bad.policy == "skip") else None


def _explained(named: Named, model: Model, folder: Path) -> Named:
    used: set[str] = set()
    for name, prediction in named:
        if prediction is not None:
            stem = _unused(Path(name), used)
            used.add(stem)
            model.explanation(Path(name), prediction).save(folder / f"{stem}.png")
        yield name, prediction
    errors.print(f"attention pictures are in {folder}")


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


def _only(model: Model) -> str:
    """The model's only input, a photo."""
    names = [n for n, spec in model.recipe.inputs.items() if spec.modality == "image"]
    if len(model.recipe.inputs) != 1 or not names:
        raise UsageError(
            f"the model {model.recipe.name!r} takes {', '.join(model.recipe.inputs)}",
            expected="a model with one input, a photo",
            mend="use plait predict MODEL TABLE",
        )
    return names[0]


def _print(named: Named) -> None:
    for name, prediction in named:
        if prediction is None:
            continue
        print(f"{name}: {prediction.value}")
        for other in prediction.alternatives:
            print(f"{' ' * len(name)}  {other.value}")
        sys.stdout.flush()


def _saver(out: Path, output: str) -> Callable[[str, Named, int], int]:
    """Writes answers to a file of this name's kind; gives how many there were.

    Raises:
        UsageError: the name is of no kind that can be written.
    """
    kinds = {".csv": _write_csv, ".json": _write_json}
    if out.suffix.lower() not in kinds:
        raise UsageError(f"can't write answers to {out}", expected="a name in .csv or .json")
    return partial(kinds[out.suffix.lower()], out, output)


def _print_json(column: str, output: str, named: Named) -> None:
    print(_json_text(column, output, named))


def _json_text(column: str, output: str, named: Iterable[tuple[str, Prediction | None]]) -> str:
    rows = [_as_json(column, output, name, p) for name, p in named]
    return json.dumps(rows, ensure_ascii=False, indent=2)


def _write_json(out: Path, output: str, column: str, named: Named, num: int) -> int:
    answers = list(named)
    text = _json_text(column, output, answers)
    write_atomically(
        out, lambda part: part.write_text(text, encoding="utf-8", errors="surrogateescape")
    )
    return sum(prediction is not None for _, prediction in answers)


def _write_csv(out: Path, output: str, column: str, named: Named, num: int) -> int:
    """A row a photo; those that could not be read stand with an empty caption. Gives the number
    of those that were captioned."""
    count = 0

    def write(part: Path) -> None:
        nonlocal count
        # Names of files may be any bytes; they are written as they are.
        with part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            count = _write_rows(file, output, column, named, num)

    write_atomically(out, write)
    return count


def _write_rows(file: IO[str], output: str, column: str, named: Named, num: int) -> int:
    writer = csv.writer(file)
    writer.writerow([column, output, "score", *(f"{output}_{k + 1}" for k in range(1, num))])
    count = 0
    for name, prediction in named:
        if prediction is None:
            writer.writerow([name, "", "", *[""] * (num - 1)])
            continue
        others = [other.value for other in prediction.alternatives]
        others += [""] * (num - 1 - len(others))
        writer.writerow([name, prediction.value, f"{prediction.score:.4f}", *others])
        count += 1
    return count


def _as_json(column: str, output: str, name: str, prediction: Prediction | None) -> dict[str, Any]:
    if prediction is None:
        return {column: name, output: None}
    found = {
        column: name,
        output: prediction.value,
        "score": round(prediction.score, 4),
        "alternatives": [
            {output: a.value, "score": round(a.score, 4)} for a in prediction.alternatives
        ],
    }
    if prediction.probabilities:
        found["probabilities"] = {
            str(value): round(p, 4) for value, p in prediction.probabilities.items()
        }
    return found
