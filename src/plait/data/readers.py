"""Reads columns from files: CSV, JSON Lines, Parquet, COCO, Flickr8k, the Hugging Face Hub.

Each function returns the columns of one file; `plait.data.tables` picks the function and finds the
folder with the images.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from plait.data.images import IMAGE
from plait.data.lazy import ColumnBlocks, LazyColumn, large_columns
from plait.types import PlaitError
from plait.util.imports import needed

Columns = dict[str, Sequence[Any]]

KINDS = ".csv, .tsv, .jsonl, .json (COCO captions), .parquet, a folder, or hub:NAME"
SEPARATORS = ",;\t|"
HALF_PAIR = re.compile("[\ud800-\udfff]")
MAX_CELL = 1 << 27  # characters per CSV cell; the column's modality has its own, lower limit
NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?")
FLICKR_TOKENS = "Flickr8k.token.txt"
FLICKR_LISTS = {"train": "train", "dev": "val", "test": "test"}


def missing(path: Path) -> PlaitError:
    """The error for a missing table."""
    return PlaitError(f"there is no table {path}", expected=KINDS, hint="check the path")


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, decompressed if its name ends in .gz. Raises PlaitError if the file
    is missing, truncated, or not UTF-8 (the message names the line)."""
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix.lower() == ".gz" else data
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = f"{path} line {line} is not UTF-8 text (byte {data[error.start]:#04x})"
        raise PlaitError(what, hint="save the file as UTF-8") from None
    except FileNotFoundError:
        raise missing(path) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise PlaitError(f"{path} is not a valid gzip file ({error})") from None
    except OSError as error:
        raise PlaitError(f"{path} can't be read ({error.strerror})") from None


def read_csv(path: Path) -> Columns:
    """CSV or TSV. A first row that starts with an image's name is a record, not the header. Raises
    PlaitError if a line has too few or too many cells, a quote is not closed, or two columns have
    the same name."""
    lines = _cells_of_lines(read_text(path), path)
    names = [cell.strip() for cell in lines[0]]
    if IMAGE.has_suffix(names[0].partition("#")[0]):
        names = ["image", "caption"] if len(names) == 2 else [""] * len(names)
    else:
        lines = lines[1:]
    names = [name or f"column_{i}" for i, name in enumerate(names)]
    if len(set(names)) < len(names):
        raise PlaitError(f"{path} has two columns with the same name", expected="unique names")
    columns = zip(*lines, strict=True) if lines else [()] * len(names)
    return {name: _typed(cells) for name, cells in zip(names, columns, strict=True)}


def _cells_of_lines(text: str, path: Path) -> list[list[str]]:
    """The cells of each line; the separator is the first of ``,;|`` or tab on line 1."""
    if not text.strip():
        raise PlaitError(f"{path} is empty", expected="a header and at least one row")
    first = text.partition("\n")[0]
    separator = next((s for s in SEPARATORS if s in first), ",")
    if ".tsv" in path.name.lower() or "\t" in first.partition(",")[0]:
        separator = "\t"
    try:
        return _rows(text, path, separator, csv.QUOTE_MINIMAL)
    except PlaitError:
        if separator != "\t":
            raise
        return _rows(text, path, separator, csv.QUOTE_NONE)  # TSV is often written unquoted


def _rows(text: str, path: Path, separator: str, quoting: Any) -> list[list[str]]:
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=separator, quoting=quoting, strict=True)
    rows: list[list[str]] = []
    before = csv.field_size_limit(MAX_CELL)  # for the whole process
    try:
        for row in reader:
            if rows and row and len(row) != len(rows[0]):
                raise PlaitError(
                    f"{path} line {reader.line_num} has {len(row)} cells",
                    expected=f"{len(rows[0])} as in line 1",
                    hint='put cells that contain the separator in quotes ("...")',
                )
            if row:
                rows.append([cell.strip() for cell in row] if separator == "|" else row)
    except csv.Error as error:
        what = f"{path} line {reader.line_num}: {error}"
        raise PlaitError(what, hint="check the quotes up to this line") from None
    finally:
        csv.field_size_limit(before)
    return rows


def _typed(cells: Sequence[str]) -> list[Any]:
    """Cells with None for empty ones; numbers if every other cell is written as a number."""
    filled = [cell for cell in cells if cell]
    if filled and all(NUMBER.fullmatch(cell) for cell in filled):
        whole = all(cell.lstrip("-").isdigit() for cell in filled)
        return [(int(cell) if whole else float(cell)) if cell else None for cell in cells]
    return [cell or None for cell in cells]


def read_lines(path: Path) -> Columns:
    """JSON Lines: one object per line; a key that a line lacks is None. Raises PlaitError if a line
    is not a JSON object; the message names the line."""
    rows = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            rows.append(_json(line, f"{path} line {number}"))
            if not isinstance(rows[-1], dict):
                raise PlaitError(f"{path} line {number} is not a JSON object", expected="{...}")
    return _columns(rows)


def _columns(rows: Sequence[dict[str, Any]]) -> Columns:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [_plain(row.get(name)) for row in rows] for name in names}


def _json(text: str, where: str) -> Any:
    try:
        value = json.loads(text)
        if "\\u" in text:  # UTF-8 can't encode half a surrogate pair
            plain = json.dumps(value, ensure_ascii=False)
            value = json.loads(HALF_PAIR.sub("\ufffd", plain))
        return value
    except ValueError as error:
        raise PlaitError(f"{where} is not JSON ({error})", hint="fix or remove it") from None
    except RecursionError:
        raise PlaitError(f"{where} is JSON nested too deeply") from None


