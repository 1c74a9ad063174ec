from __future__ import annotations

import gzip
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from plait.data.split_column import find_split_column, split_key
from plait.data.tables import (
    Table,
    as_table,
    cell_key,
    group_captions,
    read_table,
)
from plait.pipeline.columns import guess_column, plain_columns
from plait.types import PlaitError, UsageError

CSV = 'image,caption,n\na.jpg,"A dog, running.",1\nb.jpg,Two cats,\n'
COLUMNS = {
    "image": ["a.jpg", "b.jpg"],
    "caption": ["A dog, running.", "Two cats"],
    "n": [1, None],
}
ROWS = [dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
TSV = "image\tcaption\tn\na.jpg\tA dog, running.\t1\nb.jpg\tTwo cats\t\n"


def photo(path: Path, shade: int = 0) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), shade, np.uint8)).save(path)
    return path.read_bytes()


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def table(**columns: list[Any]) -> Table:
    return Table(Path("t.csv"), Path(), columns)


# --- formats ---


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize(("name", "text"), [("t.csv", CSV), ("t.tsv", TSV), ("t.jsonl", LINES)])
def test_text_formats(tmp_path: Path, name: str, text: str, gz: str) -> None:
    found = read_table(write(tmp_path / (name + gz), text))
    assert found.columns == COLUMNS
    assert len(found) == 2
    assert found.root == tmp_path


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pa.parquet.write_table(pa.table(COLUMNS), path)
    assert read_table(str(path)).columns == COLUMNS


def test_parquet_cells_of_bytes_and_the_hubs_struct(tmp_path: Path) -> None:
    data = photo(tmp_path / "a.png")
    cells = [{"bytes": data, "path": "a.png"}, {"bytes": None, "path": "b.png"}, None]
    path = tmp_path / "t.parquet"
    pa.parquet.write_table(pa.table({"image": cells, "raw": [data, None, b"x"]}), path)
    found = read_table(path)
    assert found.columns == {"image": [data, "b.png", None], "raw": [data, None, b"x"]}
    assert guess_column(found.where([0]), "image") == "image"


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_a_csv_of_another_separator(tmp_path: Path, separator: str) -> None:
    text = f"image{separator}caption\na.jpg{separator}A dog, running\n"
    found = read_table(write(tmp_path / "t.csv", text))
    assert found.columns == {"image": ["a.jpg"], "caption": ["A dog, running"]}


def test_bom_crlf_blank_lines_and_line_breaks_in_quotes(tmp_path: Path) -> None:
    text = '\ufeffimage,caption\r\na.jpg,"one\r\ntwo ""three"""\r\n\r\n'
    found = read_table(write(tmp_path / "t.csv", text))
    assert found.columns == {"image": ["a.jpg"], "caption": ['one\r\ntwo "three"']}


def test_unquoted_tsv_keeps_its_quotes(tmp_path: Path) -> None:
    found = read_table(write(tmp_path / "t.tsv", 'image\tcaption\na.jpg\t"Hi" he said\n'))
    assert found.column("caption") == ['"Hi" he said']


def test_numbers_are_numbers_only_where_written_so(tmp_path: Path) -> None:
    text = "a,b,c,d\n1,1.5,007,2024-01-01\n-2,1e3,008,x\n"
    found = read_table(write(tmp_path / "t.csv", text))
    assert found.columns == {
        "a": [1, -2],
        "b": [1.5, 1000.0],
        "c": ["007", "008"],
        "d": ["2024-01-01", "x"],
    }


def test_json_lines_with_keys_missing(tmp_path: Path) -> None:
    found = read_table(write(tmp_path / "t.jsonl", '{"a": 1}\n\n{"b": ["x", "y"]}'))
    assert found.columns == {"a": [1, None], "b": [None, ["x", "y"]]}


def test_a_unicode_line_separator_is_no_line_end(tmp_path: Path) -> None:
    found = read_table(write(tmp_path / "t.jsonl", '{"a": "x\u2028y"}\n'))
    assert found.column("a") == ["x\u2028y"]


def test_json_list_of_objects(tmp_path: Path) -> None:
    assert read_table(write(tmp_path / "t.json", json.dumps(ROWS))).columns == COLUMNS


