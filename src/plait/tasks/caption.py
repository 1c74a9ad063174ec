"""What the command ``caption`` does: photos in, a sentence for each out."""

from __future__ import annotations

import sys
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plait.data.cells import ErrorPolicy, check_policy
from plait.data.images import find_images
from plait.data.tables import is_table_name
from plait.model import Model
from plait.render.progress import Progress, reported
from plait.runtime.engines import load
from plait.tasks.write import Row, to_json, writer
from plait.types import UsageError

PHOTO = "image"


@dataclass(frozen=True)
class Destination:
    """Where captions go.

    Attributes:
        out: a .csv or .json file; None prints.
        explain: a folder for pictures of where each word looked.
        as_json: print JSON.
    """

    out: Path | None = None
    explain: Path | None = None
    as_json: bool = False


def caption_photos(
    paths: Sequence[Path],
    model_name: str,
    options: Mapping[str, Any],
    on_bad: str,
    destination: Destination,
    engine: str = "torch",
    progress: Progress | None = None,
) -> None:
    """Caption photos and folders of photos.

    Raises:
        UsageError: there is no photo or no such model, or the model takes something else.
        PlaitError: a photo can't be used and the policy is ``stop``.
    """
    for path in paths:
        if is_table_name(path.name):
            raise UsageError(f"{path} is a table", hint=f"try: plait predict {model_name} {path}")
    policy = ErrorPolicy(check_policy(on_bad), in_table=False)
    model, photos = load(model_name, engine), find_images(paths)
    if not photos:
        raise UsageError("no photo in " + ", ".join(map(str, paths)))
    model.decoding_options(**options)  # checked before any photo is read
    outputs, out = model.parts.outputs, destination.out
    write = writer(out, outputs) if out else None
    rows = _captions(model, photos, policy, options, progress)
    if destination.explain is not None:
        rows = _explained(rows, model, destination.explain)
    if write is not None:
        print(f"{write(rows)} of {len(photos)} photos captioned, written to {out}")
    elif destination.as_json:
        print(to_json(rows, outputs))
    else:
        _print(rows)
    if policy.failures:
        from plait.render.console import show_bad  # rich is slow to import

        show_bad(policy.failures)


def _captions(
    model: Model,
    photos: Sequence[Path],
    policy: ErrorPolicy,
    options: Mapping[str, Any],
    progress: Progress | None,
) -> Iterator[Row]:
    """Each photo with its answers; None for photos that can't be used."""
    name = _photo_input(model)
    records = [{name: path} for path in photos]
    answers = model.predict_batch(records, policy=policy, **options)
    for number, (photo, answer) in enumerate(
        zip(photos, reported(answers, "answers", len(photos), progress), strict=True)
    ):
        unusable = (number, name) in policy.handled
        yield {PHOTO: str(photo)}, None if unusable else answer


def _photo_input(model: Model) -> str:
    """The model's only input, a photo."""
    names = [name for name, modality in model.inputs.items() if modality == PHOTO]
    if len(model.inputs) != 1 or not names:
        raise UsageError(
            f"the model {model.name!r} takes {', '.join(model.inputs)}",
            expected="a model with one input, a photo",
            hint="use plait predict MODEL TABLE",
        )
    return names[0]


def _explained(rows: Iterable[Row], model: Model, folder: Path) -> Iterator[Row]:
    """The same rows; on the way, a picture of each answer's attention is written."""
    used: set[str] = set()
    for identity, answers in rows:
        if answers is not None:
            photo = Path(identity[PHOTO])
            stem = _unused_stem(photo, used)
            used.add(stem)
            model.attention(photo, answers[model.output]).save(folder / f"{stem}.png")
        yield identity, answers
    print(f"attention pictures are in {folder}", file=sys.stderr)


def _unused_stem(photo: Path, used: Container[str]) -> str:
    """The photo's name, with as many of its folders' names before it as make it unique."""
    stem = photo.stem
    for folder in photo.absolute().parents:
        if stem not in used:
            break
        stem = f"{folder.name}-{stem}"
    while stem in used:  # a.png and a.jpg in one folder
        stem += "_"
    return stem


def _print(rows: Iterable[Row]) -> None:
    for identity, answers in rows:
        for output, prediction in (answers or {}).items():
            start = f"{identity[PHOTO]}: "
            if answers and len(answers) > 1:
                start = f"{identity[PHOTO]}, {output}: "
            values = [prediction.value, *(other.value for other in prediction.alternatives)]
            for rank, value in enumerate(values):
                text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
                print(f"{' ' * len(start) if rank else start}{text}")
        sys.stdout.flush()
