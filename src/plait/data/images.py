"""Opening pictures safely: by what a file holds, not by what it is called.

A picture's header is read before its pixels, so that a small file which claims to hold billions
of pixels is refused without decoding it. Ordinary JPEG files take OpenCV's fast path; all other
formats, and JPEG files that look odd, take Pillow's. Every refusal is a `BadCell` of one line.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from plait.data.media import MediaInfo, load_bytes
from plait.types import BadCell, PlaitError
from plait.util.files import is_folder

MAX_PIXELS = 100_000_000
MAX_SCANS = 100  # of a progressive JPEG, which has about ten; each goes over all pixels anew
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF")
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".tif", ".tiff", ".gif", ".bmp")
STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\x00", b"MM\x00*")
KINDS = "a JPEG, PNG, WebP, TIFF or GIF picture"
JPEG_END, JPEG_SCAN = b"\xff\xd9", b"\xff\xda"  # in compressed pixels neither can stand
ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)  # EXIF's tag, and its values of turned pictures
REDUCED = (
    (8, cv2.IMREAD_REDUCED_COLOR_8),
    (4, cv2.IMREAD_REDUCED_COLOR_4),
    (2, cv2.IMREAD_REDUCED_COLOR_2),
)

Pixels = NDArray[np.uint8]
Fit = Literal["squash", "crop"]


def open_image(cell: str | Path | bytes, root: Path) -> Pixels:
    """A picture upright, in RGB: (H, W, 3) uint8.

    Transparent parts are seen over white; 16-bit pictures keep their upper 8 bits; of an
    animation the first frame is taken.

    Args:
        cell: a path, or the bytes of a file.
        root: the folder in which a relative path is looked up.

    Raises:
        BadCell: the picture is missing, empty, truncated, too large or not a picture.
    """
    return _decode(*load_bytes(cell, root, KINDS), least=None)


def open_resized(cell: str | Path | bytes, root: Path, size: int, fit: Fit) -> Pixels:
    """A picture as a square of ``size`` pixels a side: (size, size, 3) uint8 RGB.

    Large JPEG files are decoded at a half, a quarter or an eighth of their size, never below
    ``size``: the rest of the way is an average over areas.

    Args:
        cell: a path, or the bytes of a file.
        root: the folder in which a relative path is looked up.
        size: pixels a side.
        fit: ``squash`` the whole picture to a square, or ``crop`` its middle.

    Raises:
        BadCell: as for `open_image`.
    """
    return to_square(_decode(*load_bytes(cell, root, KINDS), least=size), size, fit)


def image_info(cell: str | Path | bytes, root: Path) -> MediaInfo:
    """How large a picture claims to be once it is upright, by its header.

    Raises:
        BadCell: it is missing, empty, no picture, or claims more than is ever decoded.
    """
    data, name = load_bytes(cell, root, KINDS)
    picture = _header(io.BytesIO(data), name)
    size = picture.width, picture.height
    try:  # Pillow decodes a whole PNG to look for EXIF data behind its pixels
        known = picture.format != "PNG" or "exif" in picture.info
        turned = known and picture.getexif().get(ORIENTATION, 1) in SIDEWAYS
    except Exception:  # damaged EXIF data, of which Pillow raises anything: as if there were none
        turned = False
    return MediaInfo(*(size[::-1] if turned else size))


def to_square(image: Pixels, size: int, fit: Fit) -> Pixels:
    """(H, W, 3) -> (size, size, 3): the whole picture squashed, or its middle."""
    return _resize(_middle(image) if fit == "crop" else image, size)


def find_images(paths: Iterable[str | Path]) -> list[Path]:
    """Files as they are given; folders replaced by the pictures in them, sub-folders too, sorted.

    Inside folders a picture is told by its suffix, and hidden files are left out. A file given
    by name stays whatever it is called; opening it says whether it is one.

    Raises:
        PlaitError: a folder holds no picture.
    """
    found: dict[Path, None] = {}  # a dict, to keep the order and drop repetitions
    for path in map(Path, paths):
        found.update(dict.fromkeys(_in_folder(path) if is_folder(path) else [path]))
    return list(found)


def has_image_suffix(name: str) -> bool:
    """Whether a name ends as a picture's does."""
    return name.lower().endswith(SUFFIXES)


def has_image_start(data: bytes) -> bool:
    """Whether bytes begin as a picture file does."""
    return data.startswith(STARTS) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")


def is_image(cell: Any) -> bool:
    """Whether a cell is a path or a file's bytes that can only be a picture's."""
    if isinstance(cell, bytes):
        return has_image_start(cell)
    return isinstance(cell, str) and has_image_suffix(cell)


