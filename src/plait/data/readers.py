"""Reads columns from one file, by what the file holds rather than by its name.

Each function returns the columns as they are written; `plait.data.tables` makes the cells plain and
finds the folder of the files that they name.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from plait.data.arrow_files import read_arrow, read_parquet, unique_names, unwrapped
from plait.data.caption_files import read_caption_json, read_caption_lines
from plait.data.cells import FileKind
from plait.data.images import IMAGE
from plait.data.lazy import Columns
from plait.data.recordings import SOUND
from plait.data.values import GAPS, MISSING, mostly
from plait.data.video import VIDEO
from plait.types import PlaitError
from plait.util.files import is_file

KINDS = (
    "CSV, JSON Lines, JSON (records, columns or published captions), Parquet, Arrow, a folder, or "
    "hub:NAME"
)
MEDIA: Mapping[str, FileKind] = {"image": IMAGE, "audio": SOUND, "video": VIDEO}
"""Column -> the files that it holds, in tables that name none."""
ROWS = "a header and at least one row"
SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json", ".parquet", ".arrow", ".feather")
ZIPPED = (".gz", ".bz2", ".xz", ".zip")
SEPARATORS = ",;\t|"
COMMAS = re.compile(r"[-+]?(\d{1,3}(\.\d{3})+|\d+)?(,\d+)?(?<=\d)")  # 1.234,5
ONE_COLUMN = "\x1f"  # as separator: it is in no text
JUDGED = 50  # lines that show the separator
START = 4096  # bytes that show the format
VALUE = re.compile(r"[^\s,]")  # where the next JSON value begins; commas between lines are left out
HALF_PAIR = re.compile("[\ud800-\udfff]")
MAX_CELL = 1 << 27  # characters per CSV cell; the column's modality has its own, lower limit
UNPACKING = (
    OSError, EOFError, ValueError, RuntimeError, zlib.error, lzma.LZMAError, zipfile.BadZipFile,
)  # fmt: skip
"""What the libraries raise on packed files that are damaged, locked or of another version."""
UNPACK: Mapping[bytes, tuple[str, Callable[[bytes], bytes]]] = {
    b"\x1f\x8b": ("gzip", gzip.decompress),
    b"BZh": ("bzip2", bz2.decompress),
    b"\xfd7zXZ\0": ("xz", lzma.decompress),
    b"PK\x03\x04": ("zip", lambda data: _only_member(data)),
}
"""How a packed file starts -> its format, and what unpacks it."""


def read_columns(path: Path) -> Columns:
    """The columns of a file: CSV, JSON Lines, JSON, Parquet or Arrow, whatever it is called.

    Text may be UTF-8 or UTF-16, and packed by gzip, bzip2, xz or zip.

    Raises:
        PlaitError: the file is missing, damaged, or no table; the message names the line.
    """
    if not path.exists():
        raise missing(path)
    if not is_file(path):
        raise _unknown(path)
    with path.open("rb") as file:
        start = file.read(START)
    if not start:
        raise PlaitError(f"{path} is empty", expected=ROWS)
    text = is_text(start) or start.startswith(tuple(UNPACK))
    if start.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return read_arrow([path])[0]
    if start.startswith(b"PAR1") or (path.suffix.lower() == ".parquet" and not text):
        return read_parquet([path])[0]
    if not text:
        raise _unknown(path)
    if is_table_name(path.name):
        return _columns_of_text(read_text(path), path)
    try:
        columns = _columns_of_text(read_text(path), path)
    except PlaitError:
        raise _unknown(path) from None
    if len(columns) < 2:  # any text could be a table of one column
        raise _unknown(path)
    return columns


def is_table_name(name: str) -> bool:
    """Whether a file name has the suffix of a table."""
    return _unpacked_name(name).endswith(SUFFIXES)


def _unpacked_name(name: str) -> str:
    name = name.lower()
    return next((name.removesuffix(end) for end in ZIPPED if name.endswith(end)), name)


def missing(path: Path) -> PlaitError:
    """The error for a missing table."""
    return PlaitError(f"there is no table {path}", expected=KINDS, hint="check the path")


def _unknown(path: Path) -> PlaitError:
    hint = ""
    if IMAGE.has_suffix(path.name):
        hint = "to caption a photo: plait caption FILE"
    elif path.suffix.lower() in {".xlsx", ".xls", ".ods"}:
        hint = "save the sheet as CSV"
    elif path.suffix.lower() in {".zip", ".tar", ".tgz", ".7z", ".rar"}:
        hint = "unpack it, and name its folder"
    return PlaitError(f"{path} is not a known kind of table", expected=KINDS, hint=hint)


# Bytes to text --------------------------------------------------------------------------------


def read_text(path: Path) -> str:
    """The text of a file in UTF-8 or UTF-16, unpacked if need be.

    Raises:
        PlaitError: the file is missing, truncated, or of another encoding (the message names the
            line).
    """
    data = _read_bytes(path)
    encoding = _encoding(data)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        name = encoding.upper().removesuffix("-SIG")
        what = f"{path} line {line} is not {name} text (byte {data[error.start]:#04x})"
        raise PlaitError(what, hint="save the file as UTF-8") from None


def _read_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise missing(path) from None
    except OSError as error:
        raise PlaitError(f"{path} can't be read ({error.strerror})") from None
    packed = next((how for start, how in UNPACK.items() if data.startswith(start)), None)
    if packed is None:
        return data
    kind, unpack = packed
    try:
        data = unpack(data)
        if not is_text(data[:START]):
            raise ValueError("it does not hold text: unpack it")
        return data
    except UNPACKING as error:
        raise PlaitError(f"{path} is not a valid {kind} file ({error})") from None


def _only_member(data: bytes) -> bytes:
    """The one file in a zip archive, beside what a Mac adds."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [n for n in archive.namelist() if not n.endswith("/") and "__MACOSX" not in n]
        if "xl/workbook.xml" in names:
            raise ValueError("it is an Excel workbook: save the sheet as CSV")
        if len(names) != 1:
            raise ValueError(f"it holds {len(names)} files, not one: unzip it")
        return archive.read(names[0])


