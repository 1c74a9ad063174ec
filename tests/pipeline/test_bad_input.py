"""Bad input as a user meets it: one clear line that names the row, or a counted bad cell."""

from __future__ import annotations

import csv
import io
import json
import wave
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from commands import run_plait

import plait
from plait.data.cells import ErrorPolicy, OnBad
from plait.training.train import train
from plait.types import BadCell, PlaitError

Row = dict[str, Any]
GOOD = 12  # rows of a table that are as they should be
WRONG = 3  # the place of a bad row among them, counted from 0

REPRESENTATIONS: dict[str, dict[str, Any]] = {
    "text": {"kind": "bag-of-words", "min_count": 1, "width": 8},
    "audio": {"kind": "spectrogram", "rate": 4000, "max_seconds": 0.2, "bands": 16, "channels": 8,
              "width": 8},
    "video": {"kind": "motion", "size": 16, "frames": 4, "width": 16},
    "image": {"kind": "pixels", "size": 16, "patch": 8, "width": 8},
    "series": {"kind": "windows", "width": 8},
    "table": {"kind": "columns", "width": 8},
}  # fmt: skip
COLUMNS: dict[str, Any] = {"table": ["heat", "day"]}  # of the input; else "x"


def a_recipe(inputs: Sequence[str], output: str = "category") -> dict[str, Any]:
    return {
        "name": "tiny",
        "inputs": {
            kind: {
                "modality": kind,
                "column": COLUMNS.get(kind, "x" if kind == inputs[0] else kind),
                "representation": REPRESENTATIONS[kind],
            }
            for kind in inputs
        },
        "fusion": {"kind": "none" if len(inputs) == 1 else "early", "width": 8},
        "outputs": {"y": {"kind": output, "column": "y"}},
        "training": {"epochs": 1, "batch": 8, "averaging": 0},
    }


def tone(number: int, seconds: float = 0.1, channels: int = 1) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setparams((channels, 2, 4000, 0, "NONE", ""))
        wave_ = 8000 * np.sin(
            2 * np.pi * (200 + 20 * number) * np.arange(int(seconds * 4000)) / 4e3
        )
        file.writeframes(np.repeat(wave_.astype("<i2"), channels).tobytes())
    return stream.getvalue()


def write_hours(path: Path) -> None:
    """Ten hours of silence in a small file."""
    soundfile = pytest.importorskip("soundfile")
    with soundfile.SoundFile(path, "w", 1000, 1, subtype="PCM_16", format="FLAC") as file:
        for _ in range(10):
            file.write(np.zeros(3_600_000, np.int16))