def _in_folder(folder: Path) -> list[Path]:
    found = [p for p in folder.rglob("*") if has_image_suffix(p.name) and p.name[0] != "."]
    found = sorted(p for p in found if p.is_file())
    if not found:
        raise PlaitError(
            f"the folder {folder} holds no pictures",
            expected=f"files ending in {', '.join(SUFFIXES)}",
            hint="give another folder, or the files by name",
        )
    return found


def _decode(data: bytes, name: str, least: int | None) -> Pixels:
    """(H, W, 3) uint8; at a reduced size where its shorter side stays >= ``least``."""
    stream = io.BytesIO(data)
    picture = _header(stream, name)
    # Pillow has stopped behind the marker that the compressed pixels follow. An end marker
    # must come after it; the one before it would belong to a thumbnail.
    whole = data.endswith(JPEG_END) or data.find(JPEG_END, stream.tell()) >= 0
    if picture.format == "JPEG" and picture.mode in {"RGB", "L"} and whole:
        flag = _flag(min(picture.size), least)
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
        if pixels is not None:  # otherwise Pillow tries, and says what is wrong
            return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return _by_pillow(picture, name)


def _header(stream: io.BytesIO, name: str) -> Image.Image:
    """The picture with its header read and its pixels not."""
    try:
        picture = Image.open(stream, formats=FORMATS)
        pixels = picture.width * picture.height
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(name, "") from None
    except UnidentifiedImageError:
        start = stream.getvalue()[:12]
        raise BadCell(
            f"{name} is not a picture (it starts with {start!r})", expected=KINDS
        ) from None
    except Exception as error:  # the plug-ins of Pillow raise whatever the broken bytes led to
        raise _broken(name, error) from error
    if pixels > MAX_PIXELS:
        raise _too_large(name, f" of {picture.width:,} x {picture.height:,} pixels")
    scans = stream.getvalue().count(JPEG_SCAN) if picture.format in ("JPEG", "MPO") else 0
    if scans > MAX_SCANS:
        raise BadCell(
            f"{name} is a JPEG of {scans:,} scans and was not decoded",
            expected=f"at most {MAX_SCANS}",
            hint="save it anew",
        )
    return picture


def _too_large(name: str, size: str) -> BadCell:
    return BadCell(
        f"{name} claims to be a picture{size} and was not decoded",
        expected=f"at most {MAX_PIXELS:,} pixels",
        hint="scale it down first",
    )


def _broken(name: str, error: Exception) -> BadCell:
    why = str(error).splitlines()[0] if str(error) else type(error).__name__
    return BadCell(f"{name} is damaged or cut short ({why})", expected=KINDS, hint="get it again")


def _flag(shorter: int, least: int | None) -> int:
    """The decoder's flag: the strongest reduction that leaves at least ``least`` pixels."""
    for factor, flag in REDUCED:
        if least is not None and shorter >= factor * least:
            return int(flag)
    return int(cv2.IMREAD_COLOR)


def _by_pillow(picture: Image.Image, name: str) -> Pixels:
    try:
        picture.load()  # before anything else: it raises when the file is cut short
        picture = ImageOps.exif_transpose(picture)
        if picture.mode.startswith(("I", "F")):
            return _shallow(np.asarray(picture), picture.mode)
        return np.array(_over_white(picture))
    except Exception as error:  # see _header
        raise _broken(name, error) from error


def _over_white(picture: Image.Image) -> Image.Image:
    """RGB; transparent parts show white."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")


def _shallow(values: NDArray[Any], mode: str) -> Pixels:
    """(H, W) deep grey -> (H, W, 3) uint8.

    Integers keep the upper 8 of 16 bits. Floats within [0, 1] are scaled to 255, others are
    taken to be on that scale already.
    """
    if mode == "F":
        values = np.nan_to_num(values)
        scale = 255.0 if values.size and values.min() >= 0 and values.max() <= 1 else 1.0
        grey = np.clip(np.round(values * scale), 0, 255)
    else:
        grey = np.clip(values.astype(np.int64) >> 8, 0, 255)
    return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)


def _middle(image: Pixels) -> Pixels:
    """The largest square in the middle: (S, S, 3)."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def _resize(image: Pixels, size: int) -> Pixels:
    """(size, size, 3). Sides shrink by area and grow linearly: one flag can't do both."""
    height, width = image.shape[:2]
    small = (min(width, size), min(height, size))
    if small != (width, height):
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    if small != (size, size):
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(image)
