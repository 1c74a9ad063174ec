"""Safe decoding of sensor series: CSV, TSV, NPY, Parquet, and lists in a table's cells.

Shapes: T rows, C channels, L steps of an even grid.
"""

from __future__ import annotations

import csv
import io
import math
import re
import tokenize
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.data.cells import FileKind, load_bytes
from plait.types import BadCell
from plait.util.imports import needed
from plait.util.suggest import did_you_mean

KINDS = "a CSV, NPY or Parquet file of numbers, or a list of numbers"
NPY = FileKind((".npy",), re.compile(rb"\x93NUMPY"))  # CSV and Parquet may be tables as well
LARGEST = 1e30  # of a measurement; larger values, like infinity, mark gaps
MAX_STEPS, MAX_CHANNELS, MAX_VALUES = 1_000_000, 4096, 50_000_000
SEPARATORS = "\t;|,"  # the first of these on line 1; otherwise white space
GAPS = {"", "-", "?", "na", "n/a", "none", "null"}  # besides "nan" and "inf", which float() reads

NPY_ERRORS = (  # what numpy raises on a garbage header
    ValueError, KeyError, EOFError, TypeError, OverflowError, SyntaxError, tokenize.TokenError,
)  # fmt: skip

Values = NDArray[np.float64]
Channel = int | str
"""A channel's index, counted from 0, or its name."""


@dataclass(frozen=True)
class Series:
    """Rows of measurements.

    Attributes:
        values: (T, C) float64, NaN where nothing was measured. T and C are at least 1, and at
            least one value is a number.
        names: the channels' names; None if they have none or two are equal.
        name: the series' name in messages.
    """

    values: Values
    names: tuple[str, ...] | None
    name: str

    def place(self, channel: Channel) -> int:
        """A channel's index, from its name or index. Raises BadCell if there is no such channel."""
        count = self.values.shape[1]
        if isinstance(channel, int) and 0 <= channel < count:
            return channel
        if self.names is not None and channel in self.names:
            return self.names.index(str(channel))
        some = ", ".join((self.names or ())[:10]) + (", ..." if count > 10 else "")
        raise BadCell(
            f"{self.name} has no channel {channel!r}",
            expected=f"one of: {some}" if self.names else f"0 to {count - 1}",
            hint=did_you_mean(str(channel), self.names or ()),
        )

    def take(self, places: Sequence[int]) -> Series:
        """The channels at these indexes, in this order."""
        names = None if self.names is None else tuple(self.names[place] for place in places)
        return replace(self, values=self.values[:, list(places)], names=names)


def open_series(cell: Any, root: Path) -> Series:
    """Decode a cell to a series.

    The cell is a path or a file's bytes: CSV (separated by tabs, ``;``, ``|``, commas or spaces,
    with or without a header), NPY of shape (T,), (T, C) or with more axes, which become channels,
    or Parquet. The format is recognised by the content. Or the cell is a list of T numbers, a list
    of T rows of C numbers, or a mapping from channels to T numbers. Empty cells, NaN and numbers
    beyond 1e30 are gaps. Pickled NPY files are refused, never unpickled.

    Raises:
        BadCell: the series is missing, empty, damaged, ragged or too large, or has no numbers.
    """
    if isinstance(cell, Mapping):
        return _checked(*_from_mapping(cell), "the mapping")
    if isinstance(cell, (list, tuple, np.ndarray)):
        return _checked(_as_array(cell, "the list"), None, "the list")
    data, name = load_bytes(cell, root, KINDS)
    if NPY.is_certain(data):
        return _checked(_read_npy(data, name), None, name)
    if data.startswith(b"PAR1"):
        return _checked(*_read_parquet(data, name), name)
    return _checked(*_read_text(data, name), name)


