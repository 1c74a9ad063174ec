"""A cell names a file in many ways, or holds it as text."""

from __future__ import annotations

import base64
import os
import threading
import unicodedata
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.data import downloads
from plait.data.cells import is_sentence, load_bytes, name_cell, sent_bytes
from plait.data.images import IMAGE, find_images, open_image
from plait.data.paths import WebAddress, find_file, held_bytes, peek
from plait.data.splits import photo_keys
from plait.data.tables import AllowingUrls, as_table, read_table
from plait.types import BadCell


def png(shade: int = 90, side: int = 8) -> bytes:
    pixels = np.random.default_rng(shade).integers(0, 256, (side, side, 3), np.uint8)
    return bytes(cv2.imencode(".png", pixels)[1].tobytes())


def written(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


# --- names ---

WAYS: dict[str, Callable[[str, Path], str]] = {
    "as it is": lambda name, root: name,
    "absolute": lambda name, root: str(root / name),
    "composed": lambda name, root: unicodedata.normalize("NFC", name),
    "decomposed": lambda name, root: unicodedata.normalize("NFD", name),
    "backslashes": lambda name, root: name.replace("/", "\\"),
    "dot": lambda name, root: f"./{name}",
    "dot and backslashes": lambda name, root: ".\\" + name.replace("/", "\\"),
    "URL": lambda name, root: "file://" + quote(str(root / name)),
    "URL of this host": lambda name, root: "file://localhost" + quote(str(root / name)),
    "URL of one slash": lambda name, root: f"file:{root / name}",
    "relative URL": lambda name, root: "file:" + quote(name),
    "percents": lambda name, root: quote(name),
}
AROUND: dict[str, Callable[[str], str]] = {
    "nothing": lambda text: text,
    "blanks": lambda text: f" {text}\t",
    "a line's end": lambda text: f"{text}\r\n",
    "quotes": lambda text: f'"{text}"',
    "single quotes": lambda text: f" '{text}' ",
    "curly quotes": lambda text: f"“{text}”",
    "a mark of byte order": lambda text: f"\ufeff{text}",
    "a hard blank": lambda text: f"{text}\xa0",
}
LETTERS = st.text(
    st.sampled_from("abcxyz019äéñçößåกิ한글日本語 -_()+,&#~é%[]"), min_size=1, max_size=12
).filter(lambda name: name == name.strip() and name[0] not in "~-")


@settings(deadline=None, max_examples=150)
@given(
    folder=LETTERS,
    stem=LETTERS,
    form=st.sampled_from(["NFC", "NFD"]),
    way=st.sampled_from(sorted(WAYS)),
    around=st.sampled_from(sorted(AROUND)),
)
def test_every_way_names_the_same_file(
    folder: str, stem: str, form: str, way: str, around: str
) -> None:
    with TemporaryDirectory() as place:
        root = Path(place)
        name = unicodedata.normalize(form, f"{folder}/{stem}.png")
        file = written(root / name)
        cell = AROUND[around](WAYS[way](name, root))
        found = find_file(cell, root)
        assert isinstance(found, Path)
        assert found.samefile(file)
        assert load_bytes(cell, root, "a file") == (b"x", name_cell(cell))
        assert IMAGE.is_certain(cell) or "URL" in way or way == "percents"
        assert not is_sentence(cell) or "URL" in way


def test_the_plain_reading_comes_first(tmp_path: Path) -> None:
    """Files with odd names are found by them, even where another file is meant otherwise."""
    for name in ("a%20b.png", "a\\b.png", " a.png", "'a.png'", "~", "file:a.png", "/9j/aaaa"):
        odd = tmp_path / "sub" / name.lstrip("/")
        written(odd, b"odd")
        assert find_file(name.lstrip("/"), tmp_path / "sub") == odd
    written(tmp_path / "sub" / "a b.png", b"plain")
    assert load_bytes("a%20b.png", tmp_path / "sub", "a file")[0] == b"odd"


def test_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    file = written(tmp_path / "home" / "a.png")
    assert find_file("~/a.png", tmp_path) == file
    assert find_file(" ~/a.png", tmp_path) == file
    with pytest.raises(BadCell, match=f"~/b.png is missing \\(looked for {tmp_path}/home/b.png"):
        load_bytes("~/b.png", tmp_path, "a file")


def test_folders_are_found_too(tmp_path: Path) -> None:
    written(tmp_path / "café" / "a.png", png())
    for cell in ("cafe\u0301", f"file://{quote(str(tmp_path / 'café'))}", "café/ "):
        found = find_file(cell, tmp_path)
        assert isinstance(found, Path)
        assert found.samefile(tmp_path / "café")
    assert len(find_images([f"file://{tmp_path}/café"])) == 1


@pytest.mark.parametrize("cell", ["", " ", "''", ".", "a\0b.png", "a." * 2500, "~nobody/a.png"])
def test_what_names_no_file_is_the_plain_path_or_the_folder(cell: str, tmp_path: Path) -> None:
    assert find_file(cell, tmp_path) == tmp_path / cell


def test_one_file_in_many_ways_is_one_photo(tmp_path: Path) -> None:
    """Whoever asks for a cell's file gets the same one."""
    data = png()
    written(tmp_path / "img" / "é.png", data)
    written(tmp_path / "img" / "b.png", png(1))
    cells = [
        "img/é.png", "img/e\u0301.png", "img\\é.png", " img/é.png", f"file://{tmp_path}/img/é.png",
        base64.b64encode(data).decode(), data, "img/b.png", "img/missing.png",
    ]  # fmt: skip
    keys = photo_keys(cells, tmp_path)
    assert len(set(keys[:7])) == 1
    assert len(set(keys)) == 3
    for cell in cells[:7]:
        assert open_image(cell, tmp_path).shape == (8, 8, 3)


def test_the_folder_of_a_tables_files_is_found(tmp_path: Path) -> None:
    written(tmp_path / "images" / "é.png", png())
    (tmp_path / "t.csv").write_text('image,caption\n"e\u0301.png ",one\n')
    table = read_table(tmp_path / "t.csv")
    assert open_image(table.column("image")[0], table.root).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("cell", "near"),
    [
        ("img/p.png", "img/P.png"),
        ("img/P.jpg", "img/P.png"),
        ("img/P", "img/P.png"),
        ("imgs/P.png", "img/P.png"),
        ("img/phto_of_a_cat.png", "img/photo_of_a_cat.png"),
        ("C:\\Users\\me\\data\\img\\P.png", "img/P.png"),
        ("/home/me/img/P.png", "img/P.png"),
        ("file:///home/me/img/P.png", "img/P.png"),
        ("photos/img/P.png", "img/P.png"),
    ],
)
def test_near_names_are_suggested(cell: str, near: str, tmp_path: Path) -> None:
    for name in ("P.png", "photo_of_a_cat.png", "0001.png", "0003.png"):
        written(tmp_path / "img" / name)
    with pytest.raises(BadCell, match=r"is missing.*; did you mean") as error:
        load_bytes(cell, tmp_path, "a file")
    assert error.value.hint == f"did you mean {near!r}?"


