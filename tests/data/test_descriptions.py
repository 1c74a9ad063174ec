"""Descriptions written into photos: read back by Pillow, with every pixel and original kept."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageSequence, IptcImagePlugin
from samples import draw

from plait.data.descriptions import read_description, write_description
from plait.types import BadCell, PlaitError

pyexiv2 = pytest.importorskip("pyexiv2", reason="needs the extra plait[metadata]")

TEXT = "Ein Hund – läuft, [schnell] & <weit>."
DESCRIPTION, CAMERA, ORIENTATION = 270, 272, 274  # of EXIF
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
DUBLIN = "{http://purl.org/dc/elements/1.1/}description"
ACCESSIBLE = "{http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/}AltTextAccessibility"
FORMATS = {"a.jpg": "JPEG", "a.png": "PNG", "a.webp": "WEBP", "a.tif": "TIFF"}


def saved(path: Path, kind: str, **how: Any) -> bytes:
    draw("red", "left", 3).save(path, kind, **how)
    return path.read_bytes()


def xmp(path: Path, tag: str) -> str | None:
    """The text of a property in the default language, by Pillow and an XML parser."""
    with Image.open(path) as image:
        packet = image.info.get("xmp") or getattr(image, "tag_v2", {}).get(700)
    found = ElementTree.fromstring(packet.rstrip(b"\0")).find(f".//{tag}/{RDF}Alt/{RDF}li")
    return None if found is None else found.text


def exif(path: Path) -> bytes:
    with Image.open(path) as image:
        text = image.getexif()[DESCRIPTION]
    return text.encode("latin-1").rstrip(b"\0")


def pixels(data: bytes) -> list[np.ndarray]:
    with Image.open(io.BytesIO(data)) as image:
        return [np.array(frame) for frame in ImageSequence.Iterator(image)]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_holds_a_description(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    before = saved(path, FORMATS[name])
    original = write_description(path, TEXT)
    assert original == tmp_path / f"{name}.original"
    assert original.read_bytes() == before
    assert xmp(path, DUBLIN) == TEXT
    assert xmp(path, ACCESSIBLE) is None
    assert exif(path) == TEXT.encode()
    assert read_description(path) == TEXT
    for old, new in zip(pixels(before), pixels(path.read_bytes()), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_compressed_pixels_of_a_jpeg_are_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    before = saved(path, "JPEG", quality=71)
    write_description(path, TEXT)
    scan = before[before.index(b"\xff\xda") :]
    assert len(scan) > 500
    assert path.read_bytes().endswith(scan)


def test_iptc_holds_the_caption_where_it_has_a_place(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    saved(path, "JPEG")
    write_description(path, TEXT)
    with Image.open(path) as image:
        assert IptcImagePlugin.getiptcinfo(image)[2, 120] == TEXT.encode()  # type: ignore[index]


def test_an_iptc_caption_in_another_encoding_is_not_garbled(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    with pyexiv2.ImageData(saved(path, "JPEG")) as image:
        image.modify_iptc({"Iptc.Application2.City": "Bern", "Iptc.Application2.Caption": "alt"})
        path.write_bytes(image.get_bytes())
    write_description(path, TEXT, overwrite=True)
    with Image.open(path) as image:
        assert IptcImagePlugin.getiptcinfo(image) == {(2, 90): b"Bern"}
    write_description(path, "a dog", overwrite=True)
    with Image.open(path) as image:
        assert IptcImagePlugin.getiptcinfo(image) == {(2, 90): b"Bern", (2, 120): b"a dog"}


def test_an_alternative_text_is_marked_as_one(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    saved(path, "JPEG")
    write_description(path, "A dog.", alternative=True)
    assert xmp(path, ACCESSIBLE) == xmp(path, DUBLIN) == "A dog."


def test_what_else_the_photo_says_stays(tmp_path: Path) -> None:
    path, data = tmp_path / "a.jpg", Image.Exif()
    data[CAMERA], data[ORIENTATION] = "Camera 7", 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    saved(path, "JPEG", exif=data, icc_profile=profile, comment=b"mine", dpi=(300, 300))
    write_description(path, TEXT)
    with Image.open(path) as image:
        assert image.getexif()[CAMERA] == "Camera 7"
        assert image.getexif()[ORIENTATION] == 6
        assert image.info["icc_profile"] == profile
        assert image.info["comment"].rstrip(b"\0") == b"mine"
        assert image.info["dpi"] == (300, 300)


@pytest.mark.parametrize("where", ["exif", "xmp", "iptc"])
def test_a_description_is_kept_unless_it_may_be_overwritten(tmp_path: Path, where: str) -> None:
    path = tmp_path / "a.jpg"
    with pyexiv2.ImageData(saved(path, "JPEG")) as image:
        key = {
            "exif": "Exif.Image.ImageDescription", "xmp": "Xmp.dc.description",
            "iptc": "Iptc.Application2.Caption",
        }[where]  # fmt: skip
        getattr(image, f"modify_{where}")({key: "my own words"})
        path.write_bytes(image.get_bytes())
    before = path.read_bytes()
    assert write_description(path, TEXT) is None
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.jpg"]
    assert read_description(path) == "my own words"
    assert write_description(path, "a dog", overwrite=True) is not None
    assert read_description(path) == "a dog"
    assert b"my own words" not in path.read_bytes()


def test_a_blank_description_is_none(tmp_path: Path) -> None:
    path, data = tmp_path / "a.jpg", Image.Exif()
    data[DESCRIPTION] = "   "  # as some cameras write it
    saved(path, "JPEG", exif=data)
    assert read_description(path) is None
    assert write_description(path, TEXT) is not None


def test_each_version_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "ä b.png"
    versions = [saved(path, "PNG")]
    for text in ("one", "two", "three"):
        write_description(path, text, overwrite=True)
        versions.append(path.read_bytes())
    kept = [tmp_path / f"ä b.png.original{end}" for end in ("", "-2", "-3")]
    assert [p.read_bytes() for p in kept] == versions[:-1]


def test_a_link_stays_and_its_photo_is_changed(tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    path, link = tmp_path / "a.png", tmp_path / "album" / "b.png"
    saved(path, "PNG")
    path.chmod(0o640)
    link.symlink_to(path)
    assert write_description(link, TEXT) == tmp_path / "a.png.original"
    assert link.is_symlink()
    assert xmp(path, DUBLIN) == TEXT
    assert path.stat().st_mode & 0o777 == 0o640


def test_all_pictures_of_a_file_stay(tmp_path: Path) -> None:
    pictures = [draw("red", "left", 1), draw("blue", "top", 2), draw("green", "right", 3)]
    kinds = {"a.tif": {"compression": "tiff_lzw"}, "a.webp": {"lossless": True}, "a.png": {}}
    for name, how in kinds.items():
        path = tmp_path / name
        pictures[0].save(path, save_all=True, append_images=pictures[1:], **how)
        before = pixels(path.read_bytes())
        write_description(path, TEXT)
        for old, new in zip(before, pixels(path.read_bytes()), strict=True):
            np.testing.assert_array_equal(old, new)
        assert len(before) == 3


@pytest.mark.parametrize("name", ["a.gif", "a.bmp", "a.avif"])
def test_other_formats_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    draw("red", "left", 3).save(path)
    before = path.read_bytes()
    with pytest.raises(BadCell, match=r"no description can be written into .*JPEG, PNG, WebP"):
        write_description(path, TEXT)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\xd8\xff\xe0"])
def test_what_is_no_photo_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with pytest.raises(BadCell):
        write_description(path, TEXT)
    assert path.read_bytes() == data


def test_changed_pixels_are_never_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, other = tmp_path / "a.png", tmp_path / "b.png"
    before = saved(path, "PNG")
    draw("blue", "top", 9).save(other)
    monkeypatch.setattr(pyexiv2.ImageData, "get_bytes", lambda image: other.read_bytes())
    with pytest.raises(BadCell, match="would change its pixels"):
        write_description(path, TEXT)
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    before = saved(path, "PNG")

    opened = Path.open

    def full(self: Path, mode: str = "r", *args: Any, **how: Any) -> Any:
        if "x" in mode:
            raise OSError(28, "No space left on device")
        return opened(self, mode, *args, **how)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(PlaitError, match="No space left on device"):
            write_description(path, TEXT)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    assert path.read_bytes() == before


def test_without_the_library_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    saved(path, "PNG")
    monkeypatch.setitem(sys.modules, "pyexiv2", None)
    with pytest.raises(PlaitError, match=r"plait\[metadata\]"):
        write_description(path, TEXT)
