"""The example scripts that make tables of questions."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(script: str, *args: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / script), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: list[tuple[str, str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "question", "answer"), *rows])


def test_rooms_in_their_own_split_and_by_photo(tmp_path: Path) -> None:
    questions = [
        ("how many chairs are there", "4"), ("What is the  colour of the wall", "white"),
        ("what is on the desk", "lamp, cup"), ("where is the dog", "bed"), ("is it dark", "no"),
    ]  # fmt: skip
    data = tmp_path / "data"
    data.mkdir()
    for name, start in (("train", 0), ("test", 20)):
        write(
            data / f"{name}.csv",
            [
                (f"images/{photo}.jpg", *asked)
                for photo in range(start, start + 40)
                for asked in questions
            ],
        )
    made = run("rooms_table.py", data / "train.csv", data / "test.csv", tmp_path)
    assert made.returncode == 0, made.stderr
    rows, apart = read(tmp_path / "rooms.csv"), read(tmp_path / "rooms_by_photo.csv")
    assert [row["split"] for row in rows] == ["train"] * 200 + ["test"] * 200
    assert [row["kind"] for row in rows[:5]] == ["how many", "colour", "what", "where", "other"]
    assert rows[2]["answer"] == "lamp, cup"
    assert Path(rows[0]["image"]) == (data / "images" / "0.jpg").resolve()
    assert [{**row, "split": ""} for row in apart] == [{**row, "split": ""} for row in rows]
    splits: dict[str, set[str]] = {}
    for row in apart:
        splits.setdefault(row["image"], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    assert {"train", "val", "test"} == set().union(*splits.values())


def test_a_table_that_is_none_is_one_line(tmp_path: Path) -> None:
    write(tmp_path / "short.csv", [("1.jpg", "what is it", "")])
    (tmp_path / "other.csv").write_text("photo,question\n1.jpg,what is it\n")
    for name, said in {
        "gone.csv": "there is no table", "other.csv": "has no column 'image'",
        "short.csv": "short.csv row 1 has no answer",
    }.items():  # fmt: skip
        made = run("rooms_table.py", tmp_path / name, tmp_path / name, tmp_path / "out")
        assert made.returncode == 1
        assert said in made.stderr
        assert len(made.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


PACKAGE = """
def get_train_questions(): return ["what color is it?", "what shape?"], ["red", "circle"], [0, 1]
def get_test_questions(): return ["is it red?"], ["no"], [0]
def get_train_image_paths(): return {0: "/p/train/0.png", 1: "/p/train/1.png"}
def get_test_image_paths(): return {0: "/p/test/0.png"}
"""


def test_shapes_from_the_package(tmp_path: Path) -> None:
    script = (EXAMPLES / "shapes_table.py").read_text()
    (tmp_path / "shapes_table.py").write_text(script)
    lacks = subprocess.run(
        [sys.executable, "shapes_table.py", "out.csv"], cwd=tmp_path, capture_output=True, text=True
    )
    if lacks.returncode:
        assert "pip install easy-vqa" in lacks.stderr
    (tmp_path / "easy_vqa.py").write_text(PACKAGE)  # found before an installed one
    subprocess.run([sys.executable, "shapes_table.py", "out.csv"], cwd=tmp_path, check=True)
    assert [tuple(row.values()) for row in read(tmp_path / "out.csv")] == [
        ("/p/train/0.png", "what color is it?", "red", "colour", "train"),
        ("/p/train/1.png", "what shape?", "circle", "shape", "train"),
        ("/p/test/0.png", "is it red?", "no", "yes or no", "test"),
    ]
