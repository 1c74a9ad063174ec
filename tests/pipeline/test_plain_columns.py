"""Plain columns as an input: which are taken, what is learned, what is missing."""

from __future__ import annotations

import csv
import json
import logging
import random
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

import plait
from plait.cli import main as cli
from plait.config.recipe import Recipe, check_recipe
from plait.data.tables import Table
from plait.data.values import is_missing
from plait.model import Model
from plait.pipeline.columns import choose_present_columns
from plait.pipeline.engine import build_parts
from plait.pipeline.records import choose_columns
from plait.types import BadCell, UsageError

NAMES = ["heat", "wind", "place", "day"]
RECIPE: dict[str, Any] = {
    "name": "weather",
    "inputs": {
        "plain": {
            "modality": "table",
            "representation": {"kind": "columns", "width": 32, "dropout": 0.0},
        }
    },
    "fusion": {"kind": "none", "width": 32},
    "outputs": {"answer": {"kind": "category"}},
    "training": {"epochs": 8, "validate_every": 8, "batch": 16, "learning_rate": 0.01,
                 "averaging": 0.9, "token_dropout": 0.1},
}  # fmt: skip


def weather(number: int) -> dict[str, Any]:
    """It is nice where it is warm by the sea, or cold in the hills; in summer alone."""
    rng = random.Random(number)
    day = date(2023, 1, 1) + timedelta(days=rng.randrange(730))
    heat, place = rng.choice([-1, 1]) * rng.uniform(3, 10), rng.choice(["sea", "hills"])
    summer, nice = 4 <= day.month <= 9, (heat > 0) == (place == "sea")
    return {
        "heat": round(20 + heat, 1), "wind": rng.randrange(9), "place": place,
        "day": day.isoformat(), "answer": "nice" if summer and nice else "not nice",
    }  # fmt: skip


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table, a recipe, and a model trained from them by the command."""
    here = tmp_path_factory.mktemp("plain")
    rows = [{**weather(n), "split": "val" if n % 4 == 0 else "train"} for n in range(240)]
    rows[1]["wind"] = rows[2]["day"] = rows[4]["place"] = ""
    write(here / "table.csv", rows)
    (here / "weather.yaml").write_text(yaml.safe_dump(RECIPE))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLAIT_CACHE", str(here / "cache"))
        patch.chdir(here)
        run(patch, "train", "weather.yaml", "table.csv", "--out", "model")
    return here


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return plait.load(folder / "model")


def run(patch: pytest.MonkeyPatch, *args: str, code: int = 0) -> None:
    patch.setattr(sys, "argv", ["plait", *args])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == code


def test_it_learns_what_no_column_tells_alone(model: Model, folder: Path) -> None:
    found = model.evaluate(folder / "table.csv", split="val")
    assert found.scores["answer"]["accuracy"] >= 0.85
    assert found.to_json()["columns"]["inputs.plain"] == NAMES
    assert found.failures == []


def test_the_columns_taken_are_kept_in_the_package(model: Model) -> None:
    assert model.recipe.inputs["plain"].column == NAMES
    state = model.states["inputs.plain"]
    assert [(c["name"], c["kind"]) for c in state["columns"]] == [
        ("heat", "number"), ("wind", "number"), ("place", "category"), ("day", "date"),
    ]  # fmt: skip


def test_columns_that_are_missing(model: Model) -> None:
    whole = {"heat": 28, "wind": 3, "place": "sea", "day": "2023-07-01"}
    assert model.predict({"plain": whole}).value == "nice"
    assert model.predict({"plain": {**whole, "day": date(2023, 1, 9)}}).value == "not nice"
    empty: list[Any] = [
        None,
        {},
        {"heat": None, "place": ""},
        {"heat": float("nan")},
        {"place": " "},
    ]
    for cell in empty:
        with pytest.raises(UsageError, match="the record has no input"):
            model.predict({"plain": cell})
    assert model.predict({"plain": {"day": "2023-01-09"}}).value == "not nice"
    with pytest.raises(BadCell, match="'hot' is not a number"):
        model.predict({"plain": {**whole, "heat": "hot"}})
    with pytest.raises(BadCell, match=r"no column 'weind'.*did you mean 'wind'"):
        model.predict({"plain": {"weind": 3}})


def test_prediction_from_a_table_that_lacks_columns(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    rows = [{"day": weather(n)["day"], "place": "", "other": 7} for n in range(3)]
    table, out = write(tmp_path / "part.csv", rows), tmp_path / "out.json"
    command = ["predict", str(folder / "model"), str(table), "--out", str(out)]
    run(monkeypatch, *command)
    assert "part.csv has no column heat, wind, whose values count as missing" in caplog.text
    answers = json.loads(out.read_text())
    assert [row["row"] for row in answers] == [1, 2, 3]
    assert "place, day" not in answers[0]
    assert all(row["answer"] in ("nice", "not nice") for row in answers)
    run(monkeypatch, *command, "--column", "plain=day,wind", code=2)
    assert "no column 'wind' for inputs.plain" in capsys.readouterr().err
    write(table, [{"other": 7}])
    run(monkeypatch, *command, code=2)
    assert "expected heat, wind, place, day (table)" in capsys.readouterr().err


def test_bad_values_are_named_and_met(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [weather(n) for n in range(3)]
    rows[1]["day"], rows[2]["heat"] = "soon", "inf"
    out = tmp_path / "out.json"
    command = ["predict", str(folder / "model"), str(write(tmp_path / "bad.csv", rows))]
    run(monkeypatch, *command, code=1)
    line = capsys.readouterr().err.strip()
    assert "row 2, column 'heat, wind, place, day': column 'day': 'soon' is not a date;" in line
    assert "\n" not in line
    run(monkeypatch, *command, "--out", str(out), "--on-bad", "skip")
    assert [bool(row["answer"]) for row in json.loads(out.read_text())] == [True, False, False]
    assert "column 'heat': 'inf' is infinite" in capsys.readouterr().err


# --- which columns are taken ---


def recipe(column: Any = None, name: str = "car", **more: Any) -> Recipe:
    plain = {"modality": "table", "column": column, "representation": {"kind": "columns"}}
    inputs = {name: plain, "text": {"modality": "text", "representation": {"kind": "bag-of-words"}}}
    found = {"name": "r", "inputs": inputs, "fusion": {"kind": "early"}, **more}
    return check_recipe(found | {"outputs": {"answer": {"kind": "category"}}})


TABLE = Table(
    Path("t.csv"), Path(),
    {"text": ["a b", "b c"], "speed": [1, 2], "a,b": [1, 2], "a": [3, 4], "b": [5, 6],
     "who": ["x", "x"], "answer": ["x", "y"], "split": ["train", "val"]},
)  # fmt: skip


def taken(recipe: Recipe, table: Table = TABLE) -> Any:
    return choose_columns(recipe, build_parts(recipe), table)["inputs.car"]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (["speed", "a"], ["speed", "a"]), ("speed", ["speed"]), ("speed, a", ["speed", "a"]),
        ("a,b", ["a,b"]), ("b,a", ["b", "a"]), (["a,b"], ["a,b"]),
        ("speed, a,b", ["speed", "a,b"]), ("a,b,a", ["a,b", "a"]), ("b, a,b ,a", ["b", "a,b", "a"]),
    ],
)  # fmt: skip
def test_columns_that_are_named(column: Any, expected: list[str]) -> None:
    assert taken(recipe(column)) == expected
    assert taken(recipe().with_columns({"car": column})) == expected


def test_columns_that_are_guessed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "plait"):
        assert taken(recipe()) == ["speed", "a,b", "a", "b", "who"]
    assert "using the columns speed, a,b, a, b, who for inputs.car" in caplog.text
    assert "who" not in taken(recipe(data={"group": "who"}))
    named = recipe(name="speed")
    assert choose_columns(named, build_parts(named), TABLE)["inputs.speed"] == ["speed"]
    bare = Table(Path("t.csv"), Path(), {name: TABLE.columns[name] for name in ("text", "answer")})
    with pytest.raises(
        UsageError, match=r"no column of t\.csv is called 'car' or holds table data"
    ):
        taken(recipe(), bare)


def test_columns_that_can_t_be_taken() -> None:
    with pytest.raises(UsageError, match=r"no column 'c' for inputs\.car"):
        taken(recipe("a,c"))
    with pytest.raises(UsageError, match=r"inputs\.text can't read several columns: a, b"):
        taken(recipe().with_columns({"text": ["a", "b"]}))
    with pytest.raises(UsageError, match="answer can't read several columns"):
        recipe().with_columns({"answer": ["a", "b"]})
    for wrong in (5, [], ["a", 5]):
        with pytest.raises(
            UsageError, match=r"an error: inputs\.car\.column: got .*a list of names"
        ):
            recipe(wrong)


def test_in_prediction_those_that_are_there_are_taken(caplog: pytest.LogCaptureFixture) -> None:
    wanted = recipe(["a", "speed"])
    found = choose_present_columns(wanted, build_parts(wanted), TABLE, {})
    assert found == {"car": ["a", "speed"], "text": "text"}
    part = Table(Path("t.csv"), Path(), {"text": ["a b"], "speed": [1]})
    found = choose_present_columns(wanted, build_parts(wanted), part, {})
    assert found == {"car": ["speed"], "text": "text"}
    assert "t.csv has no column a, whose values count as missing" in caplog.text
    none = Table(Path("t.csv"), Path(), {"text": ["a b"]})
    found = choose_present_columns(wanted, build_parts(wanted), none, {})
    assert found == {"text": "text"}


@pytest.mark.parametrize(
    ("cell", "missing"),
    [
        ({}, True), ({"a": None, "b": ""}, True), ({"a": float("nan")}, True),
        ({"a": None, "b": 0}, False), ({"a": False}, False), (float("nan"), True), (0.0, False),
    ],
)  # fmt: skip
def test_a_record_without_any_value_lacks_the_input(cell: Any, missing: bool) -> None:
    assert is_missing(cell) == missing