# --- folders ---


def test_kaggles_flickr8k(tmp_path: Path) -> None:
    photo(tmp_path / "Images" / "a.jpg")
    write(tmp_path / "captions.txt", 'image,caption\na.jpg,"A dog, running ."\na.jpg,A dog\n')
    found = read_table(tmp_path)
    assert found.column("caption") == ["A dog, running .", "A dog"]
    assert (found.root / found.column("image")[0]).is_file()


def test_captions_of_names_and_tabs(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    write(tmp_path / "captions.txt", "a.jpg\tA dog, running\nb.jpg\tA cat\n")
    found = read_table(tmp_path)
    assert found.columns == {"image": ["a.jpg", "b.jpg"], "caption": ["A dog, running", "A cat"]}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.csv", "file_name,text\na.png,A red dog\n"),
        ("metadata.jsonl", '{"file_name": "a.png", "text": "A red dog"}\n'),
    ],
)
def test_metadata(tmp_path: Path, name: str, text: str) -> None:
    photo(tmp_path / "a.png")
    write(tmp_path / name, text)
    found = read_table(tmp_path)
    assert found.columns == {"file_name": ["a.png"], "text": ["A red dog"]}
    assert guess_column(found, "image") == "file_name"
    assert guess_column(found, "text") == "text"


def test_a_folder_of_photos_alone(tmp_path: Path) -> None:
    photo(tmp_path / "b.jpg")
    photo(tmp_path / "sub" / "a.png")
    found = read_table(tmp_path)
    assert found.columns == {"image": ["b.jpg", "sub/a.png"]}
    assert found.root == tmp_path


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(PlaitError, match="contains no images"):
        read_table(tmp_path)


@pytest.mark.parametrize("images", [".", "Flicker8k_Dataset", "Images", "images"])
def test_published_flickr8k(tmp_path: Path, images: str) -> None:
    names = ["a.jpg", "b.jpg", "c.jpg", "d.jpg.1"]
    for name in names[:3]:
        photo(tmp_path / images / name)
    tokens = "".join(f"{n}#{i}\tA dog , number {i} .\n" for n in names for i in range(2))
    write(tmp_path / "Flickr8k.token.txt", tokens)
    for part, name in zip(("train", "dev", "test"), names, strict=False):
        write(tmp_path / f"Flickr_8k.{part}Images.txt", name + "\n")
    found = read_table(tmp_path)
    assert found.column("image") == names
    assert found.column("captions")[0] == ["A dog , number 0 .", "A dog , number 1 ."]
    assert found.column("split") == ["train", "val", "test", None]
    assert (found.root / "a.jpg").is_file()


def test_flickr8k_with_its_texts_and_photos_in_two_folders(tmp_path: Path) -> None:
    photo(tmp_path / "Flicker8k_Dataset" / "a.jpg")
    write(tmp_path / "Flickr8k_text" / "Flickr8k.token.txt", "a.jpg#0\tA dog\n")
    found = read_table(tmp_path)
    assert found.columns == {"image": ["a.jpg"], "captions": [["A dog"]]}
    assert (found.root / "a.jpg").is_file()


def test_a_broken_flickr8k_line(tmp_path: Path) -> None:
    write(tmp_path / "Flickr8k.token.txt", "a.jpg#0\tA dog\na.jpg#1 A dog\n")
    with pytest.raises(PlaitError, match=r"Flickr8k\.token\.txt line 2"):
        read_table(tmp_path)


# --- COCO ---

COCO: dict[str, Any] = {
    "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 9, "file_name": "b.jpg"}],
    "annotations": [
        {"image_id": 9, "caption": "A cat."},
        {"image_id": 7, "caption": "A dog."},
        {"image_id": 7, "caption": "Dog."},
    ],
}


