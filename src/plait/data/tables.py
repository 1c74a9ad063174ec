"""Tables of records, from files of many formats or folders.

A cell is a plain Python value: a string, a number, bytes, a list, or None if it is empty. Paths in
cells are relative to the table's ``root``. `plait.data.readers` reads a file,
`plait.data.folders` a folder, and `plait.data.values` says what their cells mean.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from plait.data.arrow_files import read_hub
from plait.data.cells import COLUMN_NAMES, name_cell
from plait.data.folders import read_folder, read_part
from plait.data.lazy import Columns, LazyColumn, take
from plait.data.paths import allow_web
from plait.data.readers import columns_of_rows, media_column
from plait.data.values import MISSING, is_missing, plain_column
from plait.types import ColumnName, PlaitError, UsageError
from plait.util.arguments import checked
from plait.util.files import digest, is_folder
from plait.util.suggest import did_you_mean

SAMPLE = 200  # cells examined to see what a column holds
START = 64  # bytes of a file that show its format


@dataclass(frozen=True)
class Table:
    """Records by column: every column is a sequence with one cell per row. Large columns of a
    Parquet file are read as they are needed, and not kept.

    Attributes:
        path: where the table came from, for messages.
        root: the folder that relative paths in cells start from.
        columns: name -> cells, all of the same length.
        numbers: each row's number in the file, counted from 1, if rows were selected or grouped.
        empty: column -> how often each text, such as ``NA``, stood for an empty cell.
        records: whether every row is one record, so that rows need no more grouping.
    """

    path: Path
    root: Path
    columns: Columns
    numbers: Sequence[int] | None = None
    empty: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
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
        return [cell for cell in cells if not is_missing(cell)]

    def number(self, row: int) -> int:
        """The row's number in the file, counted from 1."""
        return row + 1 if self.numbers is None else self.numbers[row]

    def where(self, indexes: Iterable[int]) -> Table:
        """The rows at these indexes, in this order."""
        rows = list(indexes)
        columns = {name: take(cells, rows) for name, cells in self.columns.items()}
        return replace(self, columns=columns, numbers=[self.number(i) for i in rows])


@dataclass(frozen=True)
class AllowingUrls:
    """What `as_table` takes, with the user's word that web addresses in it may be downloaded."""

    data: Any


@checked
def read_table(
    path: str | Path, missing: Collection[str] = MISSING, allow_urls: bool = False
) -> Table:
    """Read a table.

    Args:
        path: a file, whatever its name: CSV (separated by ``,`` ``;`` ``|`` or tabs), JSON Lines or
            JSON, in UTF-8 or UTF-16 and perhaps packed (gzip, bzip2, xz, zip), Parquet, Arrow, or
            captions as COCO, nocaps, VizWiz, Karpathy, Flickr8k or Flickr30k publish them. Or a
            folder, by the first of `plait.data.folders.CONVENTIONS` that it follows: what
            ``save_to_disk`` wrote, published captions, ``metadata.csv`` or the like in it or in its
            sub-folders, Parquet files, ``train.csv`` and ``test.csv``, a single table, or images,
            sounds and videos, with texts beside them and folders for splits and classes. Or
            ``hub:NAME`` or ``hub:NAME@REVISION``, a data set of the Hugging Face Hub.
        missing: the texts that stand for an empty cell; see `plait.data.values`.
        allow_urls: whether files are downloaded that cells name by ``http`` or ``https``; a server
            learns of it, and what lies at an address may change.

    Returns:
        The table. Numbered caption columns (``caption_0``, ``caption_1``...) are also collected in
        a column of lists. Of a folder, ``split`` and ``label`` are columns where the names of files
        and folders say so, and one line in the log says what was read.

    Raises:
        PlaitError: the table is missing, empty or damaged; the message names the file and line.

    Examples:
        >>> plait.read_table("photos").columns["image"][:4]
        ['astronaut.jpg', 'camera.jpg', 'chelsea.jpg', 'coffee.jpg']
    """
    if not str(path).strip():  # the shell's, of a variable that is not set
        raise UsageError("the name of the table is empty", expected="a file or folder")
    if str(path).startswith("hub:"):
        name, rows = read_hub(str(path)[4:])
        table = Table(Path(f"hub:{name}"), Path.cwd(), columns_of_rows(rows))
    else:
        part = (read_folder if is_folder(Path(path)) else read_part)(Path(path))
        table = Table(part.path, part.root, part.columns)
    table = _cleaned(table, missing)
    return _with_addresses(table) if allow_urls else table


