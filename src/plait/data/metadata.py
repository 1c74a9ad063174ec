"""Image files without metadata: without texts, EXIF and colour profiles, broken ones among them.

Decoders read metadata before pixels, and refuse a file for an error in either. Here a file's parts
are walked without reading them, and only those are kept that its pixels need. Nothing is decoded,
so that a file with broken pixels stays one.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Container, Iterator, Mapping

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
PNG_PIXELS = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
PNG_KEPT = (*PNG_PIXELS, b"tRNS", b"eXIf")  # transparent colours; how the photo is turned
COLOURS = 25  # where a PNG file says how it stores colours
TRANSPARENT: Mapping[int, Container[int]] = {0: (2,), 2: (6,), 3: range(1, 257)}
"""How colours are stored (grey, RGB, palette) -> the possible lengths of ``tRNS``."""
PNG_MARKS = re.compile(b"|".join(PNG_KEPT))
MOST_MARKS = 64  # of a file that are tried as the start of a chunk; more are an attack
WEBP_PIXELS = (b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF")
WEBP_MARKS = re.compile(b"|".join(WEBP_PIXELS))
WEBP_OTHERS = (b"ICCP", b"EXIF", b"XMP ")
ADOBE, SCAN = 0xEE, 0xDA  # JPEG's segments: the one that tells CMYK's kind; the pixels
TIFF_TAGS = {
    254, 256, 257, 258, 259, 262, 263, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320, 322,
    323, 324, 325, 330, 332, 334, 338, 339, 340, 341, 347, 512, 513, 514, 529, 530, 531, 532,
}  # fmt: skip
"""TIFF's tags that say how pixels are stored."""
GIF_EXTENSION, GIF_CONTROL = 0x21, 0xF9


def without_metadata(data: bytes) -> bytes:
    """A PNG, WebP, JPEG, TIFF or GIF file without its metadata; of an animation, the first picture
    is there. Other files, and those whose parts can't be told apart, as they are."""
    try:
        if data.startswith(PNG):
            return PNG + b"".join(_png(data))
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            chunks = list(_webp(data, True))
            if not any(chunk[:4] in WEBP_PIXELS for chunk in chunks):  # skipped by a wrong length
                chunks = list(_webp(data, False))
            body = b"WEBP" + b"".join(chunks)
            return b"RIFF" + struct.pack("<I", len(body)) + body
        if data.startswith(JPEG):
            return JPEG + b"".join(_jpeg(data))
        if data[:4] in (b"II*\0", b"MM\0*"):
            return _tiff(data)
        return b"".join(_gif(data)) if data.startswith(b"GIF8") else data
    except (struct.error, IndexError):  # it ends within a part
        return data


def _png(data: bytes) -> Iterator[bytes]:
    """Chunks: length, kind, content, checksum. Of a chunk with a wrong checksum, the length may be
    what is wrong: it ends where the next whole one of those that are kept begins."""
    at, tried = len(PNG), 0
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        sound = kind != b"tRNS" or length in TRANSPARENT.get(data[COLOURS], ())
        if kind in PNG_PIXELS or (kind in PNG_KEPT and sound and _is_checked(data, at)):
            yield data[at:end]
        elif not _is_checked(data, at):
            end = len(data)
            for mark in PNG_MARKS.finditer(data, at + 12):
                tried += 1  # each may take a checksum of all that follows
                if tried > MOST_MARKS:
                    break
                if _is_checked(data, mark.start() - 4):
                    end = mark.start() - 4
                    break
        at = end


def _is_checked(data: bytes, at: int) -> bool:
    """Whether the PNG chunk at this place is there and has the right checksum."""
    end = at + 8 + int.from_bytes(data[at : at + 4], "big")
    if end + 4 > len(data):
        return False
    return data[end : end + 4] == struct.pack(">I", zlib.crc32(data[at + 4 : end]))


def _webp(data: bytes, trust: bool) -> Iterator[bytes]:
    """Chunks: kind, length, content to an even number of bytes. Without ``trust``, what isn't
    pixels ends where the next pixels begin, whatever its length says."""
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length + length % 2
        if kind == b"VP8X":  # flags; of these, animation and transparency stay
            yield data[at : at + 8] + bytes([data[at + 8] & 0b10010]) + data[at + 9 : end]
        elif kind in WEBP_PIXELS:
            yield data[at:end]
        elif not trust or (
            end != len(data) and data[end : end + 4] not in (*WEBP_PIXELS, *WEBP_OTHERS)
        ):
            marks = WEBP_MARKS.search(data, at + 8)  # its length is wrong
            end = marks.start() if marks else len(data)
        at = end


def _jpeg(data: bytes) -> Iterator[bytes]:
    """Segments: a mark of two bytes, the length, the content; behind the first scan, all the
    rest."""
    at = len(JPEG)
    while data[at] == 0xFF and data[at + 1] != SCAN:
        mark, length = struct.unpack_from(">BH", data, at + 1)
        if not (0xE0 <= mark <= 0xEF or mark == 0xFE) or (mark == ADOBE and length >= 14):
            yield data[at : at + 2 + length]
        at += 2 + length
    yield data[at:]


def _tiff(data: bytes) -> bytes:
    """A directory of tags at a place that the header names; what a tag refers to stays where it
    is."""
    order = "<" if data.startswith(b"II") else ">"
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, at)
    entries = [data[at + 2 + 12 * n : at + 14 + 12 * n] for n in range(count)]
    kept = [entry for entry in entries if struct.unpack_from(f"{order}H", entry)[0] in TIFF_TAGS]
    directory = struct.pack(f"{order}H", len(kept)) + b"".join(kept) + bytes(4)  # no other image
    return data[:at] + directory + data[at + len(directory) :]


def _gif(data: bytes) -> Iterator[bytes]:
    """A header with its colours, then extensions, each in blocks that say their length; from the
    first image on, all the rest."""
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    yield data[:at]
    while data[at] == GIF_EXTENSION:
        start, at = at, at + 2
        while data[at]:
            at += 1 + data[at]
        at += 1
        if data[start + 1] == GIF_CONTROL and at - start == 8:
            yield data[start:at]
    yield data[at:]
