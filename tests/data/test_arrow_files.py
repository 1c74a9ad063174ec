"""What Hugging Face's datasets writes: folders of Arrow files, and Parquet with classes."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from samples import draw

from plait.data import lazy
from plait.data.lazy import LazyColumn
from plait.data.tables import read_table
from plait.types import PlaitError

FEATURES = {
    "image": {"_type": "Image"},
    "label": {"names": ["cat", "dog"], "_type": "ClassLabel"},
    "tags": {"feature": {"names": ["x", "y"], "_type": "ClassLabel"}, "_type": "Sequence"},
    "old": [{"names": ["x", "y"], "_type": "ClassLabel"}],
    "text": {"dtype": "string", "_type": "Value"},
}
FILES = [{"bytes": b"one", "path": "1.png"}, {"bytes": None, "path": "2.png"},
         {"bytes": b"three", "path": None}]  # fmt: skip
ROWS: list[dict[str, Any]] = [
    {"image": FILES[0], "label": 1, "tags": [0, 1], "old": [1], "text": "a"},
    {"image": FILES[1], "label": -1, "tags": [], "old": [0], "text": "b"},
    {"image": FILES[2], "label": 0, "tags": [1], "old": [], "text": None},
]
COLUMNS = {
    "image": [b"one", "2.png", b"three"],
    "label": ["dog", None, "cat"],
    "tags": [["x", "y"], [], ["y"]],
    "old": [["y"], ["x"], []],
    "text": ["a", "b", None],
}


def with_features(rows: list[dict[str, Any]]) -> pa.Table:
    written = {b"huggingface": json.dumps({"info": {"features": FEATURES}})}
    return pa.Table.from_pylist(rows).replace_schema_metadata(written)


def save(folder: Path, parts: list[list[dict[str, Any]]]) -> None:
    """As Dataset.save_to_disk does."""
    folder.mkdir(parents=True)
    names = [f"data-{at:05}-of-{len(parts):05}.arrow" for at in range(len(parts))]
    for name, rows in zip(names, parts, strict=True):
        table = with_features(rows)
        with pa.ipc.new_stream(str(folder / name), table.schema) as writer:
            writer.write_table(table)
    (folder / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": n} for n in names]})
    )
    (folder / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))


def test_a_data_set_saved_to_the_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path / "d", [ROWS[:1], ROWS[1:]])
    assert read_table(tmp_path / "d").columns == COLUMNS
    assert caplog.messages == [f"{tmp_path / 'd'}: read 3 rows of 2 files"]


def test_several_splits_saved_to_the_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for split, rows in (("train", ROWS[:2]), ("validation", ROWS[2:])):
        save(tmp_path / split, [rows])
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "validation"]}')
    split = {"split": ["train", "train", "validation"]}
    assert read_table(tmp_path).columns == COLUMNS | split
    assert caplog.messages == [f"{tmp_path}: read 2 + 1 rows of the splits train, validation"]


def test_what_datasets_writes_itself(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    draw("red", "left", 0).save(tmp_path / "p.png")
    features = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=["cat", "dog"])
    )
    rows = [{"image": str(tmp_path / "p.png"), "label": number} for number in (0, 1)]
    data = datasets.Dataset.from_list(rows, features=features)
    datasets.DatasetDict(train=data, test=data.select([1])).save_to_disk(tmp_path / "d")
    assert read_table(tmp_path / "d").columns == {
        "image": [(tmp_path / "p.png").read_bytes()] * 3,
        "label": ["cat", "dog", "dog"],
        "split": ["train", "train", "test"],
    }


def test_classes_in_parquet_have_names(tmp_path: Path) -> None:
    pa.parquet.write_table(with_features(ROWS), tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").columns == COLUMNS


def test_large_arrow_columns_stay_in_their_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lazy, "LARGE", 4000)
    files = [bytes([number]) * 90 for number in range(100)]
    rows = [ROWS[0] | {"image": {"bytes": file, "path": None}} for file in files]
    save(tmp_path / "d", [rows[:60], rows[60:]])
    table = read_table(tmp_path / "d")
    column = table.column("image")
    assert isinstance(column, LazyColumn)
    assert list(column) == files
    assert {len(cell) for cell in table.sample("image")} == {lazy_start()}
    taken = table.where([99, 3, 61])
    assert list(taken.column("image")) == [files[99], files[3], files[61]]
    sent = pickle.dumps(taken.columns["image"])
    assert len(sent) < 2000
    assert list(pickle.loads(sent)) == [files[99], files[3], files[61]]


def lazy_start() -> int:
    from plait.data.tables import START

    return START


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("state.json", "{", r"state\.json can't be read"),
        ("data-00000-of-00001.arrow", "x", "is not a valid Arrow file"),
    ],
)
def test_a_damaged_data_set(tmp_path: Path, name: str, content: str, message: str) -> None:
    save(tmp_path / "d", [ROWS])
    (tmp_path / "d" / name).write_text(content)
    with pytest.raises(PlaitError, match=message) as caught:
        read_table(tmp_path / "d")
    assert "\n" not in str(caught.value)


def test_a_data_set_without_a_file(tmp_path: Path) -> None:
    save(tmp_path / "d", [ROWS])
    (tmp_path / "d" / "data-00000-of-00001.arrow").unlink()
    with pytest.raises(PlaitError, match="is not a valid Arrow file"):
        read_table(tmp_path / "d")