def as_table(data: Any, missing: Collection[str] = MISSING) -> Table:
    """What people have as a table: a `Table` as it is; else what `read_table` takes, a data frame
    of pandas or polars, an Arrow table, a dictionary of columns, or a list of dictionaries.

    Args:
        data: the records. Paths in cells of a frame are relative to the working folder.
        missing: as of `read_table`.

    Raises:
        UsageError: it is something else.
        PlaitError: as of `read_table`.

    Examples:
        >>> as_table({"text": ["fine", "awful"], "label": ["pos", "neg"]}).columns["label"]
        ['pos', 'neg']
    """
    if isinstance(data, Table):
        return data
    if isinstance(data, AllowingUrls):
        return _with_addresses(as_table(data.data, missing))
    if isinstance(data, (str, Path)):
        return read_table(data, missing)
    name = f"the {type(data).__name__}"
    columns: Columns
    if isinstance(data, list) and data and all(isinstance(row, Mapping) for row in data):
        names = dict.fromkeys(str(name) for row in data for name in row)
        columns = {name: [row.get(name) for row in data] for name in names}
    elif isinstance(data, Mapping) or hasattr(data, "column_names"):
        keys = data if isinstance(data, Mapping) else data.column_names
        columns = {str(key): _cells(data[key]) for key in keys}
    elif hasattr(data, "columns") and hasattr(data, "shape"):
        if len(set(data.columns)) < len(data.columns):
            raise UsageError(f"{name} has two columns with the same name", expected="unique names")
        columns = {str(key): _cells(data[key]) for key in data.columns}
    else:
        raise UsageError(
            f"{data!r:.60} is not a table",
            expected="a path, a data frame, a dictionary of columns, or a list of records",
        )
    if len({len(cells) for cells in columns.values()}) > 1:
        lengths = ", ".join(f"{name} {len(cells):,}" for name, cells in columns.items())
        raise UsageError(f"the columns of {name} differ in length: {lengths}")
    return _cleaned(Table(Path(name), Path.cwd(), columns), missing)


def _cells(column: Any) -> list[Any]:
    """A frame's column as a list."""
    if isinstance(column, (str, bytes)) or not hasattr(column, "__len__"):
        raise UsageError(f"{column!r:.60} is not a column", expected="a list of cells")
    as_python = getattr(column, "to_pylist", None) or getattr(column, "tolist", None)
    return as_python() if as_python else list(column)


def _cleaned(table: Table, missing: Collection[str]) -> Table:
    """The table with plain values as cells; its numbered captions are gathered."""
    if not len(table):
        raise PlaitError(f"{table.path} has no rows", expected="a header and at least one row")
    columns: Columns = {}
    empty = {}
    for name, cells in table.columns.items():
        if isinstance(cells, LazyColumn):
            columns[name] = cells
            continue
        values, gone = plain_column(cells, frozenset(missing))
        columns[name] = _files_alone(values)
        if gone:
            empty[name] = gone
    return replace(table, columns=_gather_numbered(columns), empty=empty)


def _files_alone(cells: list[Any]) -> list[Any]:
    """The cells; files that each lie in a list of one (``["a.jpg"]``) without these lists."""
    filled = [cell for cell in cells if cell is not None]
    lists = [cell[0] for cell in filled if isinstance(cell, list) and len(cell) == 1]
    files = len(lists) == len(filled) and all(isinstance(c, str) and media_column(c) for c in lists)
    return [cell and cell[0] for cell in cells] if lists and files else cells


def _with_addresses(table: Table) -> Table:
    """The table whose web addresses may be downloaded."""
    columns: Columns = {
        name: cells if isinstance(cells, LazyColumn) else list(map(allow_web, cells))
        for name, cells in table.columns.items()
    }
    return replace(table, columns=columns)


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
    if is_missing(cell):
        return None
    if isinstance(cell, bytes):
        return "bytes", digest(cell)
    return cell if isinstance(cell, (str, int, float)) else repr(cell)


def table_digest(table: Table) -> str:
    """A digest of the table's cells (not of the files that they name)."""
    state = hashlib.blake2b(digest_size=16)
    for name, cells in table.columns.items():
        state.update(name.encode())
        for cell in cells:
            state.update(cell if isinstance(cell, bytes) else repr(cell).encode())
            state.update(b"\0")
    return state.hexdigest()


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
