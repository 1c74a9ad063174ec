"""Cells of a table: missing and bad ones and the policy for them, texts, and files."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, cast, get_args

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from plait.data.paths import find_file, held_bytes, missing_file, peek
from plait.types import BadCell, PlaitError, UnseenLabel, UsageError
from plait.util.files import exists
from plait.util.imports import needed

MAX_LETTERS = 1_000_000  # of a text
MAX_BYTES = 1 << 30  # of a file
NAME_LETTERS = 300  # of a file name in a message
SUFFIX = re.compile(r"(?i)\.[a-z][a-z0-9]{1,4}$")  # of a file's name
COLUMN_NAMES = (
    "caption", "captions", "text", "texts", "sentence", "sentences", "description", "comment",
    "raw", "reference", "references",
)  # fmt: skip
"""Usual names of a column of texts, the likeliest first."""

OnBad = Literal["stop", "skip", "missing"]
T = TypeVar("T")


@dataclass
class ErrorPolicy:
    """What to do with bad cells, and the list of them.

    Attributes:
        policy: ``stop`` at the first bad cell, ``skip`` its record, or treat the input as
            ``missing``.
        failures: one line for each bad cell.
        handled: (row, input) of each bad cell, with rows as the caller counts them.
        in_table: whether messages name the row and column; False for files named one by one.
    """

    policy: OnBad = "stop"
    failures: list[str] = field(default_factory=list)
    handled: set[tuple[int, str]] = field(default_factory=set)
    in_table: bool = True

    def handle(self, number: int, column: str, error: BadCell) -> None:
        """Stop, or note the bad cell; ``number`` is its row in the table, counted from 1."""
        if self.policy != "stop":
            self.failures.append(self._line(number, column, error))
            return
        fix, otherwise = (
            ("fix the cell", "continue with --on-bad skip or --on-bad missing") if self.in_table
            else ("fix the file", "leave it out with --on-bad skip")
        )  # fmt: skip
        raise PlaitError(
            self._line(number, column, error.what), expected=error.expected,
            hint=f"{error.hint or fix}, or {otherwise}",
        ) from None  # fmt: skip

    def note_unseen_labels(self, column: str, errors: Mapping[int, UnseenLabel]) -> None:
        """Note targets that the model has never seen, in one line. Their records are kept.

        Args:
            column: the column with the targets.
            errors: row number -> error.
        """
        if not errors:
            return
        first, *others = errors
        line = f"{self._line(first, column, errors[first])}; it counts as wrong"
        if others:
            some = ", ".join(map(str, others[:10])) + (", ..." if len(others) > 10 else "")
            line += f", and so do {len(others):,} other rows: {some}"
        self.failures.append(line)

    def _line(self, number: int, column: str, error: BadCell | str) -> str:
        return f"row {number}, column {column!r}: {error}" if self.in_table else str(error)


class Collected(ErrorPolicy):
    """Keeps the first bad cell of every record, for the caller to handle when it comes to it.

    Attributes:
        errors: row, counted from 0 -> its input and what is wrong.
    """

    def __init__(self) -> None:
        super().__init__("skip")
        self.errors: dict[int, tuple[str, BadCell]] = {}

    def handle(self, number: int, column: str, error: BadCell) -> None:
        """Keep it; ``number`` counts from 1."""
        self.errors.setdefault(number - 1, (column, error))


def check_policy(name: str) -> OnBad:
    """Check the name of a policy; raises UsageError for an unknown one."""
    if name not in get_args(OnBad):
        raise UsageError(f"there is no policy {name!r}", expected=" or ".join(get_args(OnBad)))
    return cast(OnBad, name)


def in_chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of ``size``; the last one may be shorter."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


def as_text(cell: Any) -> str:
    """A cell as one string: a string, a number as it is written, or a list of strings, joined.

    Bytes are decoded as UTF-8, with a replacement character for invalid ones; NULs become spaces.

    Raises:
        BadCell: the cell is empty, is not text, or is longer than a million characters.
    """
    if isinstance(cell, bytes):
        cell = cell.decode("utf-8", "replace")
    if isinstance(cell, list):
        cell = " ".join(str(item) for item in cell if item is not None)
    if isinstance(cell, (bool, int, float)):
        cell = str(cell)
    if not isinstance(cell, str):
        raise BadCell(f"{cell!r:.60} is not text", expected="a string")
    if len(cell) > MAX_LETTERS:
        long = f"the text has {len(cell):,} characters"
        raise BadCell(long, expected=f"at most {MAX_LETTERS:,}", hint="shorten it")
    text = cell.replace("\0", " ").strip()
    if not text:
        raise BadCell("the text is empty", expected="at least one word")
    return text


def is_sentence(cell: Any) -> bool:
    """Whether a cell is words or a list of texts, and not the name of a file."""
    if isinstance(cell, list):
        return all(isinstance(item, str) for item in cell)
    name = peek(cell)
    return isinstance(name, str) and " " in name.strip() and not SUFFIX.search(name)


class MediaInfo(NamedTuple):
    """What the header of a file claims; 0 for what it doesn't have.

    Attributes:
        width, height: pixels of an image or of a frame of a video, upright.
        seconds: the duration.
    """

    width: int = 0
    height: int = 0
    seconds: float = 0.0

    @property
    def pixels(self) -> int:
        """Pixels of an image or of a frame."""
        return self.width * self.height


class FileKind(NamedTuple):
    """A kind of file, which its name or its first bytes tell.

    Attributes:
        suffixes: the ends of its files' names, in lower case.
        start: matches their first bytes.
    """

    suffixes: tuple[str, ...]
    start: re.Pattern[bytes]

    def has_suffix(self, name: str) -> bool:
        """Whether a name has the suffix of such a file."""
        return name.lower().endswith(self.suffixes)

    def is_certain(self, cell: Any) -> bool:
        """Whether a cell can only be such a file: its name, or its bytes as they are or as
        text."""
        known = peek(cell)
        if isinstance(known, bytes):
            return self.start.match(known) is not None
        return isinstance(known, str) and self.has_suffix(known)


def file_type(kinds: str, media_type: str) -> Any:
    """The request type of a file: bytes, or base64 in JSON; never a path on the server."""
    schema = {"type": "string", "contentEncoding": "base64", "contentMediaType": media_type}
    described = WithJsonSchema({**schema, "description": kinds})
    return Annotated[bytes, BeforeValidator(sent_bytes), described]


def sent_bytes(value: Any) -> Any:
    """Base64, or a data: URL, as bytes; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        data = held_bytes(value) if value.startswith("data:") else None
        # Many programs break base64 into lines.
        return base64.b64decode("".join(value.split()), validate=True) if data is None else data
    except (binascii.Error, ValueError):
        raise PydanticCustomError("file", "this is not a file in base64") from None


