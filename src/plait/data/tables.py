"""Tables of records, from files of many formats or folders.

A cell is a plain Python value: a string, a number, bytes, a list, or None if it is empty. Paths in
cells are relative to the table's ``root``. A CSV column becomes numbers only if every cell is
written as a number, so that a name such as ``007`` stays a name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plait.data import readers
from plait.data.cells import COLUMN_NAMES, SUFFIX, name_cell
from plait.data.images import IMAGE, find_images
from plait.data.lazy import LazyColumn, take
from plait.data.readers import Columns
from plait.types import ColumnName, PlaitError, UsageError
from plait.util.files import digest, is_file, is_folder
from plait.util.suggest import did_you_mean

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Words in a split column -> the split they mean."""

FOLDER_TABLES = tuple(
    f"{name}{suffix}"
    for name in ("metadata", "captions")
    for suffix in (".csv", ".jsonl", ".txt", ".tsv", ".parquet", ".csv.gz", ".jsonl.gz")
)
_FLICKR = "Flicker8k_Dataset"  # as it was published
IMAGE_FOLDERS = [".", "Images", "images", _FLICKR, "Flickr8k_Dataset", f"../{_FLICKR}"]
IMAGE_FOLDERS += ["../Images", "../images", f"{_FLICKR}/{_FLICKR}"]
SAMPLE = 200  # cells examined to see what a column holds
START = 64  # bytes of a file that show its format
FILES = 20  # cells examined to find the folder of their files


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
        Raises UsageError if there is no such column; the message lists the columns."""
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
        """Some non-empty cells of a column; of large files in a Parquet file, the first bytes."""
        cells = self.columns[name]
        if isinstance(cells, LazyColumn):
            cells = cells.sample(SAMPLE, START)
        else:
            cells = cells[:: max(1, len(cells) // SAMPLE)]
        return [cell for cell in cells if cell not in (None, "", [])]

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

    Example:
        >>> list(plait.read_table("photos.csv").columns)
    """
    if str(path).startswith("hub:"):
        table = Table(Path(path), Path.cwd(), readers.read_hub(str(path)[4:]))
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
    columns: Columns = {
        caption: [[t for row in rows for t in _texts(texts[row])] for rows in groups.values()]
    }
    for name in [name for name in table.columns if name != caption]:
        cells, key_of = table.columns[name], (photos or {}).get(name, cell_key)
        keys = [key_of(cell) for cell in cells]
        varying = (rows for rows in groups.values() if len({keys[row] for row in rows}) > 1)
        if (rows := next(varying, None)) is None:
            columns[name] = take(cells, firsts)
        elif name in (photos or {}):
            first = {keys[row]: row for row in reversed(rows)}  # the first row of each value
            values = ", ".join(
                f"{cells[row]} (row {table.number(row)})" for row in sorted(first.values())
            )
            photo = name_cell(table.column(image)[rows[0]])
            raise PlaitError(
                f"{photo} has several values in column {name!r}: {values}",
                hint="give each photo a single value",
            )
    columns = {name: columns[name] for name in table.columns if name in columns}
    return replace(table, columns=columns, numbers=[table.number(row) for row in firsts])


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


def _texts(cell: Any) -> list[str]:
    """The captions in a cell, without empty ones."""
    items = cell if isinstance(cell, list) else [cell]
    return [str(item) for item in items if cell_key(item) is not None and str(item).strip()]


def _gather_numbered(columns: Columns) -> Columns:
    """Add a column ``caption`` if there are ``caption_0``, ``caption_1``..."""
    numbered: dict[str, list[str]] = {}
    for name in columns:
        base = re.sub(r"[_ -]?\d+$", "", name)
        if base != name and base.lower() in COLUMN_NAMES and base not in columns:
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
        return _rooted(path, READERS[suffix](path))
    if not path.exists():
        raise readers.missing(path)
    hint = "to caption a photo: plait caption FILE" if IMAGE.has_suffix(path.name) else ""
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
            return _rooted(texts, readers.read_flickr8k(texts))
    for name in FOLDER_TABLES:
        if (folder / name).is_file():
            return _read_file(folder / name)
    images = [path.relative_to(folder).as_posix() for path in find_images([folder])]
    return Table(folder, folder, {"image": images})


def _rooted(path: Path, columns: Columns, folders: Iterable[Path] = ()) -> Table:
    """The table, with the first folder that contains one of its first files as root; the usual
    folders if none are given."""
    home = path if path.is_dir() else path.parent
    table = Table(path, home, columns)
    cells = [cell for column in columns for cell in table.sample(column)[:FILES]]
    names = [cell for cell in cells if isinstance(cell, str) and SUFFIX.search(cell)]
    places = folders or [home / name for name in IMAGE_FOLDERS]
    roots = (root for root in places if any(is_file(root / name) for name in names))
    return replace(table, root=next(roots, home))
