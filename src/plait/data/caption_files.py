"""Captions as data sets publish them: each layout is a function that returns its columns, or None
for a file of another layout.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from plait.data.images import IMAGE
from plait.data.lazy import Columns
from plait.render.numbers import counted
from plait.types import PlaitError

log = logging.getLogger("plait")

FLICKR8K_LISTS = {"train": "train", "dev": "val", "test": "test"}
LJ_SOUNDS = "wavs"
KEPT = ("domain", "split")
"""Of what COCO's files say of an image, the columns that are kept: nocaps has domains."""
UNUSABLE = ("is_rejected", "is_precanned")
"""Marks of VizWiz for captions that are no descriptions."""

_TOKEN = re.compile(r"([^\t]+)#\d+\t(.*)")
_RESULT = re.compile(r"([^|]+)\|\s*\d+\s*\|?\s*(.*)")  # one line of Flickr30k lacks its second bar


def read_caption_json(content: Any, path: Path) -> Columns | None:
    """The columns of published captions in JSON; None for other JSON.

    Raises:
        PlaitError: something of the layout is missing.
    """
    try:
        for layout in JSON_LAYOUTS:
            columns = layout(content, path)
            if columns is not None:
                return columns
    except (KeyError, TypeError, AttributeError) as error:
        raise PlaitError(
            f"{path} lacks {error} in an image or annotation",
            expected="images with id, file_name; annotations with image_id, caption",
            hint="use captions_*.json, not instances_*.json",
        ) from None
    return None


def read_caption_lines(text: str, path: Path) -> Columns | None:
    """The columns of published captions in lines of text; None for other text.

    Raises:
        PlaitError: a line is not as the others.
    """
    first = text.lstrip().partition("\n")[0]
    token = _TOKEN.match(first)
    if token and IMAGE.has_suffix(re.sub(r"\.\d+$", "", token[1])):  # some end in .jpg.1
        return _flickr8k(text, path)
    cells = [cell.strip() for cell in first.split("|")]
    if cells == ["image_name", "comment_number", "comment"]:
        return _flickr30k(text, path)
    if len(cells) == 3 and (path.parent / LJ_SOUNDS / f"{cells[0]}.wav").is_file():
        return _ljspeech(text, path)
    return None


def _karpathy(content: Any, path: Path) -> Columns | None:
    """``dataset_coco.json``, ``dataset_flickr8k.json``, ``dataset_flickr30k.json``: the splits of
    Karpathy and Fei-Fei 2015 (arXiv:1412.2306). Their "restval" is used for training."""
    images = _records(content, "images")
    if not images or "sentences" not in images[0]:
        return None
    split = {"restval": "train"}
    return {
        "image": [_join(image.get("filepath"), image["filename"]) for image in images],
        "captions": [[s["raw"] for s in image["sentences"]] for image in images],
        "split": [split.get(image["split"], image["split"]) for image in images],
    }


def _coco(content: Any, path: Path) -> Columns | None:
    """``captions_train2017.json``, and the likes of it: VizWiz, nocaps. Without annotations, as
    for test images, there are images alone."""
    images = _records(content, "images")
    if images is None or not ("annotations" in content or all("file_name" in i for i in images)):
        return None
    names = [image["file_name"] for image in images]
    captions: dict[Any, list[str]] = {image["id"]: [] for image in images}
    rejected: set[Any] = set()
    used = 0
    for annotation in content.get("annotations", ()):
        key = annotation["image_id"]
        if key not in captions:
            raise PlaitError(f"{path}: a caption's image {key} is not among the images")
        if any(annotation.get(mark) for mark in UNUSABLE):
            rejected.add(key)
        else:
            captions[key].append(annotation["caption"])
            used += 1
    left_out = {key for key in rejected if not captions[key]}
    if rejected:
        total = len(content["annotations"])
        log.warning(
            "%s: %d of %s left out, as they are marked as rejected or precanned, and so are images "
            "that have no other: %d",
            path, total - used, counted(total, "caption"), len(left_out),
        )  # fmt: skip
    rows = [row for row, image in enumerate(images) if image["id"] not in left_out]
    columns: Columns = {"image": [names[row] for row in rows]}
    if "annotations" in content:
        columns["captions"] = [captions[images[row]["id"]] for row in rows]
    extra = [name for name in KEPT if any(name in image for image in images)]
    return columns | {name: [images[row].get(name) for row in rows] for name in extra}


JSON_LAYOUTS: Sequence[Callable[[Any, Path], Columns | None]] = (_karpathy, _coco)
"""The first that knows a file reads it."""


def _records(content: Any, name: str) -> list[dict[str, Any]] | None:
    """The list of records of that name in a JSON object."""
    records = content.get(name) if isinstance(content, dict) else None
    if not isinstance(records, list):
        return None
    dicts = all(isinstance(record, dict) for record in records)
    return records if dicts or "annotations" in content else None


def _join(folder: str | None, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _flickr8k(text: str, path: Path) -> Columns:
    """``Flickr8k.token.txt``, ``results_20130124.token``: lines of name.jpg#0, a tab, a caption;
    with the splits, if their lists lie beside it."""
    lines = ((number, line.strip("\r")) for number, line in enumerate(text.split("\n"), start=1))
    captions = _gathered(lines, _TOKEN, path, "name.jpg#0<TAB>caption")
    splits: dict[str, str] = {}
    for part, split in FLICKR8K_LISTS.items():
        listed = path.parent / f"Flickr_8k.{part}Images.txt"
        if path.name.startswith("Flickr8k") and listed.is_file():
            splits.update(dict.fromkeys(listed.read_text("utf-8").split(), split))
    columns: Columns = {"image": list(captions), "captions": list(captions.values())}
    return columns | ({"split": [splits.get(name) for name in captions]} if splits else {})


def _flickr30k(text: str, path: Path) -> Columns:
    """``results.csv``: a header, and lines of name.jpg| 0| caption."""
    lines = ((number, line.strip()) for number, line in enumerate(text.split("\n"), start=1))
    rows = (line for line in lines if not line[1].startswith("image_name"))
    captions = _gathered(rows, _RESULT, path, "name.jpg| 0| caption")
    return {"image": list(captions), "captions": list(captions.values())}


def _ljspeech(text: str, path: Path) -> Columns:
    """LJ Speech's ``metadata.csv``: lines of a sound's name, its text, and that text as it is read
    aloud, without a header."""
    rows = [line.split("|") for line in text.splitlines() if line.strip()]
    for number, row in enumerate(rows, start=1):
        if len(row) != 3:
            raise PlaitError(f"{path} line {number} is broken", expected="name|text|text")
    names = [f"{LJ_SOUNDS}/{name}.wav" for name, _, _ in rows]
    return {
        "audio": names,
        "text": [text for _, text, _ in rows],
        "normalized_text": [text for _, _, text in rows],
    }


def _gathered(
    lines: Iterable[tuple[int, str]], pattern: re.Pattern[str], path: Path, expected: str
) -> dict[str, list[str]]:
    """Image -> its captions, from numbered lines."""
    captions: dict[str, list[str]] = {}
    for number, line in lines:
        found = pattern.fullmatch(line)
        if found:
            captions.setdefault(found[1].strip(), []).append(found[2].strip())
        elif line.strip():
            raise PlaitError(f"{path} line {number} is broken", expected=expected)
    return captions