def read_parquet(path: Path) -> Columns:
    """Parquet; a struct of ``bytes`` and ``path``, as the Hugging Face Hub has, is one cell. Large
    columns stay in the file (`plait.data.lazy`). Raises PlaitError if the file is missing or is not
    Parquet, or pyarrow is not installed."""
    pa, parquet = needed("pyarrow", "arrow"), needed("pyarrow.parquet", "arrow")
    if not path.exists():
        raise missing(path)
    try:
        # The file's own schema, without columns that pyarrow would derive from folders' names.
        file = parquet.ParquetFile(path)
        names = file.schema_arrow.names
        if len(set(names)) < len(names):
            raise PlaitError(f"{path} has two columns with the same name", expected="unique names")
        large = large_columns(file, names)
        small = file.read([name for name in names if name not in large] if large else None)
        blocks = {name: ColumnBlocks(path, name, _plain) for name in large}
        return {
            name: LazyColumn(blocks[name], range(len(blocks[name])))
            if name in large
            else [_plain(cell) for cell in small.column(name).to_pylist()]
            for name in names
        }
    except (pa.ArrowException, OSError) as error:
        why = str(error).splitlines()[0]
        raise PlaitError(f"{path} is not a valid Parquet file ({why})") from None


def _plain(cell: Any) -> Any:
    """A cell without the Hub's wrapping: {bytes, path} becomes the one that is set."""
    if isinstance(cell, dict) and cell and cell.keys() <= {"bytes", "path"}:
        return cell.get("bytes") or cell.get("path")
    return cell


def read_json(path: Path) -> Columns:
    """COCO captions as columns ``image`` and ``captions``, or a JSON list of objects. Raises
    PlaitError if the file is neither, or a caption's image is not listed."""
    content = _json(read_text(path), str(path))
    if isinstance(content, list) and all(isinstance(row, dict) for row in content):
        return _columns(content)
    if not isinstance(content, dict) or not {"images", "annotations"} <= content.keys():
        expected = "the keys images and annotations, or a list"
        raise PlaitError(f"{path} is not COCO captions", expected=expected)
    try:
        names = {image["id"]: image["file_name"] for image in content["images"]}
        captions: dict[Any, list[str]] = {key: [] for key in names}
        for annotation in content["annotations"]:
            image, caption = annotation["image_id"], annotation["caption"]
            if image not in captions:
                raise PlaitError(f"{path}: a caption's image {image} is not among the images")
            captions[image].append(caption)
    except (KeyError, TypeError) as error:
        raise PlaitError(
            f"{path} lacks {error} in an image or annotation",
            expected="images with id, file_name; annotations with image_id, caption",
            hint="use captions_*.json, not instances_*.json",
        ) from None
    return {"image": list(names.values()), "captions": list(captions.values())}


def coco_folders(path: Path) -> list[Path]:
    """Where COCO's images may be: train2017 for captions_train2017.json, beside or above it."""
    part = path.stem.rpartition("_")[2]
    above = path.parent.parent
    named = [above / part, path.parent / part, above / "images" / part]
    return [*named, path.parent, path.parent / "images", above / "images"]


def read_flickr8k(folder: Path) -> Columns:
    """The published Flickr8k: columns ``image``, ``captions`` and ``split`` (None if in no list).
    Raises PlaitError if a line is not ``name.jpg#0<TAB>caption``."""
    captions: dict[str, list[str]] = {}
    path = folder / FLICKR_TOKENS
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        name, tab, caption = line.strip("\r").partition("\t")
        if not tab:
            raise PlaitError(f"{path} line {number} is broken", expected="name.jpg#0<TAB>caption")
        captions.setdefault(name.rpartition("#")[0] or name, []).append(caption.strip())
    columns: Columns = {"image": list(captions), "captions": list(captions.values())}
    splits: dict[str, str] = {}
    for part, split in FLICKR_LISTS.items():
        path = folder / f"Flickr_8k.{part}Images.txt"
        if path.exists():
            splits.update(dict.fromkeys(read_text(path).split(), split))
    if splits:
        columns["split"] = [splits.get(name) for name in captions]
    return columns


def read_hub(name: str) -> Columns:
    """A data set of the Hugging Face Hub: all its splits, and a column ``split``. Raises PlaitError
    if the library datasets is not installed, or the data set can't be loaded."""
    library = needed("datasets", "hub")
    try:
        parts = library.load_dataset(name)
    except Exception as error:  # network, name, licence, disk: the library raises anything
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PlaitError(f"the data set hub:{name} can't be loaded ({why})") from error
    return _columns([row for split in parts for row in _hub_rows(parts[split], split)])


def _hub_rows(part: Any, split: str) -> Iterable[dict[str, Any]]:
    """The rows of one split, with media as files' bytes and classes by name."""
    classes = {}
    for name, feature in part.features.items():
        if type(feature).__name__ in {"Image", "Audio", "Video"}:
            part = part.cast_column(name, type(feature)(decode=False))
        elif type(feature).__name__ == "ClassLabel":
            classes[name] = feature.names
    for row in part:
        # Unlabelled test splits have -1 or None.
        named = {n: None if row[n] in (None, -1) else names[row[n]] for n, names in classes.items()}
        yield {"split": split, **row, **named}
