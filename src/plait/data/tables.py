"""Tables of records, from files of many formats or folders.

A cell is a plain Python value: a string, a number, bytes, a list, or None if it is empty. Paths in
cells are relative to the table's ``root``. A CSV column becomes numbers only if every cell is
written as a number, so that a name such as ``007`` stays a name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from numbers import Real
from pathlib import Path
from typing import Any, Literal

from plait.data import readers
from plait.data.audio import has_sound_start, has_sound_suffix
from plait.data.dates import is_date
from plait.data.images import find_images, has_image_start, has_image_suffix
from plait.data.lazy import LazyColumn, take
from plait.data.media import name_cell
from plait.data.readers import Columns
from plait.data.series import has_series_start, has_series_suffix
from plait.data.video import has_video_start, has_video_suffix, is_animation
from plait.types import ColumnName, PlaitError, UsageError
from plait.util.digests import digest
from plait.util.files import is_file, is_folder
from plait.util.suggest import did_you_mean

Wanted = Literal[
    "image", "text", "audio", "video", "series", "category", "number", "labels", "split"
]

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Words in a split column -> the split they mean."""

NAMES: dict[Wanted, tuple[str, ...]] = {
    "image": (
        "image",
        "photo",
        "picture",
        "img",
        "image_path",
        "file_name",
        "filename",
        "path",
        "file",
        "filepath",
        "image_name",
        "image_id",
        "jpg",
        "png",
    ),
    "text": (
        "caption",
        "captions",
        "text",
        "texts",
        "sentence",
        "sentences",
        "description",
        "comment",
        "raw",
        "reference",
        "references",
    ),
    "audio": ("audio", "sound", "recording", "wav", "speech", "clip"),
    "series": (
        "series",
        "sensor",
        "sensors",
        "signal",
        "signals",
        "inertial",
        "imu",
        "accelerometer",
        "acceleration",
        "gyroscope",
        "skeleton",
        "ecg",
        "eeg",
        "emg",
    ),
    "video": ("video", "movie", "film", "clip", "depth"),
    "category": ("label", "class", "category", "target", "sentiment", "y"),
    "number": (
        "number",
        "target",
        "value",
        "score",
        "rating",
        "price",
        "amount",
        "steering",
        "angle",
        "age",
        "y",
    ),
    "labels": ("labels", "tags", "classes", "categories", "genres", "topics", "keywords"),
    "split": ("split", "set", "partition", "subset"),
}
"""Usual names of the columns wanted, the likeliest first."""

FOLDER_TABLES = tuple(
    f"{name}{suffix}"
    for name in ("metadata", "captions")
    for suffix in (".csv", ".jsonl", ".txt", ".tsv", ".parquet", ".csv.gz", ".jsonl.gz")
)
IMAGE_FOLDERS = (
    ".",
    "Images",
    "images",
    "Flicker8k_Dataset",
    "Flickr8k_Dataset",
    "../Flicker8k_Dataset",
    "../Images",
    "../images",
    "Flicker8k_Dataset/Flicker8k_Dataset",
)
LABEL_WORDS = 3  # of a label at the most, where a column is guessed
SAMPLE = 200  # cells looked at when a column is guessed
START = 64  # bytes of a file that tell its kind
LONGEST_WORD = 60  # letters of a cell that may be one of a few words


@dataclass(frozen=True)
class Table:
    """Records by column: every column is a sequence with one cell per row. Large columns of a
    Parquet file are read as they are needed, and not kept.

    Attributes:
        path: where the table came from, for messages.
        root: the folder that relative paths in cells start from.
        columns: name -> cells, all of the same length.
        numbers: each row's number in the file, counted from 1, if rows were selected or grouped.
        records: whether every row is one record, so that rows need no more grouping.
    """

    path: Path
    root: Path
    columns: Columns
    numbers: Sequence[int] | None = None
    records: bool = False

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))

    def column(self, name: ColumnName) -> Sequence[Any]:
        """The cells of a column; for several columns, a mapping from column to cell for each row.

        Raises:
            UsageError: there is no such column; the message lists the columns.
        """
        if not isinstance(name, str):
            rows = zip(*map(self.column, name), strict=True)
            return [dict(zip(name, row, strict=True)) for row in rows]
        if name not in self.columns:
            raise UsageError(
                f"{self.path} has no column {name!r}",
                expected=f"one of: {', '.join(self.columns)}",
                hint=did_you_mean(name, self.columns),
            )
        return self.columns[name]

    def number(self, row: int) -> int:
        """The row's number in the file, counted from 1."""
        return row + 1 if self.numbers is None else self.numbers[row]

    def where(self, indexes: Iterable[int]) -> Table:
        """The rows at these indexes, in this order."""
        rows = list(indexes)
        columns = {name: take(cells, rows) for name, cells in self.columns.items()}
        return replace(self, columns=columns, numbers=[self.number(i) for i in rows])