def write_song(path: Path) -> None:
    """A film's container in which there is only sound."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as file:
        track = file.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        file.mux([*track.encode(frame), *track.encode()])


def write_film(path: Path, number: int) -> None:
    from clips import film, shades

    path.write_bytes(film(shades(4, 5 + number)))


def good(kind: str, number: int, folder: Path) -> Row:
    """The cells of an input as they should be; files are written into the folder."""
    if kind == "text":
        return {"x": f"a {('nice', 'grim')[number % 2]} day {number}"}
    if kind == "series":
        return {"x": np.random.default_rng(number).normal(size=(5, 2)).round(3).tolist()}
    if kind == "table":
        return {"heat": number * 1.5, "day": f"2024-01-{number + 1:02d}"}
    name = f"{number}.{'wav' if kind == 'audio' else 'avi'}"
    if kind == "audio":
        pytest.importorskip("soundfile")
        (folder / name).write_bytes(tone(number))
    else:
        write_film(folder / name, number)
    return {"x": name}


WRITERS: dict[str, Callable[[Path], object]] = {
    "empty.wav": lambda path: path.write_bytes(b""),
    "silent.wav": lambda path: path.write_bytes(tone(1, seconds=0)),
    "hours.flac": write_hours,
    "many.wav": lambda path: path.write_bytes(tone(1, channels=32)),
    "noise.wav": lambda path: path.write_bytes(b"RIFF" + bytes(range(256))),
    "song.mp4": write_song,
    "cut.avi": lambda path: path.write_bytes((path.parent / "0.avi").read_bytes()[:900]),
    "ragged.csv": lambda path: path.write_text("a,b\n1,2\n3\n4,5\n"),
}
BAD: dict[str, list[tuple[Row, str]]] = {
    "text": [
        ({"x": "word " * 2_000_000}, "has 10,000,000 characters; expected at most 1,000,000"),
        ({"x": {"a": 1}}, "is not text; expected a string"),
        ({"x": "\0 \0"}, "the text is empty"),
        ({"x": "a fair day", "y": [1]}, "column 'y': [1] is not a class; expected text"),
        ({"x": "a fine day", "y": 1.5}, "column 'y': 1.5 is not a class"),
    ],
    "audio": [
        ({"x": "empty.wav"}, "empty.wav is empty (0 bytes); expected a WAV"),
        ({"x": "silent.wav"}, "silent.wav has no samples; expected a WAV"),
        ({"x": "hours.flac"}, "36,000 seconds long; expected at most 1,800 seconds; cut it"),
        ({"x": "many.wav"}, "32 channels; expected at most 16"),
        ({"x": "noise.wav"}, "noise.wav is damaged or not audio (Format not recognised)"),
        ({"x": 7}, "the cell contains 7; expected a path or a file's bytes"),
    ],
    "video": [
        ({"x": "song.mp4"}, "song.mp4 contains no video, only audio; expected an MP4"),
        ({"x": "cut.avi"}, "cut.avi is damaged or not a video"),
        ({"x": "gone.mp4"}, "gone.mp4 is missing"),
    ],
    "series": [
        ({"x": [[1, 2], [3], [4, 5]]}, "rows of 1 to 2 numbers; expected"),
        ({"x": "ragged.csv"}, "ragged.csv line 3 has 1 cells; expected 2"),
        ({"x": [[float("nan"), float("inf")]] * 3}, "the list has no numbers"),
        ({"x": [["a", "b"]]}, "contains something other than numbers; expected numbers"),
        ({"x": "some words"}, "some words is missing"),
    ],
    "table": [
        ({"heat": float("inf"), "day": "2024-01-03"}, "inf is infinite, or as good as that"),
        ({"heat": "warm", "day": "2024-01-04"}, "'warm' is not a number; expected a finite number"),
        ({"heat": 2.0, "day": "2024-02-31"}, "'2024-02-31' is not a date; expected a date such as"),
    ],
}  # fmt: skip
CASES = [
    pytest.param(kind, *case, id=f"{kind} {number}")
    for kind, cases in BAD.items()
    for number, case in enumerate(cases)
]


def rows_of(kind: str, folder: Path, count: int = GOOD) -> list[Row]:
    splits = ["train", "train", "val"]
    return [
        {**good(kind, n, folder), "y": "ab"[n % 2], "split": splits[n // 2 % 3]}
        for n in range(count)
    ]


def spoilt(row: Row, folder: Path) -> Row:
    """A bad row to learn from, its file written."""
    name = row.get("x")
    if isinstance(name, str) and name in WRITERS:
        WRITERS[name](folder / name)
    return {"y": "a", "split": "train", **row}


def write(folder: Path, rows: Sequence[Row], recipe: dict[str, Any]) -> tuple[str, str]:
    """The paths of a recipe and a table."""
    (folder / "tiny.yaml").write_text(yaml.safe_dump(recipe))
    (folder / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / "tiny.yaml"), str(folder / "table.jsonl")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command; gives exit code, output, errors."""
    return partial(run_plait, monkeypatch, capsys)


@pytest.mark.parametrize(("kind", "bad", "words"), CASES)
def test_a_bad_cell_stops_with_one_line(
    run: Any, tmp_path: Path, kind: str, bad: Row, words: str
) -> None:
    rows = rows_of(kind, tmp_path, 6)
    rows.insert(WRONG, spoilt(bad, tmp_path))
    code, _, err = run("train", *write(tmp_path, rows, a_recipe([kind])), "--out", tmp_path / "m")
    *_, last = err.splitlines()
    assert code == 1
    assert last.startswith(f"plait: row {WRONG + 1}, column '")
    assert words in last
    assert last.endswith(", or continue with --on-bad skip or --on-bad missing")
    assert last.count("--on-bad skip") == 1
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("hint", "in_table", "advice"),
    [
        ("", True, "fix the cell, or continue with --on-bad skip or --on-bad missing"),
        ("look", True, "look, or continue with --on-bad skip or --on-bad missing"),
        ("", False, "fix the file, or leave it out with --on-bad skip"),
        ("look", False, "look, or leave it out with --on-bad skip"),
    ],
)
def test_an_error_gives_one_piece_of_advice(hint: str, in_table: bool, advice: str) -> None:
    with pytest.raises(PlaitError) as caught:
        ErrorPolicy("stop", in_table=in_table).handle(1, "x", BadCell("it is bad", hint=hint))
    assert caught.value.hint == advice


