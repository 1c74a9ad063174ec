"""The bytes of a cell that names or holds a file; never of a folder, a device or a huge file."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from plait.types import BadCell

MAX_BYTES = 1 << 30
NAME_LETTERS = 300  # of a file name in a message


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


def file_type(kinds: str, media_type: str) -> Any:
    """The request type of a file: bytes, or base64 in JSON; never a path on the server."""
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
        raise PydanticCustomError("file", "this is not a file in base64") from None


def name_cell(cell: Any) -> str:
    """A cell's name for messages: its path, cut if it is long, or its number of bytes."""
    if isinstance(cell, (bytes, bytearray)):
        return f"a file of {len(cell):,} bytes"
    name = str(cell)
    return name if len(name) <= NAME_LETTERS else f"{name[:NAME_LETTERS]}..."


def load_bytes(cell: Any, root: Path, kinds: str) -> tuple[bytes, str]:
    """The bytes of a cell's file, and the file's name for messages.

    Args:
        cell: a path, or a file's bytes.
        root: the folder that a relative path starts from.
        kinds: the file formats that are expected, for messages.

    Raises:
        BadCell: the file is missing, empty, too large, or is a folder or device.
    """
    name = name_cell(cell)
    if isinstance(cell, (bytes, bytearray)):
        data = bytes(cell)
    elif isinstance(cell, (str, Path)) and str(cell).strip():
        data = _read(root / cell, name, kinds)
    else:
        empty = cell is None or (isinstance(cell, str) and not cell)
        what = "is empty" if empty else f"contains {' '.join(repr(cell).split())[:40]}"
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