def read_table(path: str | Path) -> Table:
    """Read a table.

    Args:
        path: a CSV (separated by ``,`` ``;`` ``|`` or tabs), TSV or JSON Lines file, optionally
            gzipped (``.gz``); a Parquet or COCO captions JSON file; a folder with a table such as
            ``metadata.csv`` or ``captions.txt``, with the published Flickr8k files, or with images
            only; or ``hub:NAME``, a data set of the Hugging Face Hub.

    Returns:
        The table. Numbered caption columns (``caption_0``, ``caption_1``...) are also collected in
        a column of lists.

    Raises:
        PlaitError: the table is missing, empty or damaged; the message names the file and line.
    """
    if str(path).startswith("hub:"):
        table = _read_hub(str(path)[4:])
    elif is_folder(Path(path)):
        table = _read_folder(Path(path))
    else:
        table = _read_file(Path(path))
    if not len(table):
        raise PlaitError(f"{path} has no rows", expected="a header and at least one row")
    return replace(table, columns=_gather_numbered(table.columns))


def group_captions(
    table: Table,
    image: ColumnName,
    caption: str,
    photos: Mapping[str, Callable[[Any], Hashable]] | None = None,
) -> Table:
    """One row per photo, with its captions as a list of strings (without empty cells).

    Rows with equal image cells are one photo; rows with an empty image cell are not grouped. A
    column that varies within a photo describes the captions, not the photo, and is dropped.

    Args:
        table: the records, one row per caption.
        image: the column of photos.
        caption: the column of captions.
        photos: columns that describe the photo, such as its split, and must not vary; each with
            the key of a cell that must be equal.

    Raises:
        PlaitError: one of ``photos`` varies within a photo.
    """
    groups: dict[Any, list[int]] = {}
    for row, cell in enumerate(table.column(image)):
        key = cell_key(cell)
        groups.setdefault(("row", row) if key is None else key, []).append(row)
    texts, firsts = table.column(caption), [rows[0] for rows in groups.values()]
    columns: Columns = {}
    photos = photos or {}
    for name, cells in table.columns.items():
        keys = [photos.get(name, cell_key)(cell) for cell in cells]
        if name == caption:
            columns[name] = [
                [t for row in rows for t in _texts(texts[row])] for rows in groups.values()
            ]
        elif all(keys[row] == keys[rows[0]] for rows in groups.values() for row in rows):
            columns[name] = take(cells, firsts)
        elif name in photos:
            raise PlaitError(
                _differing(table, image, name, keys, groups), hint="give each photo a single value"
            )
    numbers = [table.number(row) for row in firsts]
    return replace(table, columns=columns, numbers=numbers)


def cell_key(cell: Any) -> Hashable:
    """A small key of any cell, equal for equal cells; None for an empty one."""
    if isinstance(cell, Mapping) and all(cell_key(value) is None for value in cell.values()):
        return None
    if cell is None or cell == "" or cell == b"" or cell != cell:  # the last is NaN
        return None
    if isinstance(cell, bytes):
        return "bytes", digest(cell)
    return cell if isinstance(cell, (str, int, float)) else repr(cell)


def split_key(cell: Any) -> Hashable:
    """A key of a cell in a split column, equal for words with the same meaning."""
    return SPLIT_WORDS.get(str(cell).strip().lower(), cell_key(cell))


def guess_column(table: Table, wanted: Wanted) -> str | None:
    """The column that most likely holds what is wanted; None if there is none.

    First choice is a column with a usual name whose cells are possible; then the first column whose
    cells can't be anything else.
    """
    if wanted not in NAMES:
        return None
    known = {name.lower(): name for name in reversed(table.columns)}
    for name in NAMES[wanted]:
        if name in known and _share(table, known[name], POSSIBLE[wanted]) > 0.5:
            return known[name]
    return next(iter(certain_columns(table, wanted)), None)


def certain_columns(table: Table, wanted: Wanted) -> list[str]:
    """The columns whose cells can only be what is wanted."""
    return [name for name in table.columns if _share(table, name, CERTAIN[wanted]) > 0.8]