@pytest.mark.parametrize("kind", list(BAD))
def test_bad_cells_are_counted_and_named(run: Any, tmp_path: Path, kind: str) -> None:
    bad = [spoilt(row, tmp_path) for row, _ in BAD[kind] if rows_of(kind, tmp_path, 1)]
    recipe, table = write(tmp_path, [*rows_of(kind, tmp_path), *bad], a_recipe([kind]))
    model, out = tmp_path / "model", tmp_path / "out.csv"
    code, _, err = run("train", recipe, table, "--out", model, "--on-bad", "missing")
    assert code == 0, err
    lines = [line for line in err.splitlines() if line.startswith("bad: ")]
    assert len(lines) == len(bad)
    for number, (_, words) in enumerate(BAD[kind], start=GOOD + 1):
        (line,) = [line for line in lines if line.startswith(f"bad: row {number}, column")]
        assert words in line
    assert plait.load(model).scores["trained"]["left_out"] == len(bad)
    code, text, err = run("predict", model, table, "--out", out, "--on-bad", "skip")
    assert code == 0, err
    bad_inputs = [number for number, row in enumerate(bad) if row["y"] == "a"]
    assert f"{GOOD + len(bad) - len(bad_inputs)} of {GOOD + len(bad)} rows" in text
    csv.field_size_limit(1 << 27)
    with out.open(newline="") as file:
        answers = [row["y"] for row in csv.DictReader(file)]
    csv.field_size_limit(1 << 17)
    assert all(answers[:GOOD])
    assert [n for n, answer in enumerate(answers[GOOD:]) if not answer] == bad_inputs


def train_on(
    folder: Path, rows: Sequence[Row], recipe: dict[str, Any], on_bad: OnBad = "stop"
) -> plait.Model:
    name, table = write(folder, rows, recipe)
    return train(name, table, folder / "model", on_bad=on_bad)


def changed(rows: Sequence[Row], **cells: Any) -> list[Row]:
    return [{**row, **cells} for row in rows]


@pytest.mark.parametrize(
    ("output", "cells", "words"),
    [
        ("category", ["a"], r"outputs.y, column 'y': .* only 'a'; expected at least two different"),
        ("category", [[1], [2]], r"outputs.y, column 'y': the training rows' classes: none"),
        ("category", [None], r"outputs.y, column 'y': all training cells are empty"),
        ("number", ["a", "b"], r"outputs.y, column 'y': the training rows' numbers: none"),
        ("number", [float("nan")], r"outputs.y, column 'y': all training cells are empty"),
        ("number", [3], r"outputs.y, column 'y': .* all are 3; expected at least two different"),
        ("number", [1, 2, float("inf")], r"row 3, column 'y': inf is not a number; expected"),
    ],
)
def test_an_output_that_can_not_be_learned(
    tmp_path: Path, output: str, cells: list[Any], words: str
) -> None:
    rows = rows_of("text", tmp_path)
    rows = [{**row, "y": cells[n % len(cells)]} for n, row in enumerate(rows)]
    with pytest.raises(PlaitError, match=words):
        train_on(tmp_path, rows, a_recipe(["text"], output))


@pytest.mark.parametrize("kind", ["audio", "image", "series", "table", "video"])
def test_an_input_without_any_training_cell(tmp_path: Path, kind: str) -> None:
    rows = changed(rows_of("text", tmp_path), heat=None, day=None, **{kind: None})
    with pytest.raises(PlaitError, match=rf"inputs.{kind}, column .*: all training cells are emp"):
        train_on(tmp_path, rows, a_recipe(["text", kind]))


def test_an_input_without_any_good_training_cell(tmp_path: Path) -> None:
    rows = rows_of("text", tmp_path)
    rows = [{**row, "image": f"gone-{n}.png"} for n, row in enumerate(rows)]
    with pytest.raises(PlaitError, match="no training record has the input 'image'"):
        train_on(tmp_path, rows, a_recipe(["text", "image"]), "missing")
    with pytest.raises(PlaitError, match="no record is left for training: row 1, column 'image'"):
        train_on(tmp_path, rows, a_recipe(["text", "image"]), "skip")


