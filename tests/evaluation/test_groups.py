"""Scores of groups of rows: `Model.evaluate(by=...)` and `plait evaluate --by`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import plait
from plait.cli import main as cli
from plait.cli.show import show_scores
from plait.config.recipe import check_recipe
from plait.evaluation.evaluate import score_groups
from plait.outputs.scores import Scorer, with_intervals
from plait.types import UsageError


@pytest.fixture
def table(squares: Path) -> Path:
    """The squares with their colour, their number and a column that differs between captions."""
    rows = [json.loads(line) for line in squares.read_text().splitlines()]
    lines = []
    for number, row in enumerate(rows):
        for place, caption in enumerate(row["captions"]):
            colour = caption.split()[1 if place == 0 else 3]
            colour = None if number == 48 else colour  # the first of the validation rows, red
            lines.append({"image": row["image"], "split": row["split"], "caption": caption,
                          "colour": colour, "number": number, "speaker": place})  # fmt: skip
    path = squares.with_name("groups.jsonl")
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_group_is_scored_as_its_records_are() -> None:
    right = np.array([1.0, 1.0, 0.0, 1.0, 1.0])

    def among(right: np.ndarray) -> Scorer:
        return lambda rows: {"accuracy": float(right[rows].mean())}

    found = score_groups({"answer": among(right)}, ["why", "how", "why", "why", None])
    assert [(g.value, g.records) for g in found] == [("why", 3), (None, 1), ("how", 1)]
    first = found[0]
    assert first.scores["answer"] == {"accuracy": pytest.approx(2 / 3)}
    _, intervals = with_intervals(among(right[[0, 2, 3]]), 3)
    assert first.intervals["answer"] == intervals
    assert first.to_json() == {
        "value": "why",
        "records": 3,
        "scores": {"answer": {"accuracy": pytest.approx(2 / 3),
                              "intervals": {"accuracy": list(intervals["accuracy"])}}},
    }  # fmt: skip


def test_values_of_any_kind_are_told_as_plain_json() -> None:
    def score(rows: np.ndarray) -> dict[str, float]:
        return {"size": float(len(rows))}

    cells = [1, ["a", "b"], "", 2.5, ["a", "b"], b"x"]
    found = score_groups({"any": score}, cells)
    assert [group.value for group in found] == ["['a', 'b']", 1, 2.5, None, "b'x'"]
    json.dumps([group.to_json() for group in found])


def test_numbers_are_in_their_order_and_one_record_has_no_correlation() -> None:
    def score(rows: np.ndarray) -> dict[str, float]:
        return {"mae": 0.5, "r2": 0.0}

    found = score_groups({"y": score}, [10, 9, 100, 9], {"y": ("r2",)})
    assert [group.value for group in found] == [9, 10, 100]
    assert [list(group.scores["y"]) for group in found] == [["mae", "r2"], ["mae"], ["mae"]]
    assert list(found[1].intervals["y"]) == ["mae"]


def test_groups_of_numbers_are_shown_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    raw = {"modality": "text", "representation": {"kind": "bag-of-words"}}
    recipe = check_recipe({"name": "n", "inputs": {"x": raw}, "outputs": {"y": {"kind": "number"}}})
    whole = {"mae": 0.5, "r2": 0.25}
    groups = [
        {"value": 10, "records": 1, "scores": {"y": {"mae": 0.5}}},
        {"value": 100, "records": 3, "scores": {"y": whole}},
        {"value": 9, "records": 2, "scores": {"y": whole}},
    ]
    show_scores(recipe, {"records": 6, "scores": {"y": whole}, "by": "age", "groups": groups,
                         "bad": []}, None)  # fmt: skip
    table = capsys.readouterr().out.partition("by age")[2]
    rows = [line.split("│")[1:-1] for line in table.splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert cells == [
        ["9", "2", "0.500", "0.250"], ["10", "1", "0.500", "-"], ["100", "3", "0.500", "0.250"]
    ]  # fmt: skip


def test_evaluate_by_a_column(trained: Path, table: Path) -> None:
    model = plait.load(trained)
    found = model.evaluate(table, split="val", by="colour")
    assert {g.value: g.records for g in found.groups} == {
        "blue": 4, "green": 4, "red": 3, None: 1
    }  # fmt: skip
    assert [g.records for g in found.groups] == [4, 4, 3, 1]
    # Every photo's CIDEr-D is the same whether it is scored in a group or among all.
    sums = sum(g.records * g.scores["caption"]["cider"] for g in found.groups)
    assert sums / 12 == pytest.approx(found.scores["caption"]["cider"])
    low, high = found.groups[0].intervals["caption"]["bleu4"]
    assert low <= found.groups[0].scores["caption"]["bleu4"] <= high
    told = found.to_json()
    assert told["by"] == "colour"
    assert [group["records"] for group in told["groups"]] == [4, 4, 3, 1]
    assert "groups" not in model.evaluate(table, split="val").to_json()


def test_a_column_that_does_not_tell_of_records_is_refused(trained: Path, table: Path) -> None:
    model = plait.load(trained)
    with pytest.raises(UsageError, match=r"no column 'color'.*colour.*did you mean 'colour'"):
        model.evaluate(table, by="color")
    with pytest.raises(UsageError, match="differ in column 'speaker'"):
        model.evaluate(table, by="speaker")


@pytest.mark.slow
def test_the_command(
    trained: Path, table: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*args: object) -> str:
        monkeypatch.setattr(sys, "argv", ["plait", "evaluate", *map(str, args)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 0
        return capsys.readouterr().out

    monkeypatch.setattr("plait.cli.show.console.width", 200, raising=False)
    told = json.loads(run(trained, table, "--split", "val", "--by", "colour", "--json"))
    assert [group["value"] for group in told["groups"]] == ["blue", "green", "red", None]
    out = run(trained, table, "--split", "val", "--by", "colour")
    assert "caption, by colour" in out
    assert "(empty)" in out
    assert out.index("blue") < out.index("green") < out.index("(empty)")
    assert "smaller groups" not in out
    out = run(trained, table, "--by", "number", "--include-training")
    assert "and 30 smaller groups, 30 records" in out