def _encoding(data: bytes) -> str:
    """UTF-8, or UTF-16 by its mark or its many zeros."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    pairs = data[: START // 2 * 2]
    for first, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        if len(pairs) > 1 and 2 * pairs[first::2].count(0) > len(pairs) // 2:
            return name
    return "utf-8-sig"


def is_text(start: bytes) -> bool:
    """Whether a file that starts so is text: of UTF-8 there is no zero byte."""
    return b"\0" not in start or _encoding(start) != "utf-8-sig"


# Text to columns ------------------------------------------------------------------------------


def _columns_of_text(text: str, path: Path) -> Columns:
    """Published captions, JSON if it starts so, or else CSV."""
    captions = read_caption_lines(text, path)
    if captions is not None:
        return captions
    name = _unpacked_name(path.name)
    is_json = name.endswith((".json", ".jsonl", ".ndjson"))
    if text.lstrip()[:1] in ("{", "["):
        try:
            values = _json_values(text, path)
        except PlaitError:
            if is_json or not name.endswith(SUFFIXES):
                raise
        else:
            return _columns_of_json(values, path)
    elif is_json and text.strip() and not any(s in text.partition("\n")[0] for s in SEPARATORS):
        raise PlaitError(f"{path} is not JSON", expected="[...] or {...}", hint="fix the file")
    return read_csv(text, path)


def read_csv(text: str, path: Path) -> Columns:
    """CSV of any usual separator. A first row that starts with the name of an image, sound or
    video is a record, not the header. Columns without a name and cells are left out, and in a file
    separated by semicolons, a comma in a number is the decimal point.

    Raises:
        PlaitError: a line has too few or too many cells, a quote is not closed, or two columns
            have the same name.
    """
    lines, separator = _cells_of_lines(text, path)
    names = [cell.strip() for cell in lines[0]]
    kind = media_column(names[0])
    if kind:
        names = [kind, "caption"] if len(names) == 2 else [""] * len(names)
    else:
        lines = lines[1:]
    columns = list(zip(*lines, strict=True)) if lines else [()] * len(names)
    kept = [at for at, name in enumerate(names) if name or any(map(str.strip, columns[at]))]
    unique = unique_names([names[at] or f"column_{at}" for at in kept], path)
    read = _with_points if separator == ";" else list
    return {name: read(columns[at]) for name, at in zip(unique, kept, strict=True)}


def _with_points(cells: Sequence[str]) -> list[str]:
    """A column in which the numbers have decimal commas, with points; others as they are."""
    filled = [cell.strip() for cell in cells if cell.strip() not in {"", *MISSING, *GAPS}]
    numbers = [cell for cell in filled if COMMAS.fullmatch(cell)]
    if not mostly(len(numbers), len(filled)) or not any("," in number for number in numbers):
        return list(cells)
    points = str.maketrans({".": None, ",": "."})
    return [cell.translate(points) if COMMAS.fullmatch(cell.strip()) else cell for cell in cells]


def media_column(name: str) -> str:
    """The column of a file with this name; empty unless it is an image, sound or video."""
    return next((column for column, kind in MEDIA.items() if kind.has_suffix(name)), "")


def _cells_of_lines(text: str, path: Path) -> tuple[list[list[str]], str]:
    """The cells of each line, and what separates them."""
    first, _, rest = text.partition("\n")
    said = re.fullmatch(r"sep=(.)\s*", first)  # as Excel writes
    text = rest if said else text
    if not text.strip():
        raise PlaitError(f"{path} is empty", expected=ROWS)
    separator = said[1] if said else _separator(text)
    if separator == ONE_COLUMN and media_column(first.partition(" ")[0]):  # a list of files
        lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
        if all(len(line) == 2 for line in lines):
            return lines, " "
    ways: list[dict[str, Any]] = [{}]
    if f'{separator} "' in text:
        ways.append({"skipinitialspace": True})
    if '\\"' in text:
        ways.append({"escapechar": "\\", "doublequote": False})
    if separator != ",":  # others are often written unquoted
        ways.append({"quoting": csv.QUOTE_NONE})
    error = None
    for way in ways:
        try:
            return _rows(text, path, separator, way), separator
        except PlaitError as failed:
            error = error or failed
    assert error is not None
    raise error


def _separator(text: str) -> str:
    """The separator that cuts most of the first lines into as many cells as line 1; of equals the
    one that comes first there."""
    head = text[: 1 << 16]
    found: dict[str, float] = {}
    for separator in SEPARATORS:
        reader = csv.reader(io.StringIO(head, newline=""), delimiter=separator)
        widths = [len(row) for row in islice(reader, JUDGED) if row]
        if widths and widths[0] > 1:
            found[separator] = widths.count(widths[0]) / len(widths)
    most = max(found.values(), default=0)
    likeliest = [separator for separator, share in found.items() if share == most]
    return min(likeliest, key=text.find, default=ONE_COLUMN)


def _rows(text: str, path: Path, separator: str, way: Mapping[str, Any]) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, **way)
    rows: list[list[str]] = []
    before = csv.field_size_limit(MAX_CELL)  # for the whole process
    try:
        for row in reader:
            if rows and row and len(row) != len(rows[0]):
                row = _as_wide(row, rows[0])
                if len(row) != len(rows[0]):
                    raise PlaitError(
                        f"{path} line {reader.line_num} has {len(row)} cells",
                        expected=f"{len(rows[0])} as in line 1",
                        hint='put cells that contain the separator in quotes ("...")',
                    )
            if row:
                rows.append([cell.strip() for cell in row] if separator == "|" else row)
    except csv.Error as error:
        raise PlaitError(
            f"{path} line {reader.line_num}: {error}", hint="check the quotes up to this line"
        ) from None
    finally:
        csv.field_size_limit(before)
    return rows


def _as_wide(row: list[str], header: Sequence[str]) -> list[str]:
    """A row without the empty cells that follow the header's last, and with those of columns
    without name at its end: separators at the ends of lines say nothing."""
    width = len(header)
    named = max((at for at, name in enumerate(header, start=1) if name.strip()), default=0)
    if len(row) > width and not any(map(str.strip, row[width:])):
        return row[:width]
    return row + [""] * (width - len(row)) if named <= len(row) < width else row


# JSON -----------------------------------------------------------------------------------------


def _json_values(text: str, path: Path) -> list[Any]:
    """The values in a text, one after the other: one in a JSON file, one per line in JSON Lines."""
    decoder, values, at = json.JSONDecoder(), list[Any](), 0
    while found := VALUE.search(text, at):
        at = found.start()
        try:
            value, end = decoder.raw_decode(text, at)
        except ValueError as error:
            raise PlaitError(
                f"{_where(text, at, path)} is not JSON ({error})", hint="fix or remove it"
            ) from None
        except RecursionError:
            raise PlaitError(f"{path} is JSON nested too deeply") from None
        if values and not (isinstance(value, (dict, list)) and type(value) is type(values[0])):
            raise PlaitError(
                f"{_where(text, at, path)} is not a JSON object", expected="an object in each line"
            )
        values.append(_without_surrogates(value) if "\\u" in text[at:end] else value)
        at = end
    return values


def _where(text: str, at: int, path: Path) -> str:
    """The file, and the line unless it is the first."""
    line = text.count("\n", 0, at) + 1
    return f"{path} line {line}" if line > 1 else str(path)


def _without_surrogates(value: Any) -> Any:
    """A JSON value in which half surrogate pairs, which UTF-8 can't encode, are replaced."""
    if isinstance(value, str):
        return HALF_PAIR.sub("\ufffd", value)
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value