def resample(series: Series, time: Channel, rate: float) -> Series:
    """The series on an even grid with ``rate`` steps per unit of time, without its time channel.

    Channels are interpolated linearly. A step is a gap if its nearest measurement is farther away
    than both one step and the median distance between rows. Rows without a time are left out; of
    several rows at one time the first counts.

    Raises:
        BadCell: there is no such channel, its times decrease, or there would be too many steps.
    """
    place = series.place(time)
    others = [other for other in range(series.values.shape[1]) if other != place]
    times = series.values[:, place]
    timed = np.isfinite(times)
    times, rows = times[timed], series.take(others).values[timed]
    steps = np.diff(times)
    if not len(times) or (steps < 0).any():
        why = "has no numbers"
        if len(times):
            why = f"decreases after {times[int(np.argmax(steps < 0))]:g}"
        what = f"{series.name}: the time channel {time!r} {why}"
        raise BadCell(what, expected="times that increase from row to row")
    count = (times[-1] - times[0]) * rate
    _check_size(series.name, int(min(count, 1e15)) + 1, len(others))
    first = np.concatenate([[True], steps > 0])
    times, rows = times[first], rows[first]
    grid = times[0] + np.arange(int(count + 1e-6) + 1) / rate
    reach = max(1 / rate, float(np.median(np.diff(times)))) if len(times) > 1 else 1 / rate
    values = np.stack([_on_grid(times, column, grid, reach) for column in rows.T], axis=1)
    return _checked(values, series.take(others).names, series.name)


def _on_grid(times: Values, column: Values, grid: Values, reach: float) -> Values:
    """(L,): a channel at the times of the grid, NaN where no measurement is within reach."""
    known = np.isfinite(column)
    if not known.any():
        return np.full(len(grid), np.nan)
    at, values = times[known], column[known]
    after = np.searchsorted(at, grid).clip(0, len(at) - 1)
    distance = np.minimum(np.abs(at[after] - grid), np.abs(grid - at[(after - 1).clip(0)]))
    return np.where(distance <= reach * (1 + 1e-6), np.interp(grid, at, values), np.nan)


def _checked(values: Values, names: Sequence[str] | None, name: str) -> Series:
    _check_size(name, *values.shape)
    values = np.where(np.abs(values) <= LARGEST, values, np.nan)
    if np.isnan(values).all():
        raise BadCell(f"{name} has no numbers", expected=KINDS)
    unique = names is not None and len(set(names)) == len(names)
    return Series(values, tuple(names or ()) if unique else None, name)


def _check_size(name: str, steps: int, channels: int) -> None:
    size = f"{name} has {steps:,} rows of {channels:,} channels"
    if not steps or not channels:
        raise BadCell(size, expected="at least one of each")
    if channels > MAX_CHANNELS:
        raise BadCell(f"{name} has {channels:,} channels", expected=f"at most {MAX_CHANNELS:,}")
    if steps > MAX_STEPS or steps * channels > MAX_VALUES:
        limit = f"at most {MAX_STEPS:,} rows and {MAX_VALUES:,} numbers"
        raise BadCell(size, expected=limit, hint="cut it into pieces")


# Lists inside a table ------------------------------------------------------------------------


def _from_mapping(cell: Mapping[Any, Any]) -> tuple[Values, list[str]]:
    columns = [_as_array(column, f"channel {name!r}") for name, column in cell.items()]
    lengths = {len(column) for column in columns}
    if len(lengths) > 1:
        what = f"the mapping's channels have {min(lengths)} to {max(lengths)} numbers"
        raise BadCell(what, expected="equally many in each")
    if any(column.shape[1] != 1 for column in columns):
        raise BadCell("the mapping's channels contain lists", expected="a list of numbers for each")
    values = np.concatenate(columns, axis=1) if columns else np.zeros((0, 0))
    return values, [str(name) for name in cell]


