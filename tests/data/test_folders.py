"""How people lay out files, splits, classes and texts in folders."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait.data import lazy
from plait.data.lazy import LazyColumn
from plait.data.tables import Table, read_table
from plait.types import PlaitError

SUFFIXES = {"image": ".jpg", "audio": ".wav", "video": ".mp4"}
SPELLINGS = {
    "train": [
        "train",
        "Train",
        "training",
        "training_set",
        "train_images",
        "train2017",
        "trainset",
    ],
    "val": ["val", "valid", "validation", "dev", "Validation-Set", "val_data"],
    "test": ["test", "testing", "test_set", "Test", "test2017"],
}


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pa.parquet.write_table(pa.Table.from_pylist(list(rows)), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def records(table: Table) -> list[dict[str, Any]]:
    """The rows, in an order of their own."""
    rows = zip(*table.columns.values(), strict=True)
    return sorted((dict(zip(table.columns, row, strict=True)) for row in rows), key=repr)


@st.composite
def layouts(draw: st.DrawFn) -> tuple[str, list[tuple[str, str | None, str | None]]]:
    """A kind of file, and the files with their splits and classes."""
    kind = draw(st.sampled_from(list(SUFFIXES)))
    splits = draw(st.sampled_from([[], ["train", "test"], ["train", "val", "test"]]))
    spelt = {split: draw(st.sampled_from(SPELLINGS[split])) for split in splits}
    classes = draw(st.lists(st.sampled_from(["cat", "dog", "7", "Test tube"]), unique=True))
    classes = classes if len(classes) > 1 else []
    above = draw(st.sampled_from(["", "data/", "my photos/raw/"]))
    classes_first = draw(st.booleans())
    files = []
    for split, label in product(splits or [None], classes or [None]):
        parts = [spelt[split] if split else None, label]
        folders = "/".join(p for p in (reversed(parts) if classes_first else parts) if p)
        for number in range(2):
            name = "/".join(p for p in (folders, f"{number}{SUFFIXES[kind]}") if p)
            files.append((above + name, split, label))
    return kind, files


@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60
)
@given(layouts(), st.booleans())
def test_folders_name_splits_and_classes(
    tmp_path: Path, layout: tuple[str, Any], texts: bool
) -> None:
    kind, files = layout
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    write(folder, *(name for name, _, _ in files))
    write(folder, "README.md", ".DS_Store", "__MACOSX/0.jpg")
    expected = []
    for name, split, label in files:
        row: dict[str, Any] = {kind: name}
        if texts:
            (folder / name).with_suffix(".txt").write_text(f"text of {name}\n")
            row["text"] = f"text of {name}"
        if any(other[2] for other in files):
            row["label"] = label
        if split:
            row["split"] = split
        expected.append(row)
    found = read_table(folder)
    assert records(found) == sorted(expected, key=repr)
    assert found.root == folder


@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60
)
@given(
    st.sampled_from([".csv", ".jsonl", ".parquet"]),
    st.sampled_from(list(SUFFIXES)),
    st.sampled_from(["file_name", "image_file_name"]),
    st.booleans(),
    st.booleans(),
    st.data(),
)
def test_metadata_for_each_split_or_for_all(
    tmp_path: Path, suffix: str, kind: str, column: str, one: bool, deeper: bool,
    data: st.DataObject,
) -> None:  # fmt: skip
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    expected: list[dict[str, Any]] = []
    inner = "files/" if deeper else ""
    for split in ("train", "test"):
        spelt = data.draw(st.sampled_from(SPELLINGS[split]))
        names = [f"{inner}{number}{SUFFIXES[kind]}" for number in range(3)]
        write(folder, *(f"{spelt}/{name}" for name in names))
        rows = [{column: name, "text": f"a {split} {name}"} for name in names]
        if not one:
            write_table(folder / spelt / f"metadata{suffix}", rows)
        expected += [row | {column: f"{spelt}/{row[column]}", "split": split} for row in rows]
    if one:
        unsplit = [{k: v for k, v in row.items() if k != "split"} for row in expected]
        write_table(folder / f"metadata{suffix}", unsplit)
    found = read_table(folder)
    assert records(found) == sorted(expected, key=repr)
    assert all((found.root / name).is_file() for name in found.column(column))


def test_a_split_column_is_kept_as_it_is(tmp_path: Path) -> None:
    rows = [
        {"file_name": f"{folder}/0.jpg", "fold": fold}
        for folder, fold in (("train", "test"), ("test", "train"), ("test", "train"))
    ]
    write(tmp_path, "train/0.jpg", "test/0.jpg")
    write_table(tmp_path / "metadata.csv", rows)
    assert list(read_table(tmp_path).columns) == ["file_name", "fold"]


def test_what_was_read_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, *(f"{s}/{c}/{n}.jpg" for s in ("train", "test") for c in "ab" for n in "01"))
    write(tmp_path, "train/a/2.jpg", "train/a/2.txt", "notes.csv", "more.csv")
    read_table(tmp_path)
    assert caplog.messages == [
        f"{tmp_path}: read 5 + 4 rows of the splits train, test; 1 text beside them; 2 classes; "
        "not read: more.csv, notes.csv"
    ]


def test_files_that_no_row_names_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "0.jpg", "1.jpg", "cafe\u0301.jpg")
    rows = [{"file_name": name, "text": "x y"} for name in ("./0.jpg", "café.jpg")]
    write_table(tmp_path / "metadata.csv", rows)
    assert len(read_table(tmp_path)) == 2
    assert caplog.messages == [f"{tmp_path}: read 2 rows; 1 file left out, as no row names them"]


def test_nothing_is_told_of_files_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "b.jpg", "sub/a.png")
    assert read_table(tmp_path).columns == {"image": ["b.jpg", "sub/a.png"]}
    assert not caplog.records


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        (["a.jpg", "a.png"], {"image": ["a.jpg", "a.png"]}),
        (["a.jpg", "a.wav", "b.wav"], {"image": ["a.jpg", None], "audio": ["a.wav", "b.wav"]}),
        (["a.flac", "b.flac"], {"audio": ["a.flac", "b.flac"]}),
        # Classes that are called like a split, and splits with a folder of another name.
        (["test/0.jpg", "car/0.jpg", "bus/0.jpg"], {"label": ["bus", "car", "test"]}),
        (["test_good/0.jpg", "test_bad/0.jpg"], {"label": ["test_bad", "test_good"]}),
        (
            ["train/0.jpg", "test/0.jpg", "unlabelled/0.jpg"],
            {"split": ["test", "train", "unlabelled"]},
        ),
        # Test files need no classes; one file that lies elsewhere changes nothing.
        (
            ["train/a/0.jpg", "train/b/0.jpg", "test/0.jpg"],
            {"label": [None, "a", "b"], "split": ["test", "train", "train"]},
        ),
        (
            [*(f"{c}/{n}.jpg" for c in "ab" for n in range(3)), "x.jpg"],
            {"label": ["a"] * 3 + ["b"] * 3 + [None]},
        ),
    ],
)
def test_odd_folders(tmp_path: Path, names: list[str], columns: dict[str, Any]) -> None:
    write(tmp_path, *names)
    found = read_table(tmp_path).columns
    assert found == {"image": found.get("image")} | columns if "image" in found else columns
    assert ("label" in found, "split" in found) == ("label" in columns, "split" in columns)


def test_depths_that_differ_are_no_classes(tmp_path: Path) -> None:
    write(tmp_path, "a/0.jpg", "a/1.jpg", "b/c/0.jpg", "b/c/1.jpg", "d.jpg")
    assert list(read_table(tmp_path).columns) == ["image"]


def test_texts_beside_files(tmp_path: Path) -> None:
    write(tmp_path, "0.jpg", "1.jpg", "2.jpg", "3.wav", "4.jpg")
    for name, text in {
        "0.txt": "A dog\n", "1.jpg.txt": "A cat", "2.txt": "One\n\nTwo \n", "3.txt": "one\ntwo",
        "9.txt": "of nothing",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text, encoding="utf-16" if name == "0.txt" else "utf-8")
    assert read_table(tmp_path).column("text") == [
        "A dog", "A cat", ["One", "Two"], "one\ntwo", None,
    ]  # fmt: skip


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".tsv", ".json", ".parquet"])
@pytest.mark.parametrize("place", ["", "data/"])
def test_a_table_for_each_split(
    tmp_path: Path, suffix: str, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    for split, count in (("train", 3), ("validation", 1), ("test", 2)):
        rows: list[dict[str, Any]] = [
            {"text": f"row {n} of {split}", "label": n} for n in range(count)
        ]
        if split == "test":
            rows = [{"text": row["text"]} for row in rows]
        path = tmp_path / f"{place}{split}{suffix}"
        write_table(path.with_suffix(".jsonl") if suffix == ".json" else path, rows)
        if suffix == ".json":
            path.with_suffix(".jsonl").rename(path)
    found = read_table(tmp_path)
    assert sorted(zip(found.column("text"), found.column("split"), strict=True))[:3] == [
        ("row 0 of test", "test"), ("row 0 of train", "train"), ("row 0 of validation", "val"),
    ]  # fmt: skip
    assert sorted(map(str, found.column("label"))) == ["0", "0", "1", "2", "None", "None"]
    assert caplog.messages[-1].endswith("read 3 + 1 + 2 rows of the splits train, val, test")


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet",
          "data/test-00000-of-00001.parquet"], {"train", "test"}),
        (["part-00000-ab12.snappy.parquet", "part-00001-ab12.snappy.parquet"], None),
        (["0000.parquet", "sub/0001.parquet"], None),
        (["split=train/a.parquet", "split=test/a.parquet"], {"train", "test"}),
        (["default/train/0000.parquet", "default/validation/0000.parquet"], {"train", "val"}),
    ],
)  # fmt: skip
def test_parts_in_parquet(tmp_path: Path, names: list[str], splits: set[str] | None) -> None:
    write(tmp_path, "_SUCCESS", "README.md")
    for number, name in enumerate(names):
        write_table(tmp_path / name, [{"n": number, "text": f"part {number}"}] * 2)
    found = read_table(tmp_path)
    assert sorted(found.column("n")) == sorted([*range(len(names)), *range(len(names))])
    assert set(found.columns.get("split", ())) == (splits or set())


def test_folders_may_be_columns(tmp_path: Path) -> None:
    for year, month in product(("2023", "2024"), ("1", "2")):
        write_table(tmp_path / f"year={year}/month={month}/p.parquet", [{"a": "x"}])
    assert read_table(tmp_path).columns["year"] == [2023, 2023, 2024, 2024]


def test_numbered_parts_of_text(tmp_path: Path) -> None:
    for number in range(2):
        write_table(tmp_path / f"data-0000{number}-of-00002.jsonl", [{"a": number}])
    assert read_table(tmp_path).columns == {"a": [0, 1]}


def test_large_parts_stay_in_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [[bytes([number, part]) * 90 for number in range(20)] for part in range(3)]
    for part, files in enumerate(cells):
        rows = [{"image": {"bytes": file, "path": None}} for file in files]
        write_table(tmp_path / f"train-0000{part}-of-00003.parquet", rows)
    monkeypatch.setattr(lazy, "LARGE", 100 * 3 * 20)  # each part is smaller, all are larger
    column = read_table(tmp_path).column("image")
    assert isinstance(column, LazyColumn)
    assert list(column) == [file for files in cells for file in files]
    assert column[41] == cells[2][1]
    assert {len(cell) for cell in column.sample(6, 8)} == {8}


def test_the_only_table_in_a_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "pictures/0.jpg", "LICENSE.txt", "info.json")
    write_table(tmp_path / "labels.csv", [{"id": "0.jpg", "label": "cat"}])
    found = read_table(tmp_path)
    assert found.columns == {"id": ["0.jpg"], "label": ["cat"]}
    assert found.root == tmp_path / "pictures"
    assert caplog.messages == [f"{tmp_path}: read 1 row; labels.csv"]
    write_table(tmp_path / "labels.csv", [{"author": "Ann", "year": "1999"}])
    assert read_table(tmp_path).columns == {"image": ["pictures/0.jpg"]}
    (tmp_path / "more.tsv").write_text("id\ttext\n0.jpg\ta red wall\n")
    assert read_table(tmp_path).columns == {"id": ["0.jpg"], "text": ["a red wall"]}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nocaps.json", '[{"image": "0.jpg", "captions": ["a red wall", "red"]}]'),
        ("list.txt", "0.jpg a red wall\n"),
    ],
)
def test_the_only_file_that_may_be_a_table(tmp_path: Path, name: str, text: str) -> None:
    write(tmp_path, "images/0.jpg", "README.txt", "info.json")
    (tmp_path / "info.json").write_text('{"a": 1, "b": 2}')
    (tmp_path / name).write_text(text)
    found = read_table(tmp_path)
    assert found.column("image") == ["0.jpg"]
    assert found.root == tmp_path / "images"
    assert len(found.columns) == 2


@pytest.mark.parametrize("place", ["", "train/"])
@pytest.mark.parametrize("kind", [{}, {"breed": "husky"}])
def test_captions_of_files_in_a_folder_for_each_class(
    place: str, kind: dict[str, str], tmp_path: Path
) -> None:
    names = [f"{label}/{number}.jpg" for label in ("cat", "dog") for number in range(2)]
    write(tmp_path, *(f"{place}{name}" for name in names))
    rows = [{"file_name": name, "text": f"a {name[:3]}", **kind} for name in names]
    write_table(tmp_path / f"{place}metadata.csv", rows)
    labels = read_table(tmp_path).columns.get("label")
    assert labels == (None if kind else ["cat", "cat", "dog", "dog"])


def test_a_table_beside_the_folder_of_its_files(tmp_path: Path) -> None:
    write(tmp_path, "audio/a.wav", "audio/b.wav", "notes/more.json")
    write_table(tmp_path / "meta" / "sounds.csv", [{"file": "a.wav", "class": "dog"}])
    found = read_table(tmp_path)
    assert found.columns == {"file": ["a.wav"], "class": ["dog"]}
    assert found.root == tmp_path / "audio"


def test_several_tables_are_named(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        write_table(tmp_path / name, [{"text": "fine", "label": "good"}])
    with pytest.raises(PlaitError, match=r"several tables: a.csv, b.csv; .*name one of them"):
        read_table(tmp_path)


@pytest.mark.parametrize("depth", [1, 2])
def test_a_folder_in_a_folder_is_read_as_that_one(depth: int, tmp_path: Path) -> None:
    inner = tmp_path.joinpath(*["unpacked"] * depth)
    write(inner, "images/0.jpg", "images/1.jpg")
    (inner / "results_20130124.token").write_text("0.jpg#0\ta dog\n1.jpg#0\ta cat\n")
    found = read_table(tmp_path)
    assert found.columns == {"image": ["0.jpg", "1.jpg"], "captions": [["a dog"], ["a cat"]]}
    assert found.root == inner / "images"


@pytest.mark.parametrize("split", [[], ["train", "test"]])
def test_texts_in_a_folder_for_each_class(split: list[str], tmp_path: Path) -> None:
    write(tmp_path, "README.txt", *(f"{place}/list.txt" for place in split))
    places = [f"{place}/" for place in split] or [""]
    for place, label in product(places, ["neg", "pos"]):
        for number in range(12):
            path = tmp_path / f"{place}{label}" / f"{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{label} {number}\n")
    rows = records(read_table(tmp_path))
    assert len(rows) == 24 * len(places)
    assert all(row["text"].startswith(row["label"]) for row in rows)
    assert {row.get("split") for row in rows} == (set(split) or {None})


@pytest.mark.parametrize(
    ("images", "texts"), [("images/", "captions/"), ("img/train/", "text/train/"), ("", "texts/")]
)
def test_texts_in_a_folder_of_their_own(images: str, texts: str, tmp_path: Path) -> None:
    for number in range(2):
        write(tmp_path, f"{images}{number}.jpg", f"{texts}{number}.txt", f"{texts}no.txt")
        (tmp_path / f"{texts}{number}.txt").write_text(f"caption {number}\n")
    assert read_table(tmp_path).columns["text"] == ["caption 0", "caption 1"]


def test_files_that_are_not_read_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "0.jpg", "1.jpg", "0.json", "1.json", "README.md")
    read_table(tmp_path)
    assert caplog.messages == [f"{tmp_path}: read 2 rows; not read: 2 .json"]


def test_linked_folders_are_entered_once(tmp_path: Path) -> None:
    write(tmp_path, "elsewhere/0.jpg", "here/1.jpg")
    (tmp_path / "here" / "train").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "again").symlink_to(tmp_path / "here")
    assert read_table(tmp_path / "here").columns == {"image": ["1.jpg", "train/0.jpg"]}


def test_a_folder_of_other_things(tmp_path: Path) -> None:
    write(tmp_path, "a.pdf", "b/c.docx")
    with pytest.raises(PlaitError, match="contains no images, sounds, videos or tables"):
        read_table(tmp_path)
