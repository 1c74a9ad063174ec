"""Which file a cell names, however it is written.

A cell is tried as it stands. If there is no such file, it is read as people and other programs
write paths: with blanks or quotes around it, as a file: URL, from the home folder (~), with
backslashes, with %20 for a blank, or in another form of Unicode (macOS writes é as e and accent).
A cell may also hold the file itself, in base64 or as a data: URL. A web address is read only where
the user allows it (`WebAddress`).
"""

from __future__ import annotations

import ast
import base64
import binascii
import os
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from plait.types import BadCell
from plait.util.files import exists, is_file
from plait.util.suggest import nearest

LONGEST_NAME = 255  # bytes of a file's name, on all usual file systems
PEEKED = 96  # characters of base64 that tell what they hold
LISTED, COMPARED = 100_000, 200  # files of a folder that are looked through, and compared
BLANKS = "\ufeff\u200b\u200e\u200f \t\r\n\f\v\xa0\u3000"
QUOTES = ("''", '""', "“”", "‘’", "«»", "``", "<>")
DATA = re.compile(r"(?is)data:([^,]{0,200}),(.*)")
FILE = re.compile(r"(?i)file:(?://)?(?:localhost(?=/))?")  # pathlib makes one slash of two
WEB = re.compile(r"(?i)https?:/{1,2}[^/]")
ADDRESS = re.compile(r"(?i)[a-z][a-z0-9+.-]+:/{1,2}[^/]")
BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
LITERAL = re.compile(r"(?s)b(?:[^\\]|\\x..|\\[^x])*")  # no part of an escaped byte at its end
# What files begin with. Words may begin with the shorter marks of BMP, MP3 and AAC.
MEDIA = re.compile(
    rb"(?s)\xff\xd8\xff|\x89PNG|GIF8|RIFF....(?:WEBP|WAVE|AVI )|II\*\0|MM\0\*|....(?:ftyp|moov)"
    rb"|fLaC|OggS|ID3[\x02-\x04]\0|\x1a\x45\xdf\xa3|FORM....AIF|#!AMR|caff|\x93NUMPY|PAR1"
)
SHORT = re.compile(rb"BM|\xff[\xe0-\xff]")


class WebAddress(str):
    """The cell of a table that names a file on the web, which may be downloaded."""


def find_file(cell: str | Path, root: Path) -> Path | bytes:
    """The file or folder that a cell names, or the bytes that it holds.

    Args:
        cell: as it stands in a table, or as the user typed it.
        root: the folder that a relative path starts from.

    Returns:
        The path; where there is no such file, the plain one, and `missing_file` says more.

    Raises:
        BadCell: it is a web address, which is allowed, and can't be downloaded.

    Examples:
        >>> find_file(r"images\\cat.jpg", Path("/data"))
        PosixPath('/data/images/cat.jpg')
    """
    if isinstance(cell, WebAddress):
        from plait.data.downloads import download  # here: urllib is slow to import

        return download(cell)
    text = str(cell)
    plain = root / text
    if exists(plain):
        return plain
    held = held_bytes(text)
    if held is not None:
        return held
    return next((path for way in _readings(text) if (path := _on_disk(root, way))), plain)


def allow_web(cell: Any) -> Any:
    """A cell whose address, if it is one of the web, may be downloaded; other cells as they are."""
    text = tidy(cell) if isinstance(cell, str) else ""
    return WebAddress(text) if WEB.match(text) else cell


def names_file(cell: str, root: Path) -> bool:
    """Whether a cell names a file that is there."""
    found = find_file(cell, root)
    return isinstance(found, Path) and is_file(found)


def below(folder: PurePath, cell: str) -> str:
    """A cell as seen from elsewhere, if it is a path that starts from ``folder``; other cells as
    they are."""
    text = peek(cell)
    free = not isinstance(text, str) or text.startswith("~") or ADDRESS.match(text)
    return cell if free or FILE.match(text) else str(folder / text)


def held_bytes(text: str) -> bytes | None:
    """The file that a text holds in base64, as a data: URL, or as Python writes bytes; None if it
    holds none."""
    if data := _from_literal(text.strip(BLANKS)):
        return data
    text = tidy(text)
    if match := DATA.fullmatch(text):
        return _from_url(match[1], match[2])
    data = _from_base64(text)
    if data is None or MEDIA.match(data):
        return data
    long = len(text) > LONGEST_NAME and (SHORT.match(data) or _is_written(data))
    return data if long else None


def _is_written(data: bytes) -> bool:
    """Whether bytes are lines of text, such as a CSV file."""
    try:
        return all(line.isprintable() for line in data.decode().split())
    except UnicodeDecodeError:
        return False


def _from_url(kind: str, content: str, most: int | None = None) -> bytes | None:
    if kind.lower().endswith(";base64"):
        return _from_base64(unquote(content), most)
    return unquote_to_bytes(content)[:most]


def _from_base64(text: str, most: int | None = None) -> bytes | None:
    """In either alphabet, with or without line breaks and the filling at its end; ``most`` is how
    many characters are looked at, a multiple of 4."""
    plain = "".join(text.split())[:most]
    if len(plain) < 16 or not BASE64.fullmatch(plain):
        return None
    plain = plain.rstrip("=").translate({ord("-"): "+", ord("_"): "/"})
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4))
    except (binascii.Error, ValueError):  # one character too many
        return None