def brands(data: bytes) -> set[bytes]:
    """The formats that a file of the MP4 family (HEIC, AVIF, M4A, MOV...) says it is in; empty for
    others."""
    if data[4:8] != b"ftyp":
        return set()
    box = data[8 : max(12, min(int.from_bytes(data[:4], "big"), 256))]
    return {box[at : at + 4] for at in range(0, len(box), 4) if at != 4}  # there: a version


def library_for(what: str, library: str, extra: str) -> Any:
    """The optional library that reads a format.

    Raises:
        BadCell: it is not installed, so that other cells are read all the same; ``what`` begins the
            message, which names the extra.
    """
    try:
        return needed(library, extra)
    except PlaitError as error:
        raise BadCell(f"{what}: {error.what}", hint=error.hint) from None


def name_cell(cell: Any) -> str:
    """A cell's name for messages: its path, cut if it is long, or its number of bytes."""
    name = cell if isinstance(cell, (bytes, bytearray)) else str(cell)
    if isinstance(name, str) and len(name) > NAME_LETTERS:
        name = held_bytes(name) or name
    if not isinstance(name, str):
        return f"a file of {len(name):,} bytes"
    return name if len(name) <= NAME_LETTERS else f"{name[:NAME_LETTERS]}..."


def load_bytes(cell: Any, root: Path, kinds: str) -> tuple[bytes, str]:
    """The bytes of a cell's file, and the file's name for messages.

    Args:
        cell: a path as `find_file` reads it, or a file's bytes.
        root: the folder that a relative path starts from.
        kinds: the file formats that are expected, for messages.

    Raises:
        BadCell: the file is missing, empty, too large, or is a folder or device.
    """
    is_named = isinstance(cell, (str, Path)) and str(cell).strip()
    found = find_file(cell, root) if is_named else cell
    if isinstance(found, Path):
        data, name = _read_file(found, cell, root, kinds), name_cell(cell)
    elif isinstance(found, (bytes, bytearray)):
        data, name = bytes(found), name_cell(found)
    else:
        empty = cell is None or (isinstance(cell, str) and not cell)
        what = "is empty" if empty else f"contains {' '.join(repr(cell).split())[:40]}"
        raise BadCell(f"the cell {what}", expected=f"a path or a file's bytes: {kinds}")
    if not data:
        raise BadCell(f"{name} is empty (0 bytes)", expected=kinds, hint="get the file again")
    return data, name


def _read_file(path: Path, cell: Any, root: Path, kinds: str) -> bytes:
    name = name_cell(cell)
    if not exists(path):
        raise missing_file(cell, name, root)
    try:
        if path.is_dir():
            raise BadCell(f"{name} is a folder", expected=kinds)
        if not path.is_file():
            raise BadCell(f"{name} is a device or pipe", expected=kinds)
        if path.stat().st_size > MAX_BYTES:
            raise BadCell(f"{name} is larger than {MAX_BYTES >> 30} GiB", expected=kinds)
        return path.read_bytes()
    except OSError as error:
        why = error.strerror or str(error)
        raise BadCell(f"{name!r} can't be read ({why})", hint="check its permissions") from None
