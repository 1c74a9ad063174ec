"""The bytes of a cell that names a file, or holds one: never a folder, a device or too much."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from plait.types import BadCell

MAX_BYTES = 1 << 30
NAME_LETTERS = 300  # of a name in a message


class MediaInfo(NamedTuple):
    """What a file claims to hold, by its header; 0 for what it does not have.

    Attributes:
        width, height: pixels of a picture or of a video's frame, upright.
        seconds: how long it lasts.
    """

    width: int = 0
    height: int = 0
    seconds: float = 0.0

    @property
    def pixels(self) -> int:
        """How many pixels a picture or a frame has."""
        return self.width * self.height


def file_type(kinds: str, media_type: str) -> Any:
    """The type of a file in a request: bytes, or base64 within JSON, but never a path."""
    schema = {
        "type": "string", "contentEncoding": "base64", "contentMediaType": media_type,
        "description": kinds,
    }  # fmt: skip
    return Annotated[bytes, BeforeValidator(sent_bytes), WithJsonSchema(schema)]


def sent_bytes(value: Any) -> Any:
    """Base64 as bytes; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise PydanticCustomError("file", "this is no base64 of a file") from None


def name_cell(cell: Any) -> str:
    """How a message calls a cell: its path, or how many bytes it holds; a long one is cut."""
    if isinstance(cell, (bytes, bytearray)):
        return f"a file of {len(cell):,} bytes"
    name = str(cell)
    return name if len(name) <= NAME_LETTERS else f"{name[:NAME_LETTERS]}..."


def load_bytes(cell: Any, root: Path, kinds: str) -> tuple[bytes, str]:
    """The bytes of a cell's file, and its name for messages.

    Args:
        cell: a path, or a file's bytes.
        root: the folder in which a relative path is looked up.
        kinds: what is expected, for messages.

    Raises:
        BadCell: there is no such file, or it is a folder, a device, empty or too large.
    """
    name = name_cell(cell)
    if isinstance(cell, (bytes, bytearray)):
        data = bytes(cell)
    elif isinstance(cell, (str, Path)) and str(cell).strip():
        data = _read(root / cell, name, kinds)
    else:
        empty = cell is None or (isinstance(cell, str) and not cell)
        what = "is empty" if empty else f"holds {' '.join(repr(cell).split())[:40]}"
        raise BadCell(f"the cell {what}", expected=f"a path or a file's bytes: {kinds}")
    if not data:
        raise BadCell(f"{name} is empty (0 bytes)", expected=kinds, hint="get the file again")
    return data, name


def _read(path: Path, name: str, kinds: str) -> bytes:
    try:
        if path.is_dir():
            raise BadCell(f"{name} is a folder", expected=kinds)
        if path.exists() and not path.is_file():
            raise BadCell(f"{name} is a device or pipe", expected=kinds)
        if path.stat().st_size > MAX_BYTES:
            raise BadCell(f"{name} is larger than {MAX_BYTES >> 30} GiB", expected=kinds)
        return path.read_bytes()
    except FileNotFoundError:
        place = "" if str(path) == name else f" (looked for {path})"
        raise BadCell(f"{name} is missing{place}", hint="check the path") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte in it
        why = getattr(error, "strerror", None) or str(error)
        raise BadCell(f"{name!r} can't be read ({why})", hint="check its permissions") from None