def test_another_number_is_no_near_name(tmp_path: Path) -> None:
    written(tmp_path / "0001.png")
    with pytest.raises(BadCell, match="check the path"):
        load_bytes("0002.png", tmp_path, "a file")


# --- files as text ---

AS_TEXT: dict[str, Callable[[bytes], str]] = {
    "base64": lambda data: base64.b64encode(data).decode(),
    "lines": lambda data: base64.encodebytes(data).decode(),
    "for URLs": lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="),
    "bytes of Python": lambda data: repr(base64.b64encode(data)),
    "a literal of Python": lambda data: f" {data!r}",
    "quoted": lambda data: f' "{base64.b64encode(data).decode()}" ',
    "data URL": lambda data: f"data:image/png;base64,{base64.b64encode(data).decode()}",
    "no type": lambda data: f"DATA:;base64,{base64.b64encode(data).decode()}",
    "percents": lambda data: f"data:image/png,{quote(data)}",
    "percents in base64": lambda data: "data:;base64," + quote(base64.b64encode(data).decode()),
}


@settings(deadline=None)
@given(way=st.sampled_from(sorted(AS_TEXT)), shade=st.integers(0, 99), side=st.integers(1, 40))
def test_files_as_text_are_bytes(way: str, shade: int, side: int) -> None:
    data = png(shade, side)
    cell = AS_TEXT[way](data)
    assert find_file(cell, Path()) == data
    np.testing.assert_array_equal(open_image(cell, Path()), open_image(data, Path()))
    assert IMAGE.is_certain(cell)
    assert not is_sentence(cell)
    start = peek(cell)
    assert isinstance(start, bytes)
    assert start[:16] == data[:16]


@pytest.mark.parametrize(
    "start",
    [b"RIFF1234WAVE", b"fLaC", b"OggS", b"\0\0\0\x18ftypM4A ", b"\x1a\x45\xdf\xa3", b"\x93NUMPY"],
)
def test_any_medium_may_be_base64(start: bytes) -> None:
    data = start + bytes(range(40))
    assert held_bytes(base64.b64encode(data).decode()) == data


def test_what_is_longer_than_a_name_is_base64_whatever_it_holds() -> None:
    data = b"1,2\n3,4\n" * 40
    assert held_bytes(base64.b64encode(data).decode()) == data


@pytest.mark.parametrize(
    "name",
    ["photo", "a" * 64, "deadbeef" * 8, "IMG/2024/photo", "words of a text", "日本語", "3/4"],
)
def test_names_are_not_taken_for_base64(name: str) -> None:
    assert held_bytes(name) is None
    assert peek(name) == name