def test_a_class_that_no_training_row_has_counts_as_wrong(tmp_path: Path) -> None:
    rows = rows_of("text", tmp_path)
    (new,) = [n for n, row in enumerate(rows) if row["split"] == "val"][:1]
    rows[new]["y"] = "c"
    model = train_on(tmp_path, rows, a_recipe(["text"]))
    found = model.evaluate(tmp_path / "table.jsonl", split="val")
    assert found.failures == [
        f"row {new + 1}, column 'y': no training row has the class 'c'; expected 'a', 'b'; "
        "it counts as wrong"
    ]
    scores = found.scores["y"]
    assert (scores.records, scores.extras["classes"]) == (4, ["a", "b", "c"])
    assert sum(scores.extras["confusion"][2]) == 1
    some = [{**row, "y": "c"} if row["split"] == "val" else row for row in rows]
    (tmp_path / "more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    with pytest.raises(PlaitError, match=r"doesn't know 4 of the 4 right answers: c; expected 'a'"):
        model.evaluate(tmp_path / "more.jsonl", split="val")
    answers = zip(found.rows, found.predictions["y"], strict=True)
    right = [answer.value == "ab"[row % 2] for row, answer in answers if row != 0]
    assert scores["accuracy"] == sum(right) / 4
    more = a_recipe(["text"])
    more["training"]["start"] = str(tmp_path / "model")
    (tmp_path / "more").mkdir()
    with pytest.raises(PlaitError, match=r"no training row has the class 'c'.*fix the cell"):
        train_on(tmp_path / "more", changed(rows[:6], y="c"), more)


def test_rows_without_a_right_answer_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = rows_of("text", tmp_path)
    for row in rows[:3]:
        row["y"] = "NA"
    train = [row for row in rows if row["split"] == "train"]
    model = train_on(tmp_path, rows, a_recipe(["text"]))
    lost = sum(row["y"] == "NA" for row in train)
    assert model.scores["trained"]["records"] == len(train) - lost
    assert model.states["outputs.y"]["classes"] == ["a", "b"]
    assert f"column 'y': {lost} of {len(train)} rows have no right answer" in caplog.text
    assert "column 'y': cells that count as empty: NA 3" in caplog.text


def test_unknown_classes_of_all_validation_rows_stop_the_training(tmp_path: Path) -> None:
    rows = rows_of("text", tmp_path)
    rows = [{**row, "y": "c" if row["split"] == "val" else row["y"]} for row in rows]
    with pytest.raises(PlaitError, match=r"doesn't know 4 of the 4 right answers: c; expected 'a'"):
        train_on(tmp_path, rows, a_recipe(["text"]))


def test_nothing_to_score(tmp_path: Path) -> None:
    rows = rows_of("text", tmp_path)
    model = train_on(tmp_path, rows, a_recipe(["text"]))
    for cells, words in (
        ({"x": None}, "row 1: no input that could be used"),
        ({"y": 1.5}, "row 1, column 'y': 1.5 is not a class"),
        ({"y": None}, "no row has a right answer"),
    ):
        _, table = write(tmp_path, changed(rows, **cells), a_recipe(["text"]))
        with pytest.raises(PlaitError, match=f"no record can be scored: {words}"):
            model.evaluate(table, on_bad="skip")


def test_skip_keeps_a_record_that_lacks_an_input(tmp_path: Path) -> None:
    """A missing cell is no bad cell."""
    rows = [
        {**row, "heat": n % 3, "day": "2024-01-05"}
        for n, row in enumerate(rows_of("text", tmp_path))
    ]
    rows[0]["x"] = None
    rows[1]["x"] = {"a": 1}
    model = train_on(tmp_path, rows, a_recipe(["text", "table"]), "skip")
    assert model.scores["trained"]["left_out"] == 1
    for policy, kept in (("skip", 11), ("missing", 12)):
        found = model.evaluate(
            tmp_path / "table.jsonl",
            on_bad=policy,  # type: ignore[arg-type]
            include_training=True,
        )
        assert (len(found.rows), len(found.failures)) == (kept, 1)


def test_texts_with_nul_bytes_and_broken_letters(run: Any, tmp_path: Path) -> None:
    rows = rows_of("text", tmp_path)
    rows[1] |= {"x": "a fair\0day \ud800", "y": "b\udc80"}
    recipe, table = write(tmp_path, [*rows, {**rows[1]}], a_recipe(["text"]))
    model, out = tmp_path / "model", tmp_path / "out.json"
    assert run("train", recipe, table, "--out", model)[0] == 0
    assert run("predict", model, table, "--out", out)[0] == 0
    assert json.loads(out.read_text("utf-8"))[1]["x"] == "a fair\0day \ufffd"
    assert "b\ufffd" in plait.load(model).states["outputs.y"]["classes"]
    broken = tmp_path / "broken.csv"
    broken.write_bytes(b"x,y\nabc,a\n\xff\xfe,b\n")
    code, _, err = run("evaluate", model, broken)
    assert code == 1
    assert "broken.csv line 3 is not UTF-8 text (byte 0xff); save the file as UTF-8" in err


def test_a_long_cell_of_a_csv_is_one_bad_cell(tmp_path: Path) -> None:
    model = train_on(tmp_path, rows_of("text", tmp_path), a_recipe(["text"]))
    table = tmp_path / "long.csv"
    table.write_text(f"x,y\n{'word ' * 2_000_000},a\n{'word ' * 100_000},b\n")
    found = model.evaluate(table, on_bad="skip")
    assert found.rows == [1]
    (line,) = found.failures
    assert line.startswith("row 1, column 'x': the text has 10,000,000 characters")
    assert csv.field_size_limit() == 1 << 17  # what it was
