"""A picture with broken metadata has the pixels that it has without."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from plait.data.images import image_info, open_image
from plait.data.metadata import without_metadata
from plait.types import BadCell

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow tells of broken EXIF

Y, X = np.mgrid[:24, :32]
PHOTO = Image.fromarray(np.stack([X * 7, Y * 9, (X + Y) * 4], -1).astype(np.uint8))
JUNK = st.binary(max_size=60)
some = settings(deadline=None, max_examples=60)
EXIFS = st.one_of(
    JUNK,
    JUNK.map(lambda junk: b"Exif\0\0" + junk),
    JUNK.map(lambda junk: b"Exif\0\0II*\0\x08\0\0\0" + junk),
    JUNK.map(lambda junk: b"Exif\0\0MM\0*\0\0\0\x08" + junk),
)


def encode(kind: str, picture: Image.Image = PHOTO, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def pixels(data: bytes) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hypothesis sets filters of its own
        image = open_image(data, Path())
        assert image_info(data, Path())[:2] == image.shape[1::-1]
    return image


def png_chunk(kind: bytes, content: bytes, checksum: int = 0, length: int | None = None) -> bytes:
    size = len(content) if length is None else length
    total = zlib.crc32(kind + content) ^ checksum
    return struct.pack(">I", size) + kind + content + struct.pack(">I", total)


TEXTS = JUNK.map(lambda junk: b"key\0" + junk)
ANCILLARY = (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"gAMA", b"cHRM", b"pHYs", b"tIME", b"prVt")


@some
@given(
    kind=st.sampled_from(ANCILLARY),
    content=st.one_of(JUNK, TEXTS),
    checksum=st.sampled_from([0, 1]),
    length=st.sampled_from([None, 3, 2**31 - 1]),
    mode=st.sampled_from(["RGB", "P", "RGBA", "L"]),
    place=st.sampled_from([b"IDAT", b"IEND"]),
)
def test_png(
    kind: bytes, content: bytes, checksum: int, length: int | None, mode: str, place: bytes
) -> None:
    whole = encode("PNG", PHOTO.convert(mode))
    at = whole.index(place) - 4
    broken = whole[:at] + png_chunk(kind, content, checksum, length) + whole[at:]
    np.testing.assert_array_equal(pixels(broken), pixels(whole))


def test_png_with_a_text_larger_than_pillow_takes() -> None:
    whole = encode("PNG")
    text = png_chunk(b"zTXt", b"key\0\0" + zlib.compress(b"a" * (1 << 22)))
    np.testing.assert_array_equal(pixels(whole[:33] + text + whole[33:]), pixels(whole))


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
@pytest.mark.parametrize("content", [b"", b"\0"])
def test_png_whose_transparent_colour_is_broken(content: bytes, mode: str) -> None:
    whole = encode("PNG", PHOTO.convert(mode))
    broken = whole[:33] + png_chunk(b"tRNS", content) + whole[33:]
    np.testing.assert_array_equal(pixels(broken), pixels(whole))


def test_png_with_a_broken_text_and_bytes_after_its_end() -> None:
    whole = encode("PNG")
    broken = whole[:33] + png_chunk(b"tEXt", b"key\0text", 1) + whole[33:] + b"junk"
    np.testing.assert_array_equal(pixels(broken), pixels(whole))


@pytest.mark.parametrize("kind", [b"IDAT", b"eXIf"])
def test_png_of_many_marks_takes_few_checksums(
    kind: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each may be of all that follows, so that the time would grow with the square of the size."""
    counted: list[int] = []
    checksum = zlib.crc32

    def counting(data: bytes) -> int:
        counted.append(len(data))
        return checksum(data)

    marks = (b"\0\0\xff\xff" + kind) * 20_000
    photo = encode("PNG")[:33] + png_chunk(b"tEXt", b"key", 1) + marks
    monkeypatch.setattr(zlib, "crc32", counting)
    without_metadata(photo)
    assert 0 < len(counted) < 200


def test_png_keeps_what_is_whole() -> None:
    """Its transparent colour, and how it is turned, beside a text with a wrong checksum."""
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = encode("PNG", PHOTO.convert("P"), transparency=3, exif=exif)
    broken = whole[:33] + png_chunk(b"tEXt", b"key\0text", 1) + whole[33:]
    np.testing.assert_array_equal(pixels(broken), pixels(whole))


@some
@given(exif=EXIFS, kind=st.sampled_from(["PNG", "WEBP", "AVIF", "JPEG", "CMYK"]))
def test_exif(exif: bytes, kind: str) -> None:
    """Whatever it is, all pixels are there; junk may say by chance how the photo is turned."""
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    saved = ("JPEG", PHOTO.convert("CMYK")) if kind == "CMYK" else (kind, PHOTO)
    try:
        broken = encode(*saved, exif=exif, **options)
    except (ValueError, SyntaxError, struct.error):  # Pillow looks into EXIF before it writes AVIF
        return
    values = pixels(broken)
    assert sorted(values.shape) == [3, 24, 32]
    assert values.sum(dtype=int) == pixels(encode(*saved, **options)).sum(dtype=int)


