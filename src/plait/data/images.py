"""Safe decoding of images, by a file's content rather than its name.

The header is read before the pixels, so that a small file which claims to hold billions of pixels
is refused without decoding it. Ordinary JPEG files are decoded by OpenCV, which is fast; HEIC by
pillow-heif; other formats, and odd JPEG files, by Pillow. An unusable image is a `BadCell` with a
one-line message.

What a file says beside its pixels (EXIF, colour profile, texts) may be broken: the pixels are
decoded all the same, as if it were not there.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, features

from plait.data.cells import FileKind, MediaInfo, brands, library_for, load_bytes
from plait.data.metadata import without_metadata
from plait.data.paths import WebAddress, find_file
from plait.types import BadCell, PlaitError
from plait.util.files import exists, is_folder

MEAN = 3  # numbers of the mean colour, at the start of a packed image
MAX_PIXELS = 100_000_000
MAX_SCANS = 100  # of a progressive JPEG: usually about ten; each decodes all pixels again
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "AVIF")
AVIF_BRANDS = {b"avif", b"avis"}
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
IMAGE_BRANDS = AVIF_BRANDS | HEIC_BRANDS | {b"mif1", b"mif2", b"msf1"}
IMAGE = FileKind(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".gif", ".bmp", ".heic",
     ".heif", ".hif", ".avif"),
    re.compile(
        rb"(?s)\xff\xd8\xff|\x89PNG|GIF8|BM|II\*\x00|MM\x00\*|RIFF....WEBP"
        rb"|....ftyp(....){0,60}?(" + b"|".join(sorted(IMAGE_BRANDS)) + rb")"
    ),
)  # fmt: skip
KINDS = "a JPEG, PNG, WebP, TIFF, GIF, HEIC or AVIF image"
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip
"""EXIF's orientation -> what makes the image upright."""
JPEG_END, JPEG_SCAN = b"\xff\xd9", b"\xff\xda"  # neither can occur in compressed pixels
ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)  # EXIF's tag, and its values for rotated images
REDUCED = (
    (8, cv2.IMREAD_REDUCED_COLOR_8),
    (4, cv2.IMREAD_REDUCED_COLOR_4),
    (2, cv2.IMREAD_REDUCED_COLOR_2),
)

Pixels = NDArray[np.uint8]
Fit = Literal["squash", "crop", "letterbox"]
"""How an image is brought to a square."""
GREY = 127  # of the bars beside a letterboxed image
T = TypeVar("T")


def open_image(cell: str | Path | bytes, root: Path) -> Pixels:
    """Decode an image, upright and in RGB: (H, W, 3) uint8.

    Transparent parts become white, 16-bit images keep their upper 8 bits, and an animation gives
    its first frame.

    Args:
        cell: a path from the folder ``root``, or the bytes of a file.

    Raises:
        BadCell: the image is missing, empty, truncated or too large, or is not an image.
    """
    return _decode(*load_bytes(cell, root, KINDS), None)


def open_resized(cell: str | Path | bytes, root: Path, size: int, fit: Fit) -> Pixels:
    """Decode an image to a square: (size, size, 3) uint8 RGB.

    Large JPEG files are decoded at 1/2, 1/4 or 1/8 of their size, but never below ``size``, and
    then averaged over areas.

    Args:
        cell: a path from the folder ``root``, or the bytes of a file.
        size: pixels per side.
        fit: ``squash`` the whole image to a square, ``crop`` its middle, or ``letterbox`` it: the
            whole image in its own shape, with grey bars.

    Raises:
        BadCell: as for `open_image`.
    """
    return to_square(_decode(*load_bytes(cell, root, KINDS), size), size, fit)


def open_shown(cell: str | Path | bytes, root: Path, side: int) -> Pixels:
    """Decode an image for people to look at: (H, W, 3) uint8 RGB, in its own shape.

    Args:
        cell: a path from the folder ``root``, or the bytes of a file.
        side: the longer side has at most this many pixels.

    Raises:
        BadCell: as for `open_image`.
    """
    return shrunk(_decode(*load_bytes(cell, root, KINDS), side), side)