def plain_columns(table: Table, used: Iterable[str]) -> list[str]:
    """The unused columns of numbers, booleans, dates, or words that recur."""
    left = [name for name in table.columns if name not in set(used)]
    return [name for name in left if _share(table, name, _is_plain) > 0.8 and _recurs(table, name)]


def _recurs(table: Table, name: str) -> bool:
    """Whether a column has few different words, if any: no names, no free text."""
    words = [c for c in _sample(table, name) if isinstance(c, str) and not _is_written_value(c)]
    return len(set(words)) <= max(1, len(words) // 2)


def _sample(table: Table, name: str) -> list[Any]:
    """Some non-empty cells of a column."""
    cells = table.columns[name]
    if isinstance(cells, LazyColumn):
        some: Sequence[Any] = cells.sample(SAMPLE, START)
    else:
        some = cells[:: max(1, len(cells) // SAMPLE)]
    return [cell for cell in some if cell not in (None, "", [])]


def _share(table: Table, name: str, test: Callable[[Any], bool]) -> float:
    """The share of a sample of non-empty cells that pass a test."""
    sample = _sample(table, name)
    return sum(map(test, sample)) / len(sample) if sample else 0.0


def _is_image(cell: Any) -> bool:
    if isinstance(cell, bytes):
        return has_image_start(cell)
    return isinstance(cell, str) and has_image_suffix(cell)


def _is_sound(cell: Any) -> bool:
    if isinstance(cell, bytes):
        return has_sound_start(cell)
    return isinstance(cell, str) and has_sound_suffix(cell)


def _is_series(cell: Any) -> bool:
    if isinstance(cell, bytes):
        return has_series_start(cell)
    if isinstance(cell, Mapping):
        return bool(cell) and all(isinstance(c, list) and _are_numbers(c) for c in cell.values())
    if isinstance(cell, list):
        return _are_numbers(cell)
    return isinstance(cell, str) and has_series_suffix(cell)


def _are_numbers(cell: Any) -> bool:
    """A number or a gap, or lists of them; of each list the start is looked at."""
    if isinstance(cell, list):
        return bool(cell) and all(map(_are_numbers, cell[:10]))
    return cell is None or isinstance(cell, (int, float))


def _is_plain(cell: Any) -> bool:
    if isinstance(cell, str):
        return len(cell) <= LONGEST_WORD and not has_image_suffix(cell) and not _is_sound(cell)
    return isinstance(cell, (Real, Decimal, date))


def _is_written_value(cell: str) -> bool:
    return readers.NUMBER.fullmatch(cell.strip()) is not None or is_date(cell)


def _is_number(cell: Any) -> bool:
    return isinstance(cell, (int, float)) and not isinstance(cell, bool)


def _is_labels(cell: Any) -> bool:
    """A list of short texts; longer ones are captions."""
    return isinstance(cell, list) and all(
        isinstance(item, str) and len(item.split()) <= LABEL_WORDS for item in cell
    )


def _is_video(cell: Any) -> bool:
    if isinstance(cell, bytes):
        return has_video_start(cell)
    return isinstance(cell, str) and has_video_suffix(cell)


def _may_be_sound(cell: Any) -> bool:
    return isinstance(cell, (str, bytes)) and not (_is_text(cell) or _is_video(cell))


def _may_be_video(cell: Any) -> bool:
    """A video, a GIF, or what may be a folder of frames."""
    if not isinstance(cell, (str, bytes)) or _is_text(cell) or _is_sound(cell):
        return False
    return is_animation(cell) or not _is_image(cell)


def _is_class(cell: Any) -> bool:
    media = any(known(cell) for known in (_is_sound, _is_image, _is_video, _is_series))
    return isinstance(cell, (str, bool, int)) and not media


def _is_text(cell: Any) -> bool:
    if isinstance(cell, list):
        return all(isinstance(item, str) for item in cell)
    if not isinstance(cell, str) or " " not in cell.strip():
        return False
    return not (has_image_suffix(cell) or has_sound_suffix(cell) or has_video_suffix(cell))


def _is_split(cell: Any) -> bool:
    return isinstance(cell, str) and cell.strip().lower() in SPLIT_WORDS


POSSIBLE: dict[Wanted, Callable[[Any], bool]] = {
    "image": lambda cell: isinstance(cell, (str, bytes)) and not _is_text(cell),
    "text": lambda cell: isinstance(cell, str) or _is_text(cell),
    "audio": _may_be_sound,
    "video": _may_be_video,
    "series": lambda cell: (
        _is_series(cell) or (isinstance(cell, (str, bytes)) and not _is_text(cell))
    ),
    "category": _is_class,
    "number": _is_number,
    "labels": lambda cell: _is_labels(cell) or _is_class(cell),
    "split": _is_split,
}
CERTAIN: dict[Wanted, Callable[[Any], bool]] = {
    "image": _is_image,
    "text": _is_text,
    "audio": _is_sound,
    "series": _is_series,
    "video": _is_video,
    "category": lambda cell: False,  # anything short may be one
    "number": lambda cell: False,  # any may be meant
    "labels": _is_labels,
    "split": _is_split,
}


def _texts(cell: Any) -> list[str]:
    """The captions in a cell, possibly none."""
    items = cell if isinstance(cell, list) else [cell]
    return [str(item) for item in items if cell_key(item) is not None and str(item).strip()]


def _differing(
    table: Table,
    image: ColumnName,
    name: str,
    keys: Sequence[Hashable],
    groups: dict[Any, list[int]],
) -> str:
    """Describes the first photo with several values, and a row of each."""
    cells, photos = table.columns[name], table.column(image)
    for rows in groups.values():
        first: dict[Hashable, int] = {}
        for row in rows:
            first.setdefault(keys[row], row)
        if len(first) > 1:
            values = ", ".join(f"{cells[row]} (row {table.number(row)})" for row in first.values())
            return f"{name_cell(photos[rows[0]])} has several values in column {name!r}: {values}"
    return ""


def _gather_numbered(columns: Columns) -> Columns:
    """Add a column ``caption`` if there are ``caption_0``, ``caption_1``..."""
    numbered: dict[str, list[str]] = {}
    for name in columns:
        base = re.sub(r"[_ -]?\d+$", "", name)
        if base != name and base.lower() in NAMES["text"] and base not in columns:
            numbered.setdefault(base, []).append(name)
    return columns | {
        base: [_texts(list(row)) for row in zip(*(columns[n] for n in names), strict=True)]
        for base, names in numbered.items()
        if len(names) > 1
    }


def _read_file(path: Path) -> Table:
    suffix = _suffix(path.name)
    if suffix == "json":
        return _rooted(path, readers.read_json(path), readers.coco_folders(path))
    if suffix in READERS:
        return _rooted(path, READERS[suffix](path), _usual_folders(path.parent))
    if not path.exists():
        raise readers.missing(path)
    hint = "to caption a photo: plait caption FILE" if has_image_suffix(path.name) else ""
    raise PlaitError(f"{path} is not a known kind of table", expected=readers.KINDS, hint=hint)


def is_table_name(name: str) -> bool:
    """Whether a file name has the suffix of a table."""
    return _suffix(name) in {*READERS, "json"}


def _suffix(name: str) -> str:
    return name.lower().removesuffix(".gz").rpartition(".")[2]


READERS: dict[str, Callable[[Path], Columns]] = {
    **dict.fromkeys(("csv", "tsv", "txt"), readers.read_csv),
    **dict.fromkeys(("jsonl", "ndjson"), readers.read_lines),
    "parquet": readers.read_parquet,
}


def _read_folder(folder: Path) -> Table:
    """The Flickr8k files, or else a table with a usual name, or else the images alone."""
    for texts in (folder, folder / "Flickr8k_text"):
        if (texts / readers.FLICKR_TOKENS).is_file():
            return _rooted(texts, readers.read_flickr8k(texts), _usual_folders(texts))
    for name in FOLDER_TABLES:
        if (folder / name).is_file():
            return _read_file(folder / name)
    images = [path.relative_to(folder).as_posix() for path in find_images([folder])]
    return Table(folder, folder, {"image": images})


def _read_hub(name: str) -> Table:
    return Table(Path(f"hub:{name}"), Path.cwd(), readers.read_hub(name))


def _usual_folders(folder: Path) -> list[Path]:
    return [folder / name for name in IMAGE_FOLDERS]


def _rooted(path: Path, columns: Columns, folders: Sequence[Path]) -> Table:
    """The table, with the first folder that contains one of its first images as root."""
    folder = path if path.is_dir() else path.parent
    table = Table(path, folder, columns)
    image = guess_column(table, "image")
    names = [c for c in _sample(table, image) if isinstance(c, str)][:20] if image else []
    roots = (root for root in folders if any(is_file(root / name) for name in names))
    return replace(table, root=next(roots, folder))