@some
@given(profile=JUNK, xmp=JUNK, kind=st.sampled_from(["PNG", "WEBP", "AVIF", "JPEG", "TIFF"]))
def test_colour_profile_and_xmp(profile: bytes, xmp: bytes, kind: str) -> None:
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    more = {} if kind in ("PNG", "TIFF") else {"xmp": xmp}
    broken = encode(kind, icc_profile=profile, **more, **options)
    np.testing.assert_array_equal(pixels(broken), pixels(encode(kind, **options)))


@some
@given(kind=st.sampled_from([b"EXIF", b"XMP ", b"ICCP"]), length=st.integers(0, 2**32 - 1))
@example(kind=b"ICCP", length=59)  # as if it ended where the next metadata begin
@example(kind=b"ICCP", length=60)
def test_webp_chunks_of_a_wrong_length(kind: bytes, length: int) -> None:
    plain = encode("WEBP", lossless=True)
    broken = bytearray(
        encode("WEBP", lossless=True, exif=b"Exif\0\0ab", icc_profile=b"cdef", xmp=b"ghijkl")
    )
    at = broken.index(kind) + 4
    broken[at : at + 4] = struct.pack("<I", length)
    np.testing.assert_array_equal(pixels(bytes(broken)), pixels(plain))


STARTS = (b"", b"JFIF\0", b"Exif\0\0", b"ICC_PROFILE\0", b"MPF\0MM\0*", b"Photoshop 3.0\0")


@some
@given(
    mark=st.sampled_from([*(m for m in range(0xE0, 0xF0) if m != 0xEE), 0xFE]),
    start=st.sampled_from(STARTS),
    junk=JUNK,
    mode=st.sampled_from(["RGB", "L", "CMYK"]),
)
def test_jpeg_segments(mark: int, start: bytes, junk: bytes, mode: str) -> None:
    whole = encode("JPEG", PHOTO.convert(mode))
    segment = bytes([0xFF, mark]) + struct.pack(">H", len(start + junk) + 2) + start + junk
    values = pixels(whole[:2] + segment + whole[2:])
    assert values.sum(dtype=int) == pixels(whole).sum(dtype=int)  # junk may turn it


def tiff(**options: Any) -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[270], tags[305], tags[700] = "a description" * 9, "a program", b"<x:xmpmeta>"
    return encode("TIFF", tiffinfo=tags, icc_profile=bytes(40), dpi=(72, 72), **options)


@some
@given(
    tag=st.sampled_from([270, 282, 283, 296, 305, 700, 34675]),
    kind=st.integers(0, 20),
    count=st.integers(0, 2**32 - 1),
    compression=st.sampled_from([None, "tiff_lzw", "tiff_deflate"]),
)
def test_tiff_tags(tag: int, kind: int, count: int, compression: str | None) -> None:
    whole = tiff(**({"compression": compression} if compression else {}))
    (at,) = struct.unpack_from("<I", whole, 4)
    (entries,) = struct.unpack_from("<H", whole, at)
    broken = bytearray(whole)
    for place in range(at + 2, at + 2 + 12 * entries, 12):
        if struct.unpack_from("<H", whole, place)[0] == tag:
            struct.pack_into("<HI", broken, place + 2, kind, count)
    np.testing.assert_array_equal(pixels(bytes(broken)), pixels(whole))


@some
@given(label=st.integers(0, 255), name=st.sampled_from([b"NETSCAPE2.0", b"XMP DataXMP"]), junk=JUNK)
def test_gif_extensions(label: int, name: bytes, junk: bytes) -> None:
    if label == 0xF9:  # this one is about pixels
        return
    whole = encode("GIF")
    blocks = bytes([len(name)]) + name + (bytes([len(junk)]) + junk + b"\0" if junk else b"\0")
    at = 13 + (3 << (whole[10] & 7) + 1)
    broken = whole[:at] + b"!" + bytes([label]) + blocks + whole[at:]
    np.testing.assert_array_equal(pixels(broken), pixels(whole))


@some
@given(exif=EXIFS, xmp=JUNK)
def test_heic(exif: bytes, xmp: bytes) -> None:
    library = pytest.importorskip("pillow_heif", reason="needs the extra plait[heif]")
    write = library.from_pillow(PHOTO).save
    plain, broken = io.BytesIO(), io.BytesIO()
    write(plain, quality=90, save_to_12bit=False)
    try:
        write(broken, quality=90, exif=exif, xmp=xmp)
    except ValueError:  # libheif looks into EXIF before it writes it
        return
    np.testing.assert_array_equal(pixels(broken.getvalue()), pixels(plain.getvalue()))


@some
@given(kind=st.sampled_from(["PNG", "WEBP", "JPEG", "TIFF", "GIF"]), share=st.floats(0.05, 0.9))
def test_without_metadata_truncated_pixels_stay_truncated(kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    whole = encode(kind, Image.fromarray(noise))
    cut = whole[: int(share * len(whole))]
    without_metadata(cut)
    with pytest.raises(BadCell):
        pixels(cut)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG", "GIF", "TIFF", "BMP"])
def test_without_metadata_it_is_the_same_picture(kind: str) -> None:
    whole = encode(kind)
    np.testing.assert_array_equal(pixels(without_metadata(whole)), pixels(whole))


STARTS_OF_FILES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"GIF89a", b"II*\0", b"RIFF\0\0\0\0WEBP")


@some
@given(data=st.binary(max_size=80), start=st.sampled_from(STARTS_OF_FILES))
def test_any_bytes_are_walked(data: bytes, start: bytes) -> None:
    without_metadata(start + data)
