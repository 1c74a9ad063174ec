"""Columns that stay in their Parquet or Arrow files, so that a table may be larger than memory.

Those of Parquet are read in blocks of a few rows from the start of a row group, which may itself be
larger than memory and can't be entered in the middle. Reading rows in order reads the file once;
going back to an earlier row restarts its row group.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from plait.types import PlaitError
from plait.util.imports import needed

Columns = dict[str, Sequence[Any]]
"""Name -> cells, all of the same length."""

LARGE = 64 << 20  # bytes, uncompressed; larger columns stay in the file
BLOCK_BYTES = 4 << 20
MAX_ROWS = 1024  # per block
BLOCKS = 4  # kept in memory
STREAM_BYTES = 1 << 20  # read from the disk at a time


class Blocks(Protocol):
    """A column as it lies in its files."""

    def __len__(self) -> int: ...

    def cell(self, row: int) -> Any:
        """A row's cell."""

    def sample(self, count: int, size: int) -> list[Any]:
        """About ``count`` cells from the whole column; of bytes, the first ``size``."""


class LazyColumn(Sequence[Any]):
    """Rows of one column of a file, or of several. Safe to read from several threads."""

    def __init__(self, blocks: Blocks, rows: Sequence[int] | np.ndarray) -> None:
        self._blocks, self._rows = blocks, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, at: Any) -> Any:
        """A cell, or a `LazyColumn` for a slice."""
        if isinstance(at, slice):
            return LazyColumn(self._blocks, self._rows[at])
        return self._blocks.cell(int(self._rows[at]))

    def __iter__(self) -> Iterator[Any]:
        return (self._blocks.cell(int(row)) for row in self._rows)

    def sample(self, count: int, size: int) -> list[Any]:
        """About ``count`` cells from the whole column; of bytes, the first ``size``. Read once."""
        return self._blocks.sample(count, size)


def take(cells: Sequence[Any], rows: Sequence[int]) -> Sequence[Any]:
    """The cells of these rows, in this order; a `LazyColumn` stays lazy."""
    if isinstance(cells, LazyColumn):
        return LazyColumn(cells._blocks, np.asarray(cells._rows)[np.fromiter(rows, np.int64)])
    return [cells[row] for row in rows]


def joined(parts: Sequence[Sequence[Any]]) -> Sequence[Any]:
    """The columns of several files as one; lazy if one of them is."""
    if any(isinstance(part, LazyColumn) for part in parts):
        blocks = JoinedBlocks(parts)
        return LazyColumn(blocks, range(len(blocks)))
    return [cell for part in parts for cell in part]


def mapped(change: Callable[[Any], Any], cells: Sequence[Any]) -> Sequence[Any]:
    """A column with every cell changed; a `LazyColumn` stays lazy."""
    if isinstance(cells, LazyColumn):
        return LazyColumn(MappedBlocks(change, cells), range(len(cells)))
    return list(map(change, cells))


def column_sizes(file: Any, names: Sequence[str]) -> dict[str, int]:
    """The uncompressed bytes of each column of a ``pyarrow.parquet.ParquetFile``."""
    sizes = dict.fromkeys(names, 0)
    for group in map(file.metadata.row_group, range(file.metadata.num_row_groups)):
        for chunk in map(group.column, range(group.num_columns)):
            # A leaf's column: image for image.bytes. Names may contain dots.
            path = chunk.path_in_schema
            name = max((n for n in names if path == n or path.startswith(f"{n}.")), key=len)
            sizes[name] += chunk.total_uncompressed_size
    return sizes


