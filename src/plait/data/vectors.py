"""Reads word vectors: text files (GloVe, fastText's .vec, word2vec) and word2vec's binary files.

Formats are recognised by their content; each may be gzipped. Files have millions of words, so they
are read word by word, and only the words asked for are kept.

Text files have a word and its numbers on each line; word2vec and fastText put a line "words
dimension" before. Binary files (Mikolov et al. 2013, arXiv:1301.3781, the authors' program) have
that line, then for each word its bytes, a space, and little-endian float32 numbers.
"""

from __future__ import annotations

import gzip
import io
import math
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from plait.types import PlaitError

MAX_DIMENSION = 4096
MAX_LINE = 1 << 17  # bytes: a word and 4096 numbers of 30 digits
MAX_WORD = 1 << 12  # bytes
KINDS = "GloVe, fastText (.vec) or word2vec vectors (text or binary, optionally gzipped)"
GZIP = b"\x1f\x8b"
OTHERS = {
    b"\x80": ("a pickle, which is never opened", "save the vectors in word2vec's format"),
    b"PK": ("a zip archive", "unpack it"),
    b"\xba\x16\x4f\x2f": ("a fastText model", "use the .vec file beside it"),
    b"\x93NUMPY": ("an array without words", "save the vectors in word2vec's format"),
}
"""How other common files start -> what they are, and a hint."""

_HEADER = re.compile(rb"(\d{1,12}) (\d{1,6}) *\r?\n")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")  # never in text, nearly always in float32

Stream: TypeAlias = "io.BufferedReader[io.RawIOBase]"
Vector = NDArray[np.float32]
Keep = Callable[[int, str], bool]
"""Called with a word's rank (0 is the commonest) and the word; returns whether to keep it."""


def read_vectors(path: str | Path, keep: Keep) -> dict[str, Vector]:
    """The vectors, (D,) each, of the words to keep, in file order; the first if a word repeats.
    Raises PlaitError if the file is missing, empty, damaged or in another format; the message names
    the line (in a binary file, the word's number)."""
    vectors: dict[str, Vector] = {}
    try:
        with open(path, "rb") as file:
            zipped = file.peek(2).startswith(GZIP)
            source = gzip.GzipFile(fileobj=file) if zipped else file
            stream = io.BufferedReader(cast(io.RawIOBase, source), MAX_LINE)
            for word, vector in _records(stream, str(path), keep):
                vectors.setdefault(word, vector)
    except (OSError, EOFError, zlib.error, ValueError) as error:  # ValueError: a NUL in the path
        why = getattr(error, "strerror", None) or str(error)
        raise PlaitError(
            f"the vectors {path} can't be read: {why}", expected=KINDS, hint="check the file"
        ) from None
    return vectors


def _records(stream: Stream, name: str, keep: Keep) -> Iterator[tuple[str, Vector]]:
    start = stream.peek(MAX_LINE)
    if not start.strip():
        raise PlaitError(f"the vectors {name} are empty", expected=KINDS)
    for begin, (what, hint) in OTHERS.items():
        if start.startswith(begin):
            raise PlaitError(f"{name} is {what}", expected=KINDS, hint=hint)
    header = _HEADER.match(start)
    if header is None and _CONTROL.search(start):
        raise PlaitError(f"{name} contains no word vectors", expected=KINDS)
    if header is None:
        return _text(stream, name, None, 0, keep)
    count, size = int(header[1]), int(header[2])
    if not 0 < size <= MAX_DIMENSION:
        raise _damaged(name, "line 1", f"claims vectors of {size} numbers")
    stream.read(header.end())
    if _CONTROL.search(start, header.end()):
        return _binary(stream, name, count, size, keep)
    return _text(stream, name, count, size, keep)


def _text(
    stream: Stream, name: str, count: int | None, size: int, keep: Keep
) -> Iterator[tuple[str, Vector]]:
    """``count`` and ``size`` are from the header, already read; None and 0 without a header."""
    first, number = (1 if count is None else 2), -1
    for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE), b"")):
        line = line.rstrip(b" \r\n")  # word2vec and fastText end lines with a space
        size = size or line.count(b" ")
        try:
            word, numbers = _parted(line, size)
            if keep(number, word):
                yield word, _finite([float(field) for field in numbers])
        except ValueError as error:
            raise _damaged(name, f"line {number + first}", error) from None
    if count is not None and number + 1 < count:
        raise _damaged(name, f"line {number + first}", f"is the last of {count:,} words")


def _parted(line: bytes, size: int) -> tuple[str, list[bytes]]:
    """The word and its numbers; some files have words that contain spaces."""
    if not 0 < size <= MAX_DIMENSION:
        raise ValueError(f"has {size} numbers after a word")
    word, *numbers = line.rsplit(b" ", size)
    more = False
    if b" " in word:
        with suppress(ValueError):
            more = math.isfinite(float(word.rpartition(b" ")[2]))
    if len(numbers) < size or more:
        raise ValueError(f"has {line.count(b' ')} numbers after the word instead of {size}")
    return _word(word), numbers


def _word(word: bytes) -> str:
    try:
        return word.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"has a word that is not UTF-8: {word[:40]!r}") from None


def _finite(numbers: list[float] | NDArray[np.float32]) -> Vector:
    """As float32, whose largest number is 3.4e38."""
    values = np.asarray(numbers, np.float64)
    if not (np.abs(values) <= np.finfo(np.float32).max).all():
        raise ValueError("has a number that is not finite")
    return values.astype(np.float32)


def _binary(
    stream: Stream, name: str, count: int, size: int, keep: Keep
) -> Iterator[tuple[str, Vector]]:
    for number in range(count):
        try:
            letters = bytearray()
            while (letter := stream.read(1)) != b" ":
                if not letter or len(letters) > MAX_WORD:
                    raise ValueError("has no end" if letter else "is truncated")
                letters += letter
            word = _word(bytes(letters).lstrip(b"\n"))  # some programs write a line break before
            data = stream.read(4 * size)
            if len(data) < 4 * size:
                raise ValueError("is truncated")
            if keep(number, word):
                yield word, _finite(np.frombuffer(data, "<f4"))
        except ValueError as error:
            raise _damaged(name, f"word {number + 1:,} of {count:,}", error) from None


def _damaged(name: str, place: str, what: object) -> PlaitError:
    return PlaitError(
        f"the vectors {name} are damaged: {place} {what}", expected=KINDS, hint="get the file again"
    )
