"""Tables of records, from whatever file or folder the user has them in.

A cell is a plain Python value: a string, a number, bytes, a list, or None where it is empty.
Paths in cells are relative to the table's ``root``. A CSV's columns become numbers only where
every cell is written as numbers are, so that a name such as ``007`` stays a name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plait.data import readers
from plait.data.images import find_images, has_image_suffix
from plait.data.lazy import LazyColumn, take
from plait.data.media import name_cell
from plait.data.readers import Columns
from plait.data.texts import COLUMN_NAMES, SUFFIX
from plait.types import ColumnName, PlaitError, UsageError
from plait.util.digests import digest
from plait.util.files import is_folder
from plait.util.suggest import did_you_mean

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What a split column may say -> the split it means."""

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
SAMPLE = 200  # cells looked at to tell what a column holds
START = 64  # bytes of a file that tell its kind
FILES = 20  # cells looked at to find the folder that their files lie in


@dataclass(frozen=True)
class Table:
    """Records by column; every column is a sequence with one cell a row. Large columns of a
    Parquet file are read from it as they are needed; whoever walks over them keeps no cells.

    Attributes:
        path: where the table came from, for messages.
        root: the folder in which relative paths in cells are looked up.
        columns: name -> cells, all of one length.
        numbers: each record's row in the file, counted from 1, where rows were taken out or
            gathered.
        records: whether every row is a record already, so that none are gathered any more.
    """

    path: Path
    root: Path
    columns: Columns
    numbers: Sequence[int] | None = None
    records: bool = False

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))

    def column(self, name: ColumnName) -> Sequence[Any]:
        """The cells of a column; of several columns, each row's as a mapping by their names.

        Raises:
            UsageError: there is no such column; the message names those that there are.
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

    def sample(self, name: str) -> list[Any]:
        """Some of a column's filled cells; of large files in a Parquet file the first bytes."""
        cells = self.columns[name]
        if isinstance(cells, LazyColumn):
            some: Sequence[Any] = cells.sample(SAMPLE, START)
        else:
            some = cells[:: max(1, len(cells) // SAMPLE)]
        return [cell for cell in some if cell not in (None, "", [])]

    def number(self, row: int) -> int:
        """The row's number in the file, counted from 1."""
        return row + 1 if self.numbers is None else self.numbers[row]

    def where(self, indexes: Iterable[int]) -> Table:
        """The rows of these numbers, in this order."""
        rows = list(indexes)
        columns = {name: take(cells, rows) for name, cells in self.columns.items()}
        return replace(self, columns=columns, numbers=[self.number(i) for i in rows])


def read_table(path: str | Path) -> Table:
    """Reads a table.

    CSV (its separator may be ``,`` ``;`` ``|`` or a tab), TSV, JSON Lines, each also with
    ``.gz`` behind it; Parquet; COCO's captions JSON; a folder that holds ``metadata.csv``,
    ``captions.txt`` or the like, the published Flickr8k files, or only pictures; ``hub:NAME``.
    Numbered caption columns (``caption_0``, ``caption_1``...) are kept and also gathered in
    one column of lists.

    Raises:
        PlaitError: the table is missing, empty or broken; the message names the file and line.
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
    """One row a photo, its captions as a list of strings (empty cells left out).

    Rows are the same photo when their image cells are equal; rows without one stay apart. A
    column that differs within a photo tells of its captions, not of it, and is dropped.

    Args:
        photos: columns that tell of the photo, such as its split, and so may not differ, each
            with what of its cells must be equal.

    Raises:
        PlaitError: one of those does.
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
                _differing(table, image, name, keys, groups), hint="give each photo one of them"
            )
    numbers = [table.number(row) for row in firsts]
    return replace(table, columns=columns, numbers=numbers)


def cell_key(cell: Any) -> Hashable:
    """Something small that is equal where cells are, for any cell; None for an empty one."""
    if isinstance(cell, Mapping) and all(cell_key(value) is None for value in cell.values()):
        return None
    if cell is None or cell == "" or cell == b"" or cell != cell:  # the last is NaN
        return None
    if isinstance(cell, bytes):
        return "bytes", digest(cell)
    return cell if isinstance(cell, (str, int, float)) else repr(cell)


def split_key(cell: Any) -> Hashable:
    """Something that is equal where cells of a split column mean the same."""
    return SPLIT_WORDS.get(str(cell).strip().lower(), cell_key(cell))


def _texts(cell: Any) -> list[str]:
    """The captions in a cell: none, one or several."""
    items = cell if isinstance(cell, list) else [cell]
    return [str(item) for item in items if cell_key(item) is not None and str(item).strip()]


def _differing(
    table: Table,
    image: ColumnName,
    name: str,
    keys: Sequence[Hashable],
    groups: dict[Any, list[int]],
) -> str:
    """Names the first photo with several values, and a row of each."""
    cells, photos = table.columns[name], table.column(image)
    for rows in groups.values():
        first: dict[Hashable, int] = {}
        for row in rows:
            first.setdefault(keys[row], row)
        if len(first) > 1:
            found = ", ".join(f"{cells[row]} (row {table.number(row)})" for row in first.values())
            return f"{name_cell(photos[rows[0]])} has several values of column {name!r}: {found}"
    return ""


def _gather_numbered(columns: Columns) -> Columns:
    """Adds the column ``caption`` where there are ``caption_0``, ``caption_1``..."""
    found: dict[str, list[str]] = {}
    for name in columns:
        base = re.sub(r"[_ -]?\d+$", "", name)
        if base != name and base.lower() in COLUMN_NAMES and base not in columns:
            found.setdefault(base, []).append(name)
    return columns | {
        base: [_texts(list(row)) for row in zip(*(columns[n] for n in names), strict=True)]
        for base, names in found.items()
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
    mend = "for photos: plait caption FILE" if has_image_suffix(path.name) else ""
    raise PlaitError(f"can't tell what kind of table {path} is", expected=readers.KINDS, hint=mend)


def is_table_name(name: str) -> bool:
    """Whether a file's name ends as a table's does."""
    return _suffix(name) in {*READERS, "json"}


def _suffix(name: str) -> str:
    return name.lower().removesuffix(".gz").rpartition(".")[2]


READERS: dict[str, Callable[[Path], Columns]] = {
    **dict.fromkeys(("csv", "tsv", "txt"), readers.read_csv),
    **dict.fromkeys(("jsonl", "ndjson"), readers.read_lines),
    "parquet": readers.read_parquet,
}


def _read_folder(folder: Path) -> Table:
    """Flickr8k's files, else a table of a usual name, else the pictures alone."""
    for place in (folder, folder / "Flickr8k_text"):
        if (place / readers.FLICKR_TOKENS).is_file():
            return _rooted(place, readers.read_flickr8k(place), _usual_folders(place))
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
    """The table; its root is the first folder that has one of the first files that it names."""
    folder = path if path.is_dir() else path.parent
    table = Table(path, folder, columns)
    names = [
        cell
        for column in columns
        for cell in table.sample(column)[:FILES]
        if isinstance(cell, str) and SUFFIX.search(cell)
    ]
    found = (place for place in folders if any(_is_file(place / name) for name in names))
    return replace(table, root=next(found, folder))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long for a file, a folder that may not be entered
        return False