def _from_literal(text: str, most: int | None = None) -> bytes | None:
    """Bytes as Python writes them, all but letters with backslashes; ``most`` is how many
    characters are looked at."""
    if text[:2] not in ("b'", 'b"') or "\\" not in text[: 2 * PEEKED]:
        return None
    if most is not None and len(text) > most and (start := LITERAL.match(text[:most])):
        text = start[0] + text[1]
    try:
        data = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError):
        return None
    return data if isinstance(data, bytes) else None


def peek(cell: Any) -> Any:
    """What tells of which kind a cell's file is: the file's name without what is written around
    it, or the first bytes that the cell holds. Other cells as they are; nothing is opened."""
    if not isinstance(cell, (str, Path)):
        return cell
    if start := _from_literal(str(cell)[: 6 * PEEKED].strip(BLANKS), 4 * PEEKED):
        return start
    text = tidy(str(cell))
    if match := DATA.match(text[: 10 * PEEKED]):
        return _from_url(match[1], match[2][: 3 * PEEKED], PEEKED) or text
    start = _from_base64(text[: 2 * PEEKED], PEEKED)
    if start and MEDIA.match(start):
        return start
    return re.split(r"[?#]", text)[0] if WEB.match(text) else text


def tidy(text: str) -> str:
    """A text without the blanks and pairs of quotes around it, or the b'' of Python's bytes."""
    text = text.strip(BLANKS)
    if text[:2] in ("b'", 'b"') and text[-1] == text[1]:
        text = text[1:]
    while len(text) > 2 and text[0] + text[-1] in QUOTES:
        text = text[1:-1].strip(BLANKS)
    return text


def _readings(text: str) -> Iterator[str]:
    """The paths that a text may mean, the likeliest first."""
    text = tidy(text)
    if len(text) > 4096:
        return
    path = FILE.sub("", text, count=1) if FILE.match(text) else text
    for way in (path, unquote(path)):
        for slashed in (way, way.replace("\\", "/")):
            if slashed and slashed != ".":
                yield os.path.expanduser(slashed)


def _on_disk(root: Path, text: str) -> Path | None:
    """The path as it is on disk, in whatever form of Unicode; None if there is none."""
    if exists(root / text):
        return root / text
    if text.isascii():
        return None
    found = Path(root, text.split("/")[0] or "/") if text.startswith("/") else root
    for part in filter(None, text.split("/")):
        forms = (part, *(unicodedata.normalize(form, part) for form in ("NFC", "NFD")))
        step = next((found / form for form in forms if exists(found / form)), None)
        if step is None:
            return None
        found = step
    return found


def missing_file(cell: str | Path, name: str, root: Path) -> BadCell:
    """The error for a cell that names no file: what it may have meant; ``name`` is for
    messages."""
    text = tidy(str(cell))
    if ADDRESS.match(text) and not FILE.match(text):
        allow = "or allow it with --allow-urls (in Python: plait.read_table(..., allow_urls=True))"
        hint = f"download it first{', ' + allow if WEB.match(text) else ''}"
        return BadCell(f"{name} is an address, not a file", expected="a file", hint=hint)
    if DATA.match(text):
        return BadCell(f"{name} is a broken data: URL", expected="data:image/png;base64,...")
    if any(len(part.encode("utf-8", "replace")) > LONGEST_NAME for part in text.split("/")):
        what = f"{name} is neither a path (a name has at most {LONGEST_NAME} bytes)"
        return BadCell(f"{what} nor a file in base64", expected="one of them")
    way = next(reversed([text, *_readings(text)]))
    place = "" if str(root / way) == name else f" (looked for {root / way})"
    near = _near(way, root)
    hint = f"did you mean {near!r}?" if near else "check the path"
    return BadCell(f"{name} is missing{place}", hint=hint)


def _near(way: str, root: Path) -> str | None:
    """A file that is there, and whose path is nearly the one that was looked for."""
    parts = Path(way).parts
    for first in range(1, len(parts)):  # the table or its files were moved
        tail = Path(*parts[first:])
        if _on_disk(root, str(tail)):
            return str(tail)
    found = root
    for at, part in enumerate(parts):
        if (step := _on_disk(found, part)) is not None:
            found = step
        elif (other := _like(part, found)) is not None:
            start = Path(*parts[:at], other)
            whole = start.joinpath(*parts[at + 1 :])
            return str(whole if exists(root / whole) else start)
        else:
            break
    return None


def _like(name: str, folder: Path) -> str | None:
    """The entry of a folder that differs from a name in case, in its suffix, or a little."""
    try:
        entries, folded, stems = _entries(folder, folder.stat().st_mtime_ns)
    except OSError:
        return None
    same = folded.get(_folded(name)) or stems.get(Path(name).stem.casefold())
    if same is not None or len(entries) > COMPARED:
        return same
    letters = _without_digits(name)  # another number is another file
    return nearest(name, [entry for entry in entries if _without_digits(entry) != letters])


@lru_cache(4)
def _entries(folder: Path, changed: int) -> tuple[list[str], dict[str, str], dict[str, str]]:
    """The names in a folder, and these by their letters regardless of case, and by their stems."""
    entries = sorted(os.listdir(folder)[:LISTED])
    folded = {_folded(entry): entry for entry in entries}
    return entries, folded, {Path(entry).stem.casefold(): entry for entry in entries}


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _without_digits(name: str) -> str:
    return re.sub(r"\d+", "", name)