def _columns_of_json(values: Sequence[Any], path: Path) -> Columns:
    """Published captions, or one of the ways to write rows or columns."""
    value = values[0] if len(values) == 1 else values
    captions = read_caption_json(value, path)
    if captions is not None:
        return captions
    for layout in JSON_LAYOUTS:
        columns = layout(value)
        if columns is not None:
            return columns
    raise PlaitError(
        f"{path} is JSON, but no table and no captions that plait knows",
        expected="a list of records, one record per line, columns, or captions as published (COCO, "
        "Karpathy, VizWiz, nocaps)",
    )


def columns_of_rows(rows: Sequence[Mapping[str, Any]]) -> Columns:
    """Records as columns; a key that a record lacks is None."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [unwrapped(row.get(name)) for row in rows] for name in names}


def _list_of_records(value: Any) -> Columns | None:
    """``[{"image": "a.jpg"}, ...]``."""
    records = isinstance(value, list) and all(isinstance(row, dict) for row in value)
    return columns_of_rows(value) if records else None


def _header_and_rows(value: Any) -> Columns | None:
    """``[["image", "caption"], ["a.jpg", "A dog."], ...]``."""
    if not isinstance(value, list) or not all(isinstance(row, list) for row in value):
        return None
    names, rows = value[0], value[1:]
    named = names and all(isinstance(name, str) for name in names)
    if not named or any(len(row) != len(names) for row in rows):
        return None
    return {name: [row[at] for row in rows] for at, name in enumerate(names)}


def _split_columns(value: Any) -> Columns | None:
    """``{"columns": ["image"], "data": [["a.jpg"], ...]}``, as pandas' orient="split"."""
    if not isinstance(value, dict) or not {"columns", "data"} <= value.keys():
        return None
    names, rows = value["columns"], value["data"]
    if not (isinstance(names, list) and isinstance(rows, list)):
        return None
    if not all(isinstance(row, list) and len(row) == len(names) for row in rows):
        return None
    return {str(name): [row[at] for row in rows] for at, name in enumerate(names)}


