"""What the commands ``caption``, ``predict`` and ``explain`` do with a model's answers."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from rich.console import Console

from plait.data.images import find_images
from plait.data.tables import read_table
from plait.features import BadCells
from plait.files import write_atomically
from plait.model import Model, load
from plait.records import choose_input_columns
from plait.types import Prediction, UsageError

CHUNK = 256  # photos in memory at a time
errors = Console(stderr=True)
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
    model, photos, bad = load(model_name), find_images(paths), BadCells(_policy(on_bad))
    if not photos:
        raise UsageError("no photo in " + ", ".join(map(str, paths)))
    rows = _answers(model, [{_only(model): path} for path in photos], Path(), options, bad)
    named: Named = ((str(path), p) for path, p in zip(photos, rows, strict=True))
    if explain is not None:
        named = _explained(named, model, explain)
    if out is not None:
        _write_csv(out, "image", named, int(options.get("num", 1)))
        print(f"{len(photos) - len(bad.problems)} photos captioned, written to {out}")
    elif as_json:
        print(json.dumps([_as_json(name, p) for name, p in named], ensure_ascii=False, indent=2))
    else:
        _print(named)
    _report_bad(bad)


def predict_table(
    model_name: str,
    table: str,
    options: Mapping[str, Any],
    on_bad: str,
    out: Path,
    as_json: bool,
) -> None:
    """Answer every row of a table and write a CSV."""
    model, rows, bad = load(model_name), read_table(table), BadCells(_policy(on_bad))
    columns = choose_input_columns(model.recipe, rows)
    records = [
        {name: rows.column(column)[i] for name, column in columns.items()} for i in range(len(rows))
    ]
    answers = _answers(model, records, rows.root, options, bad)
    first = next(iter(columns.values()))
    names = [cell if isinstance(cell, str) else f"row {i + 1}"
             for i, cell in enumerate(rows.column(first))]  # fmt: skip
    named = zip(names, answers, strict=True)
    if as_json:
        print(json.dumps([_as_json(name, p) for name, p in named], ensure_ascii=False, indent=2))
    else:
        _write_csv(out, first, named, int(options.get("num", 1)))
        print(f"{len(rows)} rows answered, written to {out}")
    _report_bad(bad)


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
    print(f"{explanation.prediction.value}\nwritten to {target}")


def _answers(
    model: Model,
    records: Sequence[Mapping[str, Any]],
    root: Path,
    options: Mapping[str, Any],
    bad: BadCells,
) -> Iterator[Prediction | None]:
    """One answer a record; None for a record that has no usable input and may not answer."""
    for start in range(0, len(records), CHUNK):
        before = len(bad.rows)
        chunk = records[start : start + CHUNK]
        found = list(model.predict_many(chunk, root=root, bad=bad, first_row=start, **options))
        failed = set(bad.rows[before:])
        for i, prediction in enumerate(found):
            yield None if start + i in failed and bad.policy == "skip" else prediction


def _explained(named: Named, model: Model, folder: Path) -> Named:
    used: set[str] = set()
    for name, prediction in named:
        if prediction is not None:
            stem = Path(name).stem
            while stem in used:  # two folders may hold a photo of the same name
                stem += "_"
            used.add(stem)
            model.explanation(Path(name), prediction).save(folder / f"{stem}.png")
        yield name, prediction
    errors.print(f"attention pictures are in {folder}", highlight=False)


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


def _write_csv(out: Path, column: str, named: Named, num: int) -> None:
    """A row a photo and caption; photos that could not be read stand with an empty caption."""

    def write(part: Path) -> None:
        with part.open("w", newline="", encoding="utf-8") as file:
            _write_rows(file, column, named, num)

    write_atomically(out, write)


def _write_rows(file: IO[str], column: str, named: Named, num: int) -> None:
    writer = csv.writer(file)
    writer.writerow([column, "caption", "score", *(f"caption_{k + 1}" for k in range(1, num))])
    for name, prediction in named:
        if prediction is None:
            writer.writerow([name, "", "", *[""] * (num - 1)])
        else:
            others = [other.value for other in prediction.alternatives]
            writer.writerow([name, prediction.value, f"{prediction.score:.4f}", *others])


def _as_json(name: str, prediction: Prediction | None) -> dict[str, Any]:
    if prediction is None:
        return {"image": name, "caption": None}
    return {
        "image": name,
        "caption": prediction.value,
        "score": round(prediction.score, 4),
        "alternatives": [
            {"caption": a.value, "score": round(a.score, 4)} for a in prediction.alternatives
        ],
    }


def _report_bad(bad: BadCells) -> None:
    for line in bad.problems[:20]:
        errors.print(f"bad: {line}", highlight=False, soft_wrap=True)
    if len(bad.problems) > 20:
        errors.print(f"... and {len(bad.problems) - 20} more", highlight=False)


def _policy(on_bad: str) -> Any:
    if on_bad not in ("stop", "skip", "missing"):
        raise UsageError(f"--on-bad {on_bad}", expected="stop, skip or missing")
    return on_bad
