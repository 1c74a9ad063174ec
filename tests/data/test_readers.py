"""What a file is shows in its content, whatever its name."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait.data.readers import is_table_name
from plait.data.tables import read_table
from plait.types import PlaitError

Rows = list[dict[str, Any]]
COLUMNS = ["image", "a caption", "n"]


def as_csv(separator: str, end: str = "\n") -> Callable[[Rows], str]:
    def write(rows: Rows) -> str:
        file = io.StringIO(newline="")
        writer = csv.DictWriter(file, COLUMNS, delimiter=separator, lineterminator=end)
        writer.writeheader()
        writer.writerows(rows)
        return file.getvalue()

    return write


def by_column(rows: Rows) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in COLUMNS}


def indexed(rows: Rows) -> dict[str, dict[str, Any]]:
    return {str(number): row for number, row in enumerate(rows)}


def lines(rows: Rows) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


TEXTS: Mapping[str, Callable[[Rows], str]] = {
    "commas": as_csv(","),
    "semicolons": as_csv(";", "\r\n"),
    "tabs": as_csv("\t"),
    "bars": as_csv("|"),
    "Excel's first line": lambda rows: "sep=;\n" + as_csv(";")(rows),
    "JSON Lines": lines,
    "JSON Lines and blank ones": lambda rows: lines(rows).replace("\n", "\r\n\r\n"),
    "objects over several lines": lambda rows: "\n".join(json.dumps(r, indent=2) for r in rows),
    "records": json.dumps,
    "columns": lambda rows: json.dumps(by_column(rows)),
    "pandas' columns": lambda rows: json.dumps(
        {n: {str(i): v for i, v in enumerate(c)} for n, c in by_column(rows).items()}
    ),
    "pandas' index": lambda rows: json.dumps(indexed(rows)),
    "pandas' split": lambda rows: json.dumps(
        {"columns": COLUMNS, "index": [0], "data": [[r[n] for n in COLUMNS] for r in rows]}
    ),
    "a header and rows": lambda rows: json.dumps(
        [COLUMNS, *([row[name] for name in COLUMNS] for row in rows)]
    ),
    "lists in lines": lambda rows: "\n".join(
        json.dumps(row) for row in [COLUMNS, *([row[name] for name in COLUMNS] for row in rows)]
    ),
    "objects and commas": lambda rows: ",\n".join(map(json.dumps, rows)),
    "records within": lambda rows: json.dumps({"version": "1.0", "data": rows}, indent=1),
}


def zipped(data: bytes, name: str = "t.csv") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for inside, content in (("__MACOSX/._t", b"x"), (name, data)):
            archive.writestr(zipfile.ZipInfo(inside), content)  # always of the same date
    return file.getvalue()


PACKING: Mapping[str, Callable[[bytes], bytes]] = {
    "": bytes, "gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "zip": zipped,
}  # fmt: skip
NAMES = ["t.csv", "t.txt", "t.tsv", "t.json", "t.jsonl", "t.parquet", "t.csv.gz", "t.dat", "t"]
SOME_TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp", "Zs"]), max_size=9
).map("x ".__add__)
SOME_ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "image": st.integers(0, 9).map("i/{}.jpg".format),
            "a caption": SOME_TEXT,
            "n": st.integers(-9, 99),
        }
    ),
    min_size=2,
    max_size=5,
)


@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200
)
@given(
    SOME_ROWS,
    st.sampled_from(list(TEXTS)),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le"]),
    st.sampled_from(list(PACKING)),
    st.sampled_from(NAMES),
)
def test_a_table_is_read_whatever_its_name_encoding_and_packing(
    tmp_path: Path, rows: Rows, layout: str, encoding: str, packing: str, name: str
) -> None:
    text = TEXTS[layout](rows)
    if encoding == "utf-16-le" and not text.isascii():  # without a mark, only its zeros show it
        encoding = "utf-16"
    (tmp_path / name).write_bytes(PACKING[packing](text.encode(encoding)))
    expected = by_column(rows)
    assert read_table(tmp_path / name).columns == {
        key: [c.strip() if isinstance(c, str) else c for c in cells] if layout == "bars" else cells
        for key, cells in expected.items()
    }


@settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(list(TEXTS)),
    st.sampled_from(list(PACKING)),
    st.sampled_from(NAMES),
    st.floats(0, 1),
    st.integers(0, 9),
    st.one_of(st.binary(max_size=9), st.sampled_from([b"\n", b'"', b"[", b"{", b"NaN", b"sep=;"])),
)
def test_a_damaged_file_is_read_or_an_error_of_one_line(
    tmp_path: Path, layout: str, packing: str, name: str, place: float, cut: int, junk: bytes
) -> None:
    text = TEXTS[layout]([{"image": "a.jpg", "a caption": "A dog", "n": n} for n in range(3)])
    data = PACKING[packing](text.encode())
    at = int(place * len(data))
    (tmp_path / name).write_bytes(data[:at] + junk + data[at + cut :])
    message = ""
    try:
        columns = read_table(tmp_path / name).columns
    except PlaitError as error:
        columns, message = {}, str(error)
    assert bool(columns) != bool(message)
    assert "\n" not in message
    assert len({len(cells) for cells in columns.values()}) <= 1


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t"])
@pytest.mark.parametrize("kind", ["parquet", "arrow", "stream"])
def test_binary_tables_under_any_name(tmp_path: Path, name: str, kind: str) -> None:
    table, path = pa.table({"a": [1, 2], "b": ["x", None]}), tmp_path / name
    if kind == "parquet":
        pa.parquet.write_table(table, path)
    elif kind == "arrow":
        pa.feather.write_feather(table, str(path))
    else:
        with pa.ipc.new_stream(str(path), table.schema) as writer:
            writer.write_table(table)
    assert read_table(path).columns == {"a": [1, 2], "b": ["x", None]}


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("image|text, long\na.jpg|A dog, running\n", {"image": 1, "text, long": 1}),
        ("n;price\n1;2,5\n2;3,5\n", {"n": 2, "price": 2}),
        ("text\nA dog, running; fast\nA cat\n", {"text": 2}),
        ("a,b (x;y)\n1,2;3\n4,5;6\n", {"a": 2, "b (x;y)": 2}),
        ('a,b\n1,"say \\"hi\\", he said"\n', {"a": 1, "b": 1}),
        ('a;b\n1;a 5" pipe\n2;"x" and y\n', {"a": 2, "b": 2}),
        ("a.wav,hello\nb.wav,you\n", {"audio": 2, "caption": 2}),
        ("a,b\r1,2\r3,4", {"a": 2, "b": 2}),
        ('image, caption\na.jpg, "A dog, running"\n', {"image": 1, "caption": 1}),
        ("a.jpg a dog\nb.jpg a cat\n", {"image": 2, "caption": 2}),
        ("a.jpg\nb.jpg\n", {"column_0": 2}),
    ],
)
def test_separators_and_quotes(tmp_path: Path, text: str, columns: dict[str, int]) -> None:
    (tmp_path / "t.txt").write_bytes(text.encode())
    found = read_table(tmp_path / "t.txt")
    assert {name: len(cells) for name, cells in found.columns.items()} == columns


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.lists(st.tuples(st.text("ab", min_size=1), st.text("xy")), min_size=1, max_size=9),
    separator=st.sampled_from(",;\t|"),
    in_header=st.integers(0, 2),
    more=st.lists(st.integers(0, 2), min_size=9, max_size=9),
)
def test_separators_at_the_ends_of_lines_say_nothing(
    rows: list[tuple[str, str]], separator: str, in_header: int, more: list[int], tmp_path: Path
) -> None:
    lines = [separator.join(row) + separator * n for row, n in zip(rows, more, strict=False)]
    header = separator.join(("text", "label")) + separator * in_header
    (tmp_path / "t.csv").write_text("\n".join([header, *lines]))
    assert read_table(tmp_path / "t.csv").columns == {
        "text": [text for text, _ in rows],
        "label": [label or None for _, label in rows],
    }


def test_separators_at_the_end_hide_no_missing_cell(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,c,\n1,2,3,\n1,2\n")
    with pytest.raises(PlaitError, match="line 3 has 2 cells; expected 4"):
        read_table(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("a,b\n1,2,\n1,2,3\n")
    with pytest.raises(PlaitError, match="line 3 has 3 cells; expected 2"):
        read_table(tmp_path / "t.csv")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    numbers=st.lists(st.decimals(-(10**7), 10**7, places=2), min_size=1, max_size=9),
    grouped=st.booleans(),
    gap=st.sampled_from(["", "NA", "-"]),
)
def test_decimal_commas_between_semicolons(
    numbers: list[Any], grouped: bool, gap: str, tmp_path: Path
) -> None:
    points = str.maketrans(",.", ".,")
    cells = [f"{n:,.2f}" if grouped else f"{n:.2f}" for n in numbers]
    lines = [f"{cell.translate(points)};fine, but\r\n" for cell in [*cells, gap]]
    (tmp_path / "t.csv").write_bytes(("\ufeffn;text\r\n" + "".join(lines)).encode())
    found = read_table(tmp_path / "t.csv").columns
    assert found["n"] == [*map(float, numbers), None]
    assert set(found["text"]) == {"fine, but"}


def test_other_commas_between_semicolons_stay(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a;b\n1,2;x\n3,4,5;y\nred,wall;z\n")
    assert read_table(tmp_path / "t.csv").columns["a"] == ["1,2", "3,4,5", "red,wall"]


def test_texts_by_the_names_of_their_files(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text('{"a.jpg": ["A dog", "Dog"], "b.jpg": ["A cat", "Cat"]}')
    assert read_table(path).columns == {
        "image": ["a.jpg", "b.jpg"],
        "caption": [["A dog", "Dog"], ["A cat", "Cat"]],
    }
    path.write_text('{"a.wav": {"text": "hello", "n": 1}, "b.wav": {"text": "you"}}')
    assert read_table(path).columns == {
        "audio": ["a.wav", "b.wav"], "text": ["hello", "you"], "n": [1, None],
    }  # fmt: skip


def test_one_record_is_a_table_of_one_row(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"image": "a.jpg", "captions": ["A dog", "Dog"]}')
    found = read_table(tmp_path / "t.json")
    assert found.columns == {"image": ["a.jpg"], "captions": [["A dog", "Dog"]]}


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("notes.md", b"# Notes\n\nOne, two\n", "not a known kind of table"),
        ("a.jpg", b"\xff\xd8\xff\xe0 JFIF", "to caption a photo: plait caption FILE"),
        ("t.xlsx", zipped(b"x"), "save the sheet as CSV"),
        ("t.csv", zipped(b"x", "xl/workbook.xml"), "Excel workbook: save the sheet as CSV"),
        ("t.tar", b"a\0b", "unpack it, and name its folder"),
        ("t.csv", b"\x89PNG\r\n\x1a\n\0\0\0", "not a known kind of table"),
        ("t.json", b"hello", "t.json is not JSON"),
        ("t.jsonl", b'{"a": 1}\n\n\n3\n', "t.jsonl line 4 is not a JSON object"),
        ("t.zip", zipped(b"x")[:40], "not a known kind of table"),
        ("t.csv.zip", zipped(b"x")[:40], "t.csv.zip is not a valid zip file"),
        ("t.csv.gz", gzip.compress(b"a,b\n1,2\n", mtime=0)[:-9], "not a valid gzip file"),
    ],
)
def test_what_is_no_table(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(PlaitError, match=message):
        read_table(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "is_table"),
    [("t.CSV", True), ("t.jsonl.gz", True), ("t.arrow", True), ("t.json.zip", True), ("t", False),
     ("a.jpg", False), ("t.gz", False)],
)  # fmt: skip
def test_names_of_tables(name: str, is_table: bool) -> None:
    assert is_table_name(name) is is_table