def _texts_of_files(value: Any) -> Columns | None:
    """``{"a.jpg": ["A dog.", ...], ...}``, or with a record for each file."""
    if not isinstance(value, dict) or not value or not all(map(media_column, value)):
        return None
    if all(isinstance(row, dict) for row in value.values()):
        return columns_of_rows([{media_column(name): name, **row} for name, row in value.items()])
    kind = media_column(next(iter(value)))
    return {kind: list(value), "caption": list(value.values())}


def _object_of_columns(value: Any) -> Columns | None:
    """``{"image": ["a.jpg", ...], ...}``, or with an object of index and cell for each column, as
    pandas writes by default."""
    if not isinstance(value, dict) or not value:
        return None
    cells = list(value.values())
    if all(isinstance(c, list) and len(c) == len(cells[0]) for c in cells):
        return None if any(isinstance(item, dict) for c in cells for item in c[:1]) else value
    indexed = all(isinstance(c, dict) and c.keys() == cells[0].keys() for c in cells)
    if indexed and all(index.isdigit() for index in cells[0]):
        return {name: list(column.values()) for name, column in value.items()}
    if all(isinstance(row, dict) for row in cells):  # pandas' orient="index"
        return columns_of_rows(cells)
    return None


def _records_within(value: Any) -> Columns | None:
    """``{"version": 1, "data": [{"image": "a.jpg"}, ...]}``: the only list of records in it."""
    if not isinstance(value, dict):
        return None
    lists = [v for v in value.values() if isinstance(v, list) and v and isinstance(v[0], dict)]
    return _list_of_records(lists[0]) if len(lists) == 1 else None


def _one_record(value: Any) -> Columns | None:
    """``{"image": "a.jpg", "captions": ["A dog.", ...]}``: a table of one row."""
    plain = isinstance(value, dict) and not any(isinstance(v, dict) for v in value.values())
    return columns_of_rows([value]) if plain else None


JSON_LAYOUTS: Sequence[Callable[[Any], Columns | None]] = (
    _list_of_records, _header_and_rows, _split_columns, _texts_of_files, _object_of_columns,
    _records_within, _one_record,
)  # fmt: skip
"""The ways to write a table as one JSON value; the first that knows it reads it."""
