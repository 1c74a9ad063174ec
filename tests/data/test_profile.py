from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from plait.data.tables import Table, as_table
from plait.pipeline.profile import profile, words
from plait.types import UsageError


def photo(path: Path, height: int, width: int) -> str:
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(path)
    return path.name


@pytest.fixture
def rows(tmp_path: Path) -> Table:
    sizes = [(10, 20), (30, 20), (12, 40)]
    images: list[Any] = [photo(tmp_path / f"{i}.png", *size) for i, size in enumerate(sizes)]
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    images += ["cut.jpg", "gone.jpg", "0.png", None]
    captions = [
        ["A dog runs.", "A dog!"],
        "a dog",
        "",
        None,
        ["A  cat, a dog's tail"],
        "a",
        "the well-known dog",
    ]
    return Table(tmp_path / "t.csv", tmp_path, {"image": images, "text": captions, "n": [1] * 7})


def test_photos(rows: Table) -> None:
    found = profile(rows, "image", None)
    assert found["rows"] == 7
    photos = found["photos"]
    assert photos["count"] == 5
    assert photos["height"] == {
        "min": 10,
        "mean": pytest.approx(52 / 3),
        "median": 12,
        "p95": 30,
        "max": 30,
    }
    assert (photos["width"]["min"], photos["width"]["median"], photos["width"]["max"]) == (
        20,
        20,
        40,
    )
    assert photos["bad"]["count"] == 2
    bad = photos["bad"]["first"]
    assert [(b["row"], b["file"]) for b in bad] == [(4, "cut.jpg"), (5, "gone.jpg")]
    assert "is missing" in bad[1]["why"]
    assert "captions" not in found


def test_captions(rows: Table) -> None:
    found = profile(rows, "image", "text", {"dog": 1, "the": 2})["captions"]
    # a dog runs | a dog | a dog | a cat a dog's tail | a | the well-known dog
    assert found["count"] == 6
    assert found["words"] == {
        "min": 1,
        "mean": pytest.approx((3 + 2 + 2 + 5 + 1 + 3) / 6),
        "median": 2.5,
        "p95": 5,
        "max": 5,
    }
    assert found["per_row"] == {
        "min": 0,
        "mean": pytest.approx(6 / 7),
        "median": 1,
        "p95": 2,
        "max": 2,
    }
    assert found["per_photo"]["max"] == 3  # 0.png is in two rows
    assert found["vocabulary"] == {
        "distinct": 8,
        "running": 16,
        "seen_5_times": 1,
        "coverage": pytest.approx(6 / 16),
        "known": pytest.approx(5 / 16),
    }


def test_words() -> None:
    assert words("A dog's well-known TAIL, isn’t it ?") == [
        "a",
        "dog's",
        "well-known",
        "tail",
        "isn’t",
        "it",
    ]


def test_columns() -> None:
    columns: dict[str, list[Any]] = {
        "path": ["a.jpg", "b.jpg", "a.jpg"],
        "bytes": [b"\x89PNG\r\n", None, b"\x89PNG\r\n"],
        "sound": [b"RIFF", b"", b"x"],
        "number": [1, 2.5, float("nan")],
        "flag": [True, False, True],
        "text": ["a dog", "dog", " "],
        "word": ["red", "blue", "red"],
        "texts": [["a", "b"], [], [""]],
        "boxes": [[[1, 2]], [[1, 2]], []],
        "mixed": [1, "x y", None],
        "none": [None, None, None],
    }
    found = profile(Table(Path("t"), Path(), columns), None, None)["columns"]
    assert {name: (c["kind"], c["empty"], c["distinct"]) for name, c in found.items()} == {
        "path": ("image", 0, 2),
        "bytes": ("image", 1, 1),
        "sound": ("bytes", 1, 2),
        "number": ("number", 1, 2),
        "flag": ("yes/no", 0, 2),
        "text": ("text", 1, 2),
        "word": ("word", 0, 2),
        "texts": ("texts", 2, 1),
        "boxes": ("list", 1, 1),
        "mixed": ("mixed", 1, 2),
        "none": ("empty", 3, 0),
    }


def test_at_most_twenty_bad_files_are_named(tmp_path: Path) -> None:
    rows = Table(tmp_path, tmp_path, {"image": [f"{i}.jpg" for i in range(25)]})
    found = profile(rows, "image", None)["photos"]
    assert found["bad"]["count"] == 25
    assert len(found["bad"]["first"]) == 20
    assert found["height"] is None


def test_all_captions_empty(tmp_path: Path) -> None:
    rows = Table(tmp_path, tmp_path, {"text": [None, "", []]})
    found = profile(rows, None, "text")["captions"]
    assert found["count"] == 0
    assert found["words"] is None
    assert found["vocabulary"]["coverage"] == 0


def test_it_is_json_and_reports_progress(rows: Table) -> None:
    steps: list[tuple[int, int]] = []
    found = profile(rows, "image", "text", on_progress=lambda *step: steps.append(step))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert steps == [(n, 5) for n in range(1, 6)]


def test_a_missing_column(rows: Table) -> None:
    with pytest.raises(UsageError, match="no column 'txt'"):
        profile(rows, "image", "txt")


def test_sounds_in_files_of_videos_are_sounds() -> None:
    columns = {"file": ["a.wav", "b.mp4", "c.webm"], "clip": ["a.mp4", "b.mp4", "c.mp4"]}
    described = profile(as_table(columns), None, None)["columns"]
    assert {name: column["kind"] for name, column in described.items()} == {
        "file": "audio", "clip": "video"
    }  # fmt: skip