def test_broken_ones_say_so(tmp_path: Path) -> None:
    with pytest.raises(BadCell, match="is a broken data: URL"):
        load_bytes("data:image/png;base64,???", tmp_path, "a file")
    whole = base64.b64encode(png(1, 40)).decode()
    with pytest.raises(BadCell, match=r"^a file of [\d,]+ bytes is damaged or truncated"):
        open_image(whole[:400], tmp_path)
    for text in ("x" * 300, f"?{whole}"):
        with pytest.raises(BadCell, match=r"is neither a path .* nor a file in base64"):
            open_image(text, tmp_path)


def test_a_request_may_hold_a_data_url_but_no_path() -> None:
    data = png()
    assert sent_bytes(AS_TEXT["data URL"](data)) == data
    assert sent_bytes(base64.encodebytes(data).decode()) == data
    for text in ("/etc/passwd", "file:///etc/passwd", "https://example.org/a.png", "a.png"):
        with pytest.raises(Exception, match="not a file in base64"):
            sent_bytes(text)


# --- addresses on the web ---


@pytest.fixture
def server() -> Iterator[str]:
    """A server of this machine: a photo, one that is too large, and ways that lead away."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            places = {"/away.png": "file:///etc/hostname", "/moved.png": "/p%20%C3%A9.png?w=3"}
            if self.path in places:
                self.send_response(302)
                self.send_header("Location", places[self.path])
                self.end_headers()
            elif self.path in ("/p%20%C3%A9.png?w=3", "/large.png"):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(png() if "large" not in self.path else bytes(5000))
            else:
                self.send_error(404)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    asked: list[str] = []
    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        http.asked = asked  # type: ignore[attr-defined]
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


@pytest.mark.parametrize("cell", ["https://example.org/p.png", " HTTP://example.org/p.png "])
def test_addresses_are_refused_unless_allowed(cell: str, tmp_path: Path) -> None:
    with pytest.raises(
        BadCell, match=r"is an address, not a file; .*--allow-urls.*allow_urls=True"
    ):
        load_bytes(cell, tmp_path, "a file")
    assert photo_keys([cell], tmp_path) == [cell]
    with pytest.raises(BadCell, match="is an address, not a file; expected a file; download it"):
        load_bytes("s3://bucket/p.png", tmp_path, "a file")


@pytest.mark.parametrize("name", ["p é.png?w=3", "p%20%C3%A9.png?w=3#part", "moved.png"])
def test_allowed_addresses_are_downloaded(name: str, server: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"image,caption\n{server}/{name} ,one\n")
    with pytest.raises(BadCell, match="is an address"):
        open_image(read_table(tmp_path / "t.csv").column("image")[0], tmp_path)
    for table in (
        read_table(tmp_path / "t.csv", allow_urls=True),
        as_table(AllowingUrls(tmp_path / "t.csv")),
        as_table(AllowingUrls({"image": [f"{server}/{name}"]})),
    ):
        (cell,) = table.column("image")
        assert open_image(cell, table.root).shape == (8, 8, 3)
        assert len(set(photo_keys([cell, png()], table.root))) == 1
        assert str(cell) == f"{server}/{name}"
    assert table.where([0]).column("image")[0] == cell


def test_a_download_is_kept_for_a_day(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    address = WebAddress(f"{server}/moved.png")
    first = downloads.download(address)
    changed = first.stat().st_mtime_ns
    assert downloads.download(address).stat().st_mtime_ns == changed
    monkeypatch.setattr(downloads, "KEPT", -1.0)
    assert downloads.download(address).stat().st_mtime_ns > changed


def test_downloads_have_their_limits(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "LARGEST", 1000)
    for name, why in (("large.png", "is larger than"), ("gone.png", "404 Not Found")):
        with pytest.raises(BadCell, match=why):
            downloads.download(WebAddress(f"{server}/{name}"))
    with pytest.raises(BadCell, match=r"away.png can't be downloaded"):  # nothing but http
        downloads.download(WebAddress(f"{server}/away.png"))
    with pytest.raises(BadCell, match="can't be downloaded"):
        downloads.download(WebAddress("http://127.0.0.1:1/p.png"))
    monkeypatch.setattr(downloads, "LARGEST", 1 << 20)
    monkeypatch.setattr(downloads, "DEADLINE", 0.0)
    with pytest.raises(BadCell, match="took longer than"):
        downloads.download(WebAddress(f"{server}/large.png"))
    assert not list((downloads.cache_folder() / "downloads").iterdir())


def test_the_oldest_downloads_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "TOGETHER", 25)
    for age in range(4):
        file = written(tmp_path / str(age), bytes(10))
        os.utime(file, (1000 - age, 1000 - age))
    downloads._make_room(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]