class JoinedBlocks:
    """The columns of several files, one below the other."""

    def __init__(self, parts: Sequence[Sequence[Any]]) -> None:
        self._parts = parts
        self._starts = [0, *accumulate(map(len, parts))]

    def __len__(self) -> int:
        return self._starts[-1]

    def cell(self, row: int) -> Any:
        """A row's cell."""
        part = bisect_right(self._starts, row) - 1
        return self._parts[part][row - self._starts[part]]

    def sample(self, count: int, size: int) -> list[Any]:
        """Some cells of every part."""
        each = -(-count // max(1, len(self._parts)))
        some: list[Any] = []
        for part in self._parts:
            if isinstance(part, LazyColumn):
                some += part.sample(each, size)
            else:
                some += part[:: max(1, len(part) // each)]
        return some


class MappedBlocks:
    """A column whose cells are changed as they are read."""

    def __init__(self, change: Callable[[Any], Any], cells: LazyColumn) -> None:
        self._change, self._cells = change, cells

    def __len__(self) -> int:
        return len(self._cells)

    def cell(self, row: int) -> Any:
        """A row's cell."""
        return self._change(self._cells[row])

    def sample(self, count: int, size: int) -> list[Any]:
        """As of the column, changed."""
        return list(map(self._change, self._cells.sample(count, size)))


class ArrowBlocks:
    """One column of an Arrow file: the file is mapped, so that only the cells that are asked for
    are read."""

    def __init__(self, path: Path, name: str, plain: Callable[[Any], Any]) -> None:
        """``plain`` is applied to every cell."""
        self.path, self.name, self._plain = path, name, plain
        self._column = map_arrow(path).column(name)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the file itself."""
        return ArrowBlocks, (self.path, self.name, self._plain)

    def __len__(self) -> int:
        return len(self._column)

    def cell(self, row: int) -> Any:
        """A row's cell."""
        return self._plain(self._column[row].as_py())

    def sample(self, count: int, size: int) -> list[Any]:
        """Evenly spaced cells; of bytes, the first ``size``."""
        cells = map(self.cell, range(0, len(self), max(1, len(self) // count)))
        return [cell[:size] if isinstance(cell, bytes) else cell for cell in cells]


def map_arrow(path: Path) -> Any:
    """An Arrow file, or a stream of Arrow's in a file, as a ``pyarrow.Table``.

    Raises:
        pyarrow.ArrowException, OSError: it is neither, or can't be read.
    """
    pa, ipc = needed("pyarrow", "arrow"), needed("pyarrow.ipc", "arrow")
    try:
        return ipc.open_file(pa.memory_map(str(path))).read_all()
    except pa.ArrowInvalid:
        return ipc.open_stream(pa.memory_map(str(path))).read_all()


class ColumnBlocks:
    """Reads one column of a Parquet file in blocks of rows."""

    def __init__(self, path: Path, name: str, plain: Callable[[Any], Any]) -> None:
        """``plain`` is applied to every cell."""
        parquet = needed("pyarrow.parquet", "arrow")
        self.path, self.name, self._plain = path, name, plain
        self._file = parquet.ParquetFile(path, buffer_size=STREAM_BYTES, pre_buffer=False)
        about = self._file.metadata
        counts = [about.row_group(g).num_rows for g in range(about.num_row_groups)]
        self._starts = [0, *accumulate(counts)]  # of the row groups
        self._kept: deque[tuple[int, list[Any]]] = deque(maxlen=BLOCKS)  # (first row, cells)
        self._next, self._group = 0, -1
        self._batches: Iterator[Any] = iter(())
        self._sample: list[Any] | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the file itself."""
        return ColumnBlocks, (self.path, self.name, self._plain)

    def __len__(self) -> int:
        return self._starts[-1]

    def cell(self, row: int) -> Any:
        """A row's cell. Raises PlaitError if the file is damaged or has changed."""
        with self._lock:
            for start, cells in reversed(self._kept):
                if start <= row < start + len(cells):
                    return cells[row - start]
            start, cells = self._read(row)
            self._kept.append((start, cells))
            return cells[row - start]

    def sample(self, count: int, size: int) -> list[Any]:
        """The first cells of evenly spaced row groups; of bytes, the first ``size``."""
        if self._sample is None:
            groups = [(start, end) for start, end in pairwise(self._starts) if end > start]
            picked = groups[:: max(1, len(groups) // count)]
            each = -(-count // max(1, len(picked)))
            rows = [row for start, end in picked for row in range(start, min(start + each, end))]
            cells = map(self.cell, rows)
            self._sample = [cell[:size] if isinstance(cell, bytes) else cell for cell in cells]
        return self._sample

    def _read(self, row: int) -> tuple[int, list[Any]]:
        """The block with that row, and the number of its first row."""
        pa = needed("pyarrow", "arrow")
        group = bisect_right(self._starts, row) - 1
        if group != self._group or row < self._next:
            about = self._file.metadata.row_group(group)
            size = about.total_byte_size // max(1, about.num_rows) + 1
            rows = max(1, min(MAX_ROWS, BLOCK_BYTES // size))
            self._group, self._next = group, self._starts[group]
            self._batches = self._file.iter_batches(
                rows, row_groups=[group], columns=[self.name], use_threads=False
            )
        try:
            for batch in self._batches:
                start, self._next = self._next, self._next + len(batch)
                if row < self._next:
                    return start, [self._plain(c) for c in batch.column(self.name).to_pylist()]
            why = f"row {row + 1} is missing"
        except (pa.ArrowException, OSError) as error:
            why = str(error).splitlines()[0]
        self._group = -1
        raise PlaitError(
            f"{self.path} can no longer be read ({why})", hint="don't change it while it is in use"
        )