@pytest.mark.parametrize("images", ["train2017", "images/train2017", "annotations", "images"])
def test_coco(tmp_path: Path, images: str) -> None:
    photo(tmp_path / images / "a.jpg")
    path = write(tmp_path / "annotations" / "captions_train2017.json", json.dumps(COCO))
    found = read_table(path)
    assert found.columns == {
        "image": ["a.jpg", "b.jpg"],
        "captions": [["A dog.", "Dog."], ["A cat."]],
    }
    assert found.root == tmp_path / images


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"annotations": [{"image_id": 1, "caption": "x"}]}, "image 1 is not among the images"),
        ({"annotations": [{"image_id": 7, "bbox": []}]}, "'caption'.*captions_"),
        ({"images": [{"id": 7}]}, "'file_name'"),
        ({"images": [7]}, "lacks"),
    ],
)
def test_broken_coco(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "c.json", json.dumps(COCO | change))
    with pytest.raises(PlaitError, match=message):
        read_table(path)


def test_json_that_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(PlaitError, match="no table and no captions"):
        read_table(write(tmp_path / "c.json", '{"info": {"year": 2014}, "images": [7]}'))


# --- bad tables ---


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("t.csv", b"", "t.csv is empty"),
        ("t.csv", b"\n\n", "t.csv is empty"),
        ("t.csv", b"image,caption\n", "t.csv has no rows; expected a header and at least one row"),
        ("t.jsonl", b"", "t.jsonl is empty"),
        ("t.json", b"[]", "t.json has no rows"),
        ("t.jsonl", b'{"a": 1}\n{"a": \n', "t.jsonl line 2 is not JSON"),
        ("t.jsonl", b'{"a": 1}\n[2]\n', "t.jsonl line 2 is not a JSON object"),
        ("t.json", b'{"a": ', "t.json is not JSON"),
        ("t.csv", b"image,caption\na.jpg,caf\xe9\n", "t.csv line 2 is not UTF-8 text .*0xe9"),
        ("t.csv", "a,b\n1,2\n".encode("utf-16")[:-1], "t.csv line 2 is not UTF-16"),
        ("t.csv", b"a,b\n1,2\n1,2,3\n", "t.csv line 3 has 3 cells; expected 2"),
        ("t.csv", b'a,b\n1,2\n1,"2\n', "t.csv line 3: .*quotes"),
        ("t.csv", b"a,b,a\n1,2,3\n", "two columns named .a."),
        (
            "t.csv.gz",
            gzip.compress(b"a,b\n1,2\n", mtime=0)[:-9],
            "t.csv.gz is not a valid gzip file",
        ),
        ("t.parquet", b"PAR1 not really", "t.parquet is not a valid Parquet file"),
        ("t.parquet", b"", "t.parquet is empty"),
        ("t.xlsx", b"PK", "t.xlsx is not a known kind of table"),
    ],
)
def test_broken_tables(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(PlaitError, match=message) as caught:
        read_table(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.json", "t.parquet", "t", "t.csv.gz"])
def test_missing_tables(tmp_path: Path, name: str) -> None:
    with pytest.raises(PlaitError, match="there is no table"):
        read_table(tmp_path / name)


def test_empty_parquet(tmp_path: Path) -> None:
    pa.parquet.write_table(pa.table({"a": pa.array([], pa.string())}), tmp_path / "t.parquet")
    with pytest.raises(PlaitError, match="no rows"):
        read_table(tmp_path / "t.parquet")


# --- Table ---


def test_a_missing_column_is_answered_with_those_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        table(image=["a"], caption=["b"]).column("captoin")
    assert str(caught.value) == (
        "t.csv has no column 'captoin'; expected one of: image, caption; did you mean 'caption'?"
    )


def test_where_takes_rows_in_order() -> None:
    found = table(a=[1, 2, 3], b=["x", "y", "z"]).where([2, 0])
    assert found.columns == {"a": [3, 1], "b": ["z", "x"]}
    assert len(table()) == 0


def test_several_columns_are_a_mapping_a_row() -> None:
    found = table(a=[1, 2], b=["x", None], c=[0, 0])
    assert found.column(["b", "a"]) == [{"b": "x", "a": 1}, {"b": None, "a": 2}]
    with pytest.raises(UsageError, match="no column 'd'"):
        found.column(["a", "d"])


def test_plain_columns_are_numbers_dates_and_words_that_come_again() -> None:
    found = table(
        number=[1, 2.5, None, -3], written=["1", "2", "3", "n/a"], truth=[True, False, True, None],
        day=["2024-01-01", "2024-01-02", "03.01.2024", ""], colour=["red", "blue", "red", "blue"],
        name=["Ann", "Bob", "Cid", "Dan"], photo=["a.png", "a.png", "b.png", "b.png"],
        blob=[b"x"] * 4, empty=[None] * 4, words=["x" * 61] * 4, taken=[1, 2, 3, 4],
        moment=[datetime(2024, 1, 1)] * 4, items=[["a"]] * 4,
    )  # fmt: skip
    expected = ["number", "written", "truth", "day", "colour", "moment"]
    assert plain_columns(found, ["taken"]) == expected


# --- captions ---


def test_rows_equal_in_several_columns_are_one_record() -> None:
    rows = table(a=[1, 1, None, None], b=["x", "x", "", None], c=["one", "two", "three", "four"])
    found = group_captions(rows, ["a", "b"], "c")
    assert found.columns["c"] == [["one", "two"], ["three"], ["four"]]  # empty ones stay apart
    assert found.column(["a", "b"])[0] == {"a": 1, "b": "x"}


def test_group_captions() -> None:
    rows = table(
        image=["a.jpg", "b.jpg", "a.jpg", None, None],
        caption=["one", ["two", ""], "three", "four", None],
        number=[0, 0, 1, 0, 0],
        split=["train", "val", "train", "val", "val"],
    )
    found = group_captions(rows, "image", "caption")
    assert found.columns == {
        "image": ["a.jpg", "b.jpg", None, None],
        "caption": [["one", "three"], ["two"], ["four"], []],
        "split": ["train", "val", "val", "val"],
    }
    assert group_captions(found, "image", "caption").columns == found.columns


def test_group_captions_by_bytes() -> None:
    found = group_captions(table(i=[b"x", b"y", b"x"], c=["1", "2", "3"]), "i", "c")
    assert found.columns == {"i": [b"x", b"y"], "c": [["1", "3"], ["2"]]}


def test_group_captions_refuses_a_photo_in_two_splits() -> None:
    rows = table(
        image=["b.jpg", "a.jpg", "a.jpg"], caption=list("xyz"), split=["val", "train", "x"]
    )
    found = r"a\.jpg has several values in column .*: train \(row 2\), x \(row 3\)"
    with pytest.raises(PlaitError, match=found):
        group_captions(
            rows, "image", "caption", photos={"split": split_key("split", rows.column("split"))}
        )
    assert "split" not in group_captions(rows, "image", "caption").columns


def test_group_captions_takes_words_for_one_split_as_equal() -> None:
    rows = table(image=["a", "a", "b"], caption=list("xyz"), split=["val", "Dev ", "train"])
    found = group_captions(
        rows, "image", "caption", photos={"split": split_key("split", rows.column("split"))}
    )
    assert found.columns["split"] == ["val", "train"]


def test_a_caption_that_is_not_a_number_is_none() -> None:
    rows = table(image=["a", "a"], caption=["x", float("nan")])
    assert group_captions(rows, "image", "caption").columns["caption"] == [["x"]]


def test_group_captions_compares_cells_as_photos_are_compared() -> None:
    """Nothing is equal to nothing, and a message has the values that differ."""
    nan = float("nan")
    rows = table(image=["a", "a", "b"], caption=list("xyz"), album=[nan, float("nan"), "1"])
    found = group_captions(rows, "image", "caption", photos={"album": cell_key})
    assert found.columns["album"][1] == "1"
    mixed = table(image=["a", "a"], caption=list("xy"), album=["1", 1])
    with pytest.raises(PlaitError, match=r"a has several values in column 'album': 1 .*, 1 "):
        group_captions(mixed, "image", "caption", photos={"album": cell_key})


def test_numbered_captions_are_gathered(tmp_path: Path) -> None:
    text = "image,caption_0,caption_1,score_0,score_1\na.jpg,A dog,,1,2\nb.jpg,A cat,Cat,3,4\n"
    found = read_table(write(tmp_path / "t.csv", text))
    assert found.column("caption") == [["A dog"], ["A cat", "Cat"]]
    assert found.column("caption_1") == [None, "Cat"]
    assert "score" not in found.columns
    assert guess_column(found, "text") == "caption"


# --- guessing ---


@pytest.mark.parametrize(
    ("columns", "image", "text", "split"),
    [
        (
            {"Image": ["a.jpg"], "Caption": ["A dog"], "Split": ["train"]},
            "Image",
            "Caption",
            "Split",
        ),
        ({"x": ["p/a b.PNG"], "y": ["A dog"], "z": ["dev"]}, "x", "y", "z"),
        ({"y": [["A dog", "Dog"]], "x": [b"\x89PNG\r\n"]}, "x", "y", None),
        ({"image": [1, 2], "file": ["a.jpg", "b.jpg"]}, "file", None, None),
        ({"image": ["A dog runs"], "n": [1]}, None, "image", None),
        ({"text": ["你好"], "set": ["red"]}, None, "text", None),
        ({"sound": [b"RIFF....WAVE"], "n": [None]}, None, None, None),
        ({"image": [None, "a.jpg"], "captions": [[], ["x"]]}, "image", "captions", None),
        ({"image": ["0001", "0002"], "sentences": ["hello", "dog"]}, "image", "sentences", None),
        ({"split": ["train", "extra", "val", "train"]}, None, None, "split"),
    ],
)
def test_guess_column(
    columns: dict[str, list[Any]], image: str | None, text: str | None, split: str | None
) -> None:
    rows = table(**columns)
    assert guess_column(rows, "image") == image
    assert guess_column(rows, "text") == text
    assert find_split_column({n: rows.sample(n) for n in rows.columns}) == split


@pytest.mark.parametrize(
    ("columns", "number", "labels"),
    [
        ({"id": [1, 2], "Price": [3.5, 4.0], "tags": ["a,b", "c"]}, "Price", "tags"),
        ({"value": ["low", "high"], "y": [1, 2], "x": [["a"], ["b", "c"]]}, "y", "x"),
        ({"id": [1, 2], "kinds": [["a"], []], "captions": [["a dog runs by"]] * 2}, None, "kinds"),
        ({"score": [True, False], "labels": [0.5, 1.5]}, None, None),
    ],
)
def test_guess_a_number_and_labels(
    columns: dict[str, list[Any]], number: str | None, labels: str | None
) -> None:
    rows = table(**columns)
    assert guess_column(rows, "number") == number
    assert guess_column(rows, "labels") == labels


@pytest.mark.parametrize(
    ("columns", "audio", "video"),
    [
        ({"clip": ["a.wav", "b.wav"]}, "clip", None),  # the suffix decides
        ({"clip": ["a.mp4", "b.mp4"]}, "clip", "clip"),  # a video has sound, too
        ({"clip": ["frames/a", "frames/b"]}, "clip", "clip"),
        ({"depth": ["a.mp4"], "speech": ["a.flac"]}, "speech", "depth"),
        ({"depth": [1.5, 2.0]}, None, None),
        ({"video": ["a cat runs by"], "n": [1]}, None, None),
        ({"video": ["a.gif", "b.gif"]}, None, "video"),
        ({"movie": ["a.jpg", "b.jpg"]}, None, None),
        ({"x": ["p/a b.MKV"], "y": [b"\x1a\x45\xdf\xa3.."]}, None, "x"),
        ({"y": [b"\x00\x00\x00\x18ftypmp42"], "z": [b"RIFF....WAVE"]}, "z", "y"),
        ({"x": [b"RIFF....AVI "], "n": [1]}, None, "x"),
    ],
)
def test_guess_sounds_and_videos(
    columns: dict[str, list[Any]], audio: str | None, video: str | None
) -> None:
    rows = table(**columns)
    assert guess_column(rows, "audio") == audio
    assert guess_column(rows, "video") == video
    assert guess_column(rows, "text") is None or "video" in columns


@pytest.mark.parametrize(
    ("cells", "plain"),
    [
        ([["a.jpg"], ["b.png"], None], ["a.jpg", "b.png", None]),
        (["['a.wav']", '["b.wav"]'], ["a.wav", "b.wav"]),
        ([["a.jpg"], ["b.jpg", "c.jpg"]], [["a.jpg"], ["b.jpg", "c.jpg"]]),
        ([["red"], ["blue"]], [["red"], ["blue"]]),
    ],
)
def test_a_list_of_one_file_is_the_file(cells: list[Any], plain: list[Any]) -> None:
    assert as_table({"images": cells}).column("images") == plain