def _as_array(cell: Any, name: str) -> Values:
    """(T, C) of a list of numbers or of rows of them; None is a gap."""
    try:
        values = np.asarray(cell, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        widths = {len(row) if isinstance(row, (list, tuple)) else 0 for row in cell}
        why = "contains something other than numbers"
        if len(widths) > 1:
            why = f"has rows of {min(widths)} to {max(widths)} numbers"
        raise BadCell(f"{name} {why}", expected="numbers, or rows of equal length") from None
    return _as_rows(values, name)


def _as_rows(values: Values, name: str) -> Values:
    """(T, ...) -> (T, C); a single number is not a series."""
    if values.ndim == 0:
        raise BadCell(f"{name} is a single number", expected=KINDS)
    return values.reshape(len(values), math.prod(values.shape[1:]))


# Files -----------------------------------------------------------------------------------------


def _read_npy(data: bytes, name: str) -> Values:
    """Reads the header first, and refuses one that claims too much."""
    stream = io.BytesIO(data)
    try:
        formats: Any = np.lib.format
        readers = {(1, 0): formats.read_array_header_1_0, (2, 0): formats.read_array_header_2_0}
        shape, _, dtype = readers[formats.read_magic(stream)](stream)
        if dtype.kind not in "fiub":
            raise BadCell(
                f"{name} contains {'pickled objects' if dtype.hasobject else dtype}",
                expected="an NPY array of plain numbers",
                hint="save it with numpy.save(path, array.astype('float32'))",
            )
        if min(shape, default=0) < 0 or np.prod(shape, dtype=float) > MAX_VALUES:
            limit = f"at most {MAX_VALUES:,} numbers"
            raise BadCell(f"{name} has the shape {shape}", expected=limit)
        values = np.load(io.BytesIO(data), allow_pickle=False)
    except NPY_ERRORS as error:
        why = " ".join(str(error).split())[:100]
        raise BadCell(f"{name} is a damaged NPY file ({why})", hint="save it again") from None
    return _as_rows(values.astype(np.float64), name)


def _read_parquet(data: bytes, name: str) -> tuple[Values, list[str]]:
    """A column is a channel."""
    pa, parquet = needed("pyarrow", "arrow"), needed("pyarrow.parquet", "arrow")
    try:
        file = parquet.ParquetFile(pa.BufferReader(data))
        _check_size(name, file.metadata.num_rows, file.metadata.num_columns)
        known = pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null
        for field in file.schema_arrow:  # before reading: a small file may hold long texts
            if not any(test(field.type) for test in known):
                what = f"{name}: column {field.name!r} contains {field.type}"
                raise BadCell(what, expected="columns of numbers")
        table = file.read()
        columns = [column.to_numpy().astype(np.float64) for column in table.columns]
    except (pa.ArrowException, OSError) as error:
        why = str(error).splitlines()[0][:100]
        raise BadCell(f"{name} is a damaged Parquet file ({why})", hint="save it again") from None
    return np.stack(columns, axis=1), table.column_names


def _read_text(data: bytes, name: str) -> tuple[Values, list[str] | None]:
    """CSV, line by line, so that a file that is too long is refused early."""
    names: list[str] | None = None
    values, width, rows = array("d"), 0, 0
    for line, cells in _lines(data, name):
        if len(cells) != (width or len(cells)):
            what = f"{name} line {line} has {len(cells)} cells"
            raise BadCell(what, expected=f"{width}, as above")
        try:
            values.extend([_number(cell) for cell in cells])
            rows += 1
        except ValueError as error:
            if width:
                what = f"{name} line {line} contains {str(error)[:40]!r}"
                raise BadCell(what, expected="numbers, or empty cells") from None
            names = [c.strip(' #"') or f"column_{i}" for i, c in enumerate(cells)]
        width = len(cells)
        _check_size(name, max(1, rows), width)
    return np.array(values).reshape(rows, width), names


def _lines(data: bytes, name: str) -> Iterator[tuple[int, list[str]]]:
    """Each line's number and cells, without blank lines."""
    try:
        text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="")
        first = next((line for line in text if line.strip()), "")
        text.seek(0)
        separator = next((s for s in SEPARATORS if s in first), "")
        if not separator:
            yield from ((n, cells) for n, line in enumerate(text, 1) if (cells := line.split()))
            return
        reader = csv.reader(text, delimiter=separator)
        for cells in reader:
            if separator == ";":  # commas are decimal points then
                cells = [cell.replace(",", ".") for cell in cells]
            if len(cells) > 1 or "".join(cells).strip():
                yield reader.line_num, cells
    except (UnicodeDecodeError, csv.Error) as error:
        why = " ".join(str(error).split())[:60]
        raise BadCell(f"{name} is not a text file of numbers ({why})", expected=KINDS) from None


def _number(cell: str) -> float:
    """A cell as a number, NaN for a gap; raises ValueError for anything else."""
    try:
        return float(cell)
    except ValueError:
        if cell.strip(' "').lower() in GAPS:
            return float("nan")
        raise ValueError(cell) from None
