from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from plait.data.images import (
    GREY,
    IMAGE,
    find_images,
    image_info,
    open_image,
    open_resized,
)
from plait.types import BadCell, PlaitError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
CORNERS = [RED, GREEN, BLUE, WHITE]  # left to right, top to bottom


def quarters(height: int = 48, width: int = 64) -> np.ndarray:
    """(H, W, 3): a red, green, blue and white quarter; no two rotations look the same."""
    image = np.zeros((height, width, 3), np.uint8)
    top, left = height // 2, width // 2
    image[:top, :left], image[:top, left:] = RED, GREEN
    image[top:, :left], image[top:, left:] = BLUE, WHITE
    return image


def encode(image: Image.Image | np.ndarray, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(stream, kind, **options)
    return stream.getvalue()


def corners(image: np.ndarray) -> list[tuple[int, ...]]:
    """The middle of each quarter, each channel 0 or 255 (JPEG is a little off)."""
    high, wide = image.shape[0] // 4, image.shape[1] // 4
    points = [(high, wide), (high, -wide), (-high, wide), (-high, -wide)]
    return [tuple(int(v > 127) * 255 for v in image[p]) for p in points]


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int, height: int) -> bytes:
    """A valid PNG of a few bytes whose header claims many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(b"\0" * 64))
    return b"\x89PNG\r\n\x1a\n" + body + png_chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}),
        ("JPEG", {"quality": 95, "progressive": True, "subsampling": 0}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("GIF", {}),
        ("BMP", {}),
        ("AVIF", {"quality": 95}),
    ],
)
def test_opens_every_format(tmp_path: Path, kind: str, options: dict[str, Any]) -> None:
    (tmp_path / "photo").write_bytes(encode(quarters(), kind, **options))
    image = open_image("photo", tmp_path)
    assert image.shape == (48, 64, 3)
    assert image.dtype == np.uint8
    assert corners(image) == CORNERS


def heic(pixels: np.ndarray, **options: Any) -> bytes:
    """A HEIC file, as phones make them."""
    library = pytest.importorskip("pillow_heif", reason="needs the extra plait[heif]")
    stream = io.BytesIO()
    library.from_pillow(Image.fromarray(pixels)).save(stream, quality=95, **options)
    return stream.getvalue()


def test_heic(tmp_path: Path) -> None:
    (tmp_path / "IMG_1.HEIC").write_bytes(heic(quarters()))
    assert corners(open_image("IMG_1.HEIC", tmp_path)) == CORNERS
    assert open_resized("IMG_1.HEIC", tmp_path, 32, "crop").shape == (32, 32, 3)
    assert image_info("IMG_1.HEIC", tmp_path).pixels == 48 * 64


def test_heic_of_a_phone_that_was_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.ascontiguousarray(np.rot90(quarters(), 1))
    data = heic(stored, exif=exif.tobytes())
    assert corners(open_image(data, tmp_path)) == CORNERS
    assert image_info(data, tmp_path)[:2] == (64, 48)


def test_heic_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = heic(quarters())
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    message = refused(data, tmp_path)
    assert "is a HEIC image" in message
    assert "plait[heif]" in message


def test_avif_without_its_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(quarters(), "AVIF")
    monkeypatch.setattr(features, "check", lambda name: False)
    assert "upgrade pillow" in refused(data, tmp_path)


@pytest.mark.parametrize("start", [b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", b"\0\0\0\x0cftypheic"])
def test_a_heic_file_that_is_only_a_start(tmp_path: Path, start: bytes) -> None:
    pytest.importorskip("pillow_heif", reason="needs the extra plait[heif]")
    assert "damaged or truncated" in refused(start + b"\0" * 100, tmp_path)


def test_files_of_one_family_are_told_apart_by_their_brands() -> None:
    assert IMAGE.is_certain(encode(quarters(), "AVIF"))
    assert IMAGE.is_certain(b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic")
    assert not IMAGE.is_certain(b"\0\0\0\x18ftypisom\0\0\0\0isommp42")
    assert not IMAGE.is_certain(b"\0\0\0\x18ftypM4A \0\0\0\0isommp42")


def test_a_cell_may_be_bytes_a_string_or_a_path(tmp_path: Path) -> None:
    data = encode(quarters(), "PNG")
    (tmp_path / "a.png").write_bytes(data)
    for cell in (data, "a.png", Path("a.png"), str(tmp_path / "a.png")):
        np.testing.assert_array_equal(open_image(cell, tmp_path), quarters())


def test_the_content_decides_not_the_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encode(quarters(), "PNG"))
    np.testing.assert_array_equal(open_image("a.jpg", tmp_path), quarters())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation(tmp_path: Path, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = quarters()
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),  # stored a quarter turn to the left of upright
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    stored = np.ascontiguousarray(undo[orientation](upright))
    image = open_image(encode(stored, kind, exif=exif), tmp_path)
    assert image.shape == upright.shape
    assert corners(image) == CORNERS


def test_exif_orientation_6_on_the_reduced_path(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(np.rot90(quarters(800, 1200), 1), "JPEG", exif=exif)
    assert corners(open_resized(data, tmp_path, 64, "squash")) == CORNERS


def test_16_bit_grey_keeps_the_upper_bits(tmp_path: Path) -> None:
    deep = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    for kind in ("PNG", "TIFF"):
        image = open_image(encode(deep, kind), tmp_path)
        assert image[0, :, 0].tolist() == [0, 0, 1, 128, 255]
        assert (image == image[:, :, :1]).all()


def test_16_bit_colour(tmp_path: Path) -> None:
    import cv2

    deep = quarters().astype(np.uint16) * 257
    data = cv2.imencode(".png", deep[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(open_image(data, tmp_path), quarters())


def test_float_tiff(tmp_path: Path) -> None:
    share = np.array([[0.0, 0.5, 1.0, np.nan]], np.float32)
    assert open_image(encode(share, "TIFF"), tmp_path)[0, :, 0].tolist() == [0, 128, 255, 0]
    scaled = np.array([[-5.0, 100.0, 300.0]], np.float32)
    assert open_image(encode(scaled, "TIFF"), tmp_path)[0, :, 0].tolist() == [0, 100, 255]


def test_grey_bilevel_and_palette(tmp_path: Path) -> None:
    grey = np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))
    image = open_image(encode(grey, "PNG"), tmp_path)
    np.testing.assert_array_equal(image, np.repeat(grey[:, :, None], 3, axis=2))
    assert np.abs(open_image(encode(grey, "JPEG"), tmp_path)[..., 1].astype(int) - grey).max() < 5
    palette = Image.fromarray(quarters()).convert("P", palette=Image.Palette.ADAPTIVE)
    assert corners(open_image(encode(palette, "PNG"), tmp_path)) == CORNERS
    two = Image.fromarray((grey > 100).astype(np.uint8) * 255).convert("1")
    assert set(np.unique(open_image(encode(two, "PNG"), tmp_path))) == {0, 255}


def test_cmyk_jpeg(tmp_path: Path) -> None:
    cmyk = Image.fromarray(quarters()).convert("CMYK")
    data = encode(cmyk, "JPEG", quality=95)
    assert corners(open_image(data, tmp_path)) == CORNERS
    assert corners(open_resized(data, tmp_path, 16, "squash")) == CORNERS


def test_alpha_is_seen_over_white(tmp_path: Path) -> None:
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 3] = 0, 128, 255  # black: transparent, half, opaque
    for kind in ("PNG", "TIFF"):
        assert open_image(encode(rgba, kind), tmp_path)[0, :, 0].tolist() == [255, 127, 0]
    webp = encode(rgba, "WEBP", lossless=True, exact=True)
    assert open_image(webp, tmp_path)[0, :, 0].tolist() == [255, 127, 0]
    grey_alpha = Image.fromarray(rgba).convert("LA")
    assert open_image(encode(grey_alpha, "PNG"), tmp_path)[0, :, 0].tolist() == [255, 127, 0]


def test_transparent_palette_entry(tmp_path: Path) -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.putpixel((1, 0), 1)
    image = open_image(encode(palette, "PNG", transparency=0), tmp_path)
    assert image[0].tolist() == [[255, 255, 255], [255, 0, 0]]


def test_gif_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (open_image(data, tmp_path) == RED).all()


@pytest.mark.parametrize(("height", "width"), [(48, 64), (64, 48), (900, 1300), (20, 900), (1, 1)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("fit", ["squash", "crop", "letterbox"])
def test_resized_is_a_square(tmp_path: Path, height: int, width: int, kind: str, fit: Any) -> None:
    image = open_resized(encode(quarters(height, width), kind), tmp_path, 32, fit)
    assert image.shape == (32, 32, 3)
    assert image.dtype == np.uint8
    assert image.flags["C_CONTIGUOUS"]
    if height > 1 and fit != "letterbox":
        assert corners(image) == CORNERS


def test_crop_takes_the_middle_and_squash_all(tmp_path: Path) -> None:
    stripes = np.zeros((20, 60, 3), np.uint8)
    stripes[:, :20], stripes[:, 20:40], stripes[:, 40:] = RED, GREEN, BLUE
    data = encode(stripes, "PNG")
    assert (open_resized(data, tmp_path, 10, "crop") == GREEN).all()
    squashed = open_resized(data, tmp_path, 9, "squash")
    assert squashed[4].tolist() == [list(RED)] * 3 + [list(GREEN)] * 3 + [list(BLUE)] * 3


@pytest.mark.parametrize(("height", "width"), [(20, 60), (61, 20), (200, 600), (33, 33)])
def test_a_letterbox_shows_all_in_its_own_shape(tmp_path: Path, height: int, width: int) -> None:
    data = encode(np.full((height, width, 3), RED, np.uint8), "PNG")
    image = open_resized(data, tmp_path, 90, "letterbox")
    red, bars = (image == RED).all(-1), (image == GREY).all(-1)
    assert (red | bars).all()
    rows, columns = red.any(1).sum(), red.any(0).sum()
    assert max(rows, columns) == 90
    assert rows / columns == pytest.approx(height / width, rel=0.04)
    assert abs(int(red[:45].sum()) - int(red[45:].sum())) <= columns  # in the middle


def test_the_reduced_path_gives_nearly_the_same_pixels(tmp_path: Path) -> None:
    y, x = np.mgrid[:960, :1280]
    smooth = np.stack([x * 255 // 1280, y * 255 // 960, (x + y) * 255 // 2240], -1)
    data = encode(smooth.astype(np.uint8), "JPEG", quality=95)
    whole = Image.fromarray(open_image(data, tmp_path)).resize((100, 100), Image.Resampling.BOX)
    fast = open_resized(data, tmp_path, 100, "squash")
    assert np.abs(fast.astype(int) - np.asarray(whole)).max() <= 4


# --- bad input ---


def refused(cell: Any, root: Path) -> str:
    """The message; the same from both ways of opening, in one line."""
    with pytest.raises(BadCell) as first:
        open_image(cell, root)
    with pytest.raises(BadCell) as second:
        open_resized(cell, root, 32, "squash")
    assert str(first.value) == str(second.value)
    assert "\n" not in str(first.value)
    return str(first.value)


def test_a_bomb_is_refused_without_decoding(tmp_path: Path) -> None:
    data = bomb(50_000, 50_000)
    assert len(data) < 200
    (tmp_path / "bomb.png").write_bytes(data)
    assert "bomb.png claims" in refused("bomb.png", tmp_path)
    assert "100,000,000 pixels" in refused("bomb.png", tmp_path)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_small_bomb_names_its_size(tmp_path: Path) -> None:
    assert "10,001 x 10,000 pixels" in refused(bomb(10_001, 10_000), tmp_path)


def test_a_jpeg_of_too_many_scans_is_refused_without_decoding(tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.new("L", (400, 300), 90).save(out, "JPEG", progressive=True)
    whole = out.getvalue()
    assert open_image(whole, tmp_path).shape == (300, 400, 3)
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x00\x7f"  # one that adds nothing
    assert "is a JPEG with " in refused(whole[:-2] + 200 * scan + whole[-2:], tmp_path)


def test_bombs_of_other_formats(tmp_path: Path) -> None:
    jpeg = bytearray(encode(quarters(), "JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 50_000, 50_000)
    gif = bytearray(encode(quarters(), "GIF"))
    gif[6:10] = struct.pack("<HH", 50_000, 50_000)
    for data in (jpeg, gif):
        assert "was not decoded" in refused(bytes(data), tmp_path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "AVIF", "HEIF"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated(tmp_path: Path, kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = heic(noise) if kind == "HEIF" else encode(noise, kind)
    (tmp_path / "cut.jpg").write_bytes(data[: int(len(data) * share)])
    assert "cut.jpg" in refused("cut.jpg", tmp_path)


def test_truncated_behind_a_thumbnail(tmp_path: Path) -> None:
    thumbnail = encode(quarters(8, 8), "JPEG")
    data = encode(quarters(), "JPEG", comment=thumbnail)  # an end marker before the pixels
    assert corners(open_image(data, tmp_path)) == CORNERS
    assert "truncated" in refused(data[:-60], tmp_path)


def test_bytes_behind_the_end_do_no_harm(tmp_path: Path) -> None:
    assert corners(open_image(encode(quarters(), "JPEG") + b"\0" * 99, tmp_path)) == CORNERS


def test_text_named_as_a_picture(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("hello, this is no picture")
    message = refused("a.jpg", tmp_path)
    assert "a.jpg is not an image" in message
    assert "hello" in message
    assert "JPEG, PNG" in message


def test_zero_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    assert "a.jpg is empty (0 bytes)" in refused("a.jpg", tmp_path)
    assert "empty (0 bytes)" in refused(b"", tmp_path)


def test_only_zero_bytes(tmp_path: Path) -> None:
    assert "not an image" in refused(b"\0" * 500, tmp_path)


def test_missing_says_where_it_was_looked_for(tmp_path: Path) -> None:
    message = refused("no/such.jpg", tmp_path)
    assert "no/such.jpg is missing" in message
    assert str(tmp_path / "no" / "such.jpg") in message


def test_directory(tmp_path: Path) -> None:
    (tmp_path / "photos.jpg").mkdir()
    assert "photos.jpg is a folder" in refused("photos.jpg", tmp_path)


def test_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.jpg").write_bytes(b"x")
    monkeypatch.setattr(Path, "read_bytes", deny)  # root may read files of any mode
    message = refused("a.jpg", tmp_path)
    assert "a.jpg" in message
    assert "Permission denied" in message


@pytest.mark.parametrize("cell", [None, "", "  ", float("nan"), 7])
def test_cells_that_are_no_file(tmp_path: Path, cell: Any) -> None:
    assert "the cell" in refused(cell, tmp_path)


@pytest.mark.parametrize("name", ["a" * 5000, "a\0b.jpg"])
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    refused(name, tmp_path)


# --- find_images ---


def test_find_images_expands_folders(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "sub/c.webp", "notes.txt", "._a.png", ".hidden.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "odd.jpg").mkdir()
    found = find_images([tmp_path / "notes.txt", tmp_path, str(tmp_path / "a.png"), "gone.jpg"])
    names = [Path(path).name for path in found]
    assert names == ["notes.txt", "a.png", "b.JPG", "c.webp", "gone.jpg"]


def test_find_images_refuses_a_folder_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(PlaitError, match="contains no images"):
        find_images([tmp_path])


def test_pixels_are_counted_by_the_header_alone() -> None:
    whole = encode(quarters(), "PNG")
    assert image_info(whole, Path()).pixels == 48 * 64
    assert image_info(whole[:60], Path()).pixels == 48 * 64  # its pixels are missing
    with pytest.raises(BadCell, match="not an image"):
        image_info(b"none", Path())