def image_info(cell: str | Path | bytes, root: Path) -> MediaInfo:
    """The size that an image's header claims, once it is upright. Raises BadCell if the image is
    missing or empty, is not an image, or is too large to decode."""
    data, name = load_bytes(cell, root, KINDS)

    def size(data: bytes) -> MediaInfo:
        image = _header(io.BytesIO(data), name)
        # Pillow decodes a whole PNG to look for EXIF data behind its pixels.
        known = image.format != "PNG" or "exif" in image.info
        sideways = known and _orientation(image) in SIDEWAYS
        return MediaInfo(*(image.size[::-1] if sideways else image.size))

    return _despite_metadata(size, data)


def to_square(image: Pixels, size: int, fit: Fit) -> Pixels:
    """(H, W, 3) -> (size, size, 3): the whole image squashed or with bars, or its largest middle
    square.

    Shrinks by area and enlarges linearly, as no single flag of OpenCV does both.
    """
    if fit == "crop":
        side = min(image.shape[:2])
        top, left = ((length - side) // 2 for length in image.shape[:2])
        image = image[top : top + side, left : left + side]
    height, width = image.shape[:2]
    shown = (size, size)  # wide, high
    if fit == "letterbox":
        scale = size / max(width, height)
        shown = max(1, round(width * scale)), max(1, round(height * scale))
    small = (min(width, shown[0]), min(height, shown[1]))
    if small != (width, height):
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    if small != shown:
        image = cv2.resize(image, shown, interpolation=cv2.INTER_LINEAR)
    if shown != (size, size):
        left, top = ((size - length) // 2 for length in shown)
        right, bottom = size - shown[0] - left, size - shown[1] - top
        bars = (top, bottom, left, right, cv2.BORDER_CONSTANT)
        image = cv2.copyMakeBorder(image, *bars, value=(GREY,) * 3)
    return np.ascontiguousarray(image)


def shrunk(image: Pixels, side: int) -> Pixels:
    """(H, W, 3) -> the same shape with at most ``side`` pixels along the longer side."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def pack_image(image: Pixels) -> NDArray[np.int32]:
    """(H, W, 3) -> (L,): the mean colour, then the image as a PNG file, four bytes a number, so
    that images of any shape are rows of plain numbers. `unpack_image` gives the same pixels back;
    what follows a row doesn't matter to it."""
    mean = image.mean(axis=(0, 1)).round().astype("<i4")
    _, data = cv2.imencode(".png", image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    whole = np.pad(data, (0, -len(data) % 4)).view("<i4")
    return np.concatenate([mean, whole]).astype(np.int32)


def unpack_image(row: NDArray[Any]) -> Pixels:
    """The image of which `pack_image` made a row."""
    data = np.frombuffer(row[MEAN:].astype("<i4").tobytes(), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return np.ascontiguousarray(np.asarray(image, np.uint8)[..., ::-1])


def find_images(paths: Iterable[str | Path]) -> list[str | Path]:
    """The given files, and all images in the given folders and their sub-folders, sorted.

    In folders, images are recognised by their suffixes, and hidden files are left out. A file is
    kept whatever its name is: opening it will tell whether it is an image.

    Raises:
        PlaitError: a folder holds no image.
    """
    images: dict[str | Path, None] = {}  # a dict, to keep the order and drop repetitions
    for path in paths:
        named = path if isinstance(path, WebAddress) else find_file(path, Path())
        found = [Path(path) if exists(Path(path)) else path]
        if isinstance(named, Path) and is_folder(named):
            files = (p for p in named.rglob("*") if IMAGE.has_suffix(p.name) and p.name[0] != ".")
            found = [*sorted(file for file in files if file.is_file())]
        if not found:
            raise PlaitError(
                f"the folder {path} contains no images",
                expected=f"files ending in {', '.join(IMAGE.suffixes)}",
                hint="choose another folder, or name the files",
            )
        images |= dict.fromkeys(found)
    return list(images)


def _decode(data: bytes, name: str, least: int | None) -> Pixels:
    """(H, W, 3) uint8; at a reduced size if the shorter side stays at ``least`` or more."""
    return _despite_metadata(lambda data: _pixels(data, name, least), data)


def _despite_metadata(read: Callable[[bytes], T], data: bytes) -> T:
    """``read(data)``; if that fails, of the same image without metadata, which may be all that is
    wrong with it."""
    try:
        return read(data)
    except BadCell as error:
        plain = without_metadata(data)
        if plain == data:
            raise
        try:
            return read(plain)
        except BadCell:
            raise error from None


def _pixels(data: bytes, name: str, least: int | None) -> Pixels:
    stream = io.BytesIO(data)
    image = _header(stream, name)
    # Pillow has read up to the compressed pixels. A whole file has an end marker after them; one
    # before them would belong to a thumbnail.
    if image.format == "JPEG" and image.mode in {"RGB", "L"}:
        whole = data.endswith(JPEG_END) or data.find(JPEG_END, stream.tell()) >= 0
        # The strongest reduction that leaves at least `least` pixels.
        flags = (flag for factor, flag in REDUCED if least and min(image.size) >= factor * least)
        flag = next(flags, cv2.IMREAD_COLOR)
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag) if whole else None
        if pixels is not None:  # otherwise Pillow tries, and says what is wrong
            return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return _by_pillow(image, name)


def _header(stream: io.BytesIO, name: str) -> Image.Image:
    """The image with only its header read."""
    try:
        image = _opened(stream, name)
        pixels = image.width * image.height
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(name, "") from None
    except UnidentifiedImageError:
        what = f"{name} is not an image (it starts with {stream.getvalue()[:12]!r})"
        raise BadCell(what, expected=KINDS) from None
    except BadCell:
        raise
    except Exception as error:  # Pillow's plug-ins raise anything on broken bytes
        raise _broken(name, error) from error
    if pixels > MAX_PIXELS:
        raise _too_large(name, f" of {image.width:,} x {image.height:,} pixels")
    scans = stream.getvalue().count(JPEG_SCAN) if image.format in ("JPEG", "MPO") else 0
    if scans > MAX_SCANS:
        what = f"{name} is a JPEG with {scans:,} scans and was not decoded"
        raise BadCell(what, expected=f"at most {MAX_SCANS}", hint="save it again")
    return image


def _opened(stream: io.BytesIO, name: str) -> Image.Image:
    """The image as Pillow, or pillow-heif, opens it.

    Raises:
        BadCell: the library for its format is not installed.
    """
    marks = brands(stream.getvalue())
    if not AVIF_BRANDS.isdisjoint(marks):
        if not features.check("avif"):
            raise BadCell(
                f"{name} is an AVIF image, which the installed Pillow can't read",
                hint="pip install --upgrade pillow",
            )
    elif not IMAGE_BRANDS.isdisjoint(marks):
        heif = library_for(f"{name} is a HEIC image", "pillow_heif", "heif")
        image: Image.Image = heif.HeifImageFile(stream)
        return image
    return Image.open(stream, formats=FORMATS)


def _too_large(name: str, size: str) -> BadCell:
    what = f"{name} claims to be an image{size} and was not decoded"
    return BadCell(what, expected=f"at most {MAX_PIXELS:,} pixels", hint="scale it down first")


def _broken(name: str, error: Exception) -> BadCell:
    why = str(error).splitlines()[0] if str(error) else type(error).__name__
    what = f"{name} is damaged or truncated ({why})"
    return BadCell(what, expected=KINDS, hint="get the file again")


def _by_pillow(image: Image.Image, name: str) -> Pixels:
    try:
        image.load()  # before anything else: it raises if the file is truncated
        turned = UPRIGHT.get(_orientation(image))
        image = image if turned is None else image.transpose(turned)
        if image.mode.startswith(("I", "F")):
            grey = _to_8_bits(np.asarray(image), image.mode)
            return np.repeat(grey[:, :, None], 3, axis=2)
        if image.has_transparency_data:
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image.convert("RGBA"))
        return np.array(image.convert("RGB"))
    except Exception as error:  # see _header
        raise _broken(name, error) from error


def _orientation(image: Image.Image) -> int:
    """How the image is turned, by its EXIF data; 1, upright, if these are broken."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # Pillow raises anything
        return 1


def _to_8_bits(values: NDArray[Any], mode: str) -> Pixels:
    """(H, W) grey of 16 bits or more. Integers keep the upper 8 of 16 bits; floats in [0, 1] are
    scaled to 255, others are taken to have that scale already."""
    if mode != "F":
        return np.clip(values.astype(np.int64) >> 8, 0, 255).astype(np.uint8)
    values = np.nan_to_num(values)
    scale = 255.0 if values.size and values.min() >= 0 and values.max() <= 1 else 1.0
    return np.clip(np.round(values * scale), 0, 255).astype(np.uint8)
