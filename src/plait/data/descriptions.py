"""Writes descriptions into photos, where other programs look for them, and never touches pixels.

A description is written as XMP's ``dc:description``, as EXIF's ``ImageDescription`` and, in JPEG
and TIFF, as IPTC's caption, as the Metadata Working Group advises; an alternative text as IPTC's
``AltTextAccessibility``, too. Exiv2, by pyexiv2, does it, and leaves the rest of the file as it is.

A file is replaced only by one with the same pixels, and the original stays beside it.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator, Mapping
from itertools import count, zip_longest
from pathlib import Path
from typing import Any

from PIL import Image, ImageSequence

from plait.data.cells import load_bytes
from plait.data.images import KINDS
from plait.data.metadata import without_metadata
from plait.types import BadCell
from plait.util.files import not_written, write_atomically
from plait.util.imports import needed

WRITABLE = {"JPEG": True, "PNG": False, "WEBP": False, "TIFF": True}
"""The formats that descriptions are written into, and whether IPTC has a place there."""
XMP, EXIF, IPTC = (
    "Xmp.dc.description", "Exif.Image.ImageDescription", "Iptc.Application2.Caption",
)  # fmt: skip
ALTERNATIVE = "Xmp.iptc.AltTextAccessibility"
IPTC_ENCODING, UTF_8 = "Iptc.Envelope.CharacterSet", "\x1b%G"
DEFAULT_LANGUAGE = 'lang="x-default"'
ORIGINAL = ".original"  # follows a file's name


def check_writer() -> None:
    """Raises PlaitError if the library that writes descriptions is not installed."""
    needed("pyexiv2", "metadata")


def has_place(path: Path) -> bool:
    """Whether the format of a photo has a place for a description."""
    return _format(path) in WRITABLE


def write_description(
    path: Path, text: str, *, alternative: bool = False, overwrite: bool = False
) -> Path | None:
    """Write a description into a photo. The original stays beside it, as ``NAME.original``, or
    ``NAME.original-2`` where that is taken.

    Args:
        path: the photo. Of a link, the photo that it leads to is changed.
        text: what is written.
        alternative: whether the text is an alternative text, too.
        overwrite: write it even if the photo has a description.

    Returns:
        Where the original is; None if the photo has a description and was left as it is.

    Raises:
        BadCell: the photo can't be read, or its format has no place for a description.
        PlaitError: the disk is full, or the folder can't be written to.
    """
    path = path.resolve()
    data, name = load_bytes(path, Path(), KINDS)
    described = _described(data, name, text, alternative, overwrite)
    if described is None:
        return None
    try:
        original = _keep(path, data)
        write_atomically(path, described)
        shutil.copymode(original, path)
    except OSError as error:
        raise not_written(path, error) from None
    return original


def read_description(path: Path) -> str | None:
    """A photo's description, None if it has none. Raises BadCell if the photo can't be read."""
    data, name = load_bytes(path, Path(), KINDS)
    with _opened(data, name) as image:
        try:
            return next(_descriptions(image), None)
        except UnicodeDecodeError:
            raise BadCell(f"the metadata of {name} are not UTF-8") from None


def _described(
    data: bytes, name: str, text: str, alternative: bool, overwrite: bool
) -> bytes | None:
    """The file with the description; None if it has one that must be kept."""
    kind = _format(io.BytesIO(data))
    if kind not in WRITABLE:
        raise BadCell(
            f"no description can be written into {name}" + (f", a {kind} file" if kind else ""),
            expected="a JPEG, PNG, WebP or TIFF image",
            hint="write a table with --out captions.csv",
        )
    try:
        with _opened(data, name) as image:
            if not overwrite and next(_descriptions(image), None) is not None:
                return None
            value = {DEFAULT_LANGUAGE: text}
            image.modify_xmp({XMP: value} | ({ALTERNATIVE: value} if alternative else {}))
            image.modify_exif({EXIF: text})
            if WRITABLE[kind]:
                image.modify_iptc(_iptc(image.read_iptc(), text))
            described: bytes = image.get_bytes()
    except UnicodeDecodeError:
        raise BadCell(
            f"the description can't be written into {name}: its metadata are not UTF-8",
            expected="texts in UTF-8",
            hint="write a table with --out captions.csv",
        ) from None
    except RuntimeError as error:  # Exiv2's only one
        what = f"the description can't be written into {name} ({error})"
        raise BadCell(what, hint="write a table with --out captions.csv") from None
    if without_metadata(data) != without_metadata(described) and not _same_pixels(data, described):
        raise BadCell(f"writing into {name} would change its pixels, so it was left as it is")
    return described


def _opened(data: bytes, name: str) -> Any:
    library = needed("pyexiv2", "metadata")
    library.set_log_level(4)  # what it raises is enough
    try:
        return library.ImageData(data)
    except RuntimeError as error:
        raise BadCell(f"the metadata of {name} can't be read ({error})") from None


def _descriptions(image: Any) -> Iterator[str]:
    """What is in the three places, without those that are blank."""
    found = image.read_xmp().get(XMP), image.read_exif().get(EXIF), image.read_iptc().get(IPTC)
    for value in found:
        if isinstance(value, Mapping):  # one for each language
            value = value.get(DEFAULT_LANGUAGE) or next(iter(value.values()), "")
        if value and value.strip():
            yield value.strip()


def _iptc(existing: Mapping[str, Any], text: str) -> dict[str, str | None]:
    """What to write as IPTC, whose other texts may be in another encoding than UTF-8."""
    if not existing:
        return {IPTC: text, IPTC_ENCODING: UTF_8}
    fits = text.isascii() or existing.get(IPTC_ENCODING) == UTF_8
    return {IPTC: text if fits else None}  # no caption, rather than the old one


def _format(photo: Path | io.BytesIO) -> str:
    try:
        with Image.open(photo) as image:
            return "JPEG" if image.format == "MPO" else image.format or ""
    except (OSError, ValueError):
        return ""


def _same_pixels(one: bytes, other: bytes) -> bool:
    """Whether all pictures of two files are equal."""
    with Image.open(io.BytesIO(one)) as a, Image.open(io.BytesIO(other)) as b:
        pairs = zip_longest(ImageSequence.Iterator(a), ImageSequence.Iterator(b))
        return all(
            x is not None and y is not None and x.mode == y.mode and x.tobytes() == y.tobytes()
            for x, y in pairs
        )


def _keep(path: Path, data: bytes) -> Path:
    """Write a file's bytes beside it, under a name that is free."""
    for number in count(1):
        kept = path.with_name(path.name + ORIGINAL + (f"-{number}" if number > 1 else ""))
        try:
            with kept.open("xb") as file:
                file.write(data)
        except FileExistsError:
            continue
        except OSError:
            kept.unlink(missing_ok=True)
            raise
        shutil.copystat(path, kept)
        return kept
    raise AssertionError("counting never ends")
