"""Which column is which: named, called so, or guessed among those that nothing else is."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from plait.config.recipe import check_recipe
from plait.data.tables import Table
from plait.pipeline.columns import choose_columns, choose_scored_columns
from plait.pipeline.engine import build_parts
from plait.pipeline.records import fit_parts
from plait.types import UsageError

TEXT = {"modality": "text", "representation": {"kind": "bag-of-words"}}
PHOTO = {"modality": "image", "representation": {"kind": "pixels"}}


def chosen(
    inputs: dict[str, Any], outputs: dict[str, Any], columns: dict[str, list[Any]]
) -> dict[str, Any]:
    fusion = {"kind": "late" if len(inputs) > 1 else "none"}
    recipe = check_recipe({"name": "n", "inputs": inputs, "outputs": outputs, "fusion": fusion})
    return choose_columns(recipe, build_parts(recipe), Table(Path("t.csv"), Path(), columns))


def test_no_column_is_guessed_twice(caplog: pytest.LogCaptureFixture) -> None:
    photos = {f"cam_{side}": [f"{side}/{n}.png" for n in range(4)] for side in "lr"}
    with caplog.at_level(logging.WARNING, "plait"):
        found = chosen(
            {"one": PHOTO, "other": PHOTO}, {"turn": {"kind": "category"}},
            {**photos, "turn": ["left", "right", "left", "right"]},
        )  # fmt: skip
    assert {found["inputs.one"], found["inputs.other"]} == {"cam_l", "cam_r"}
    assert found["outputs.turn"] == "turn"
    assert "choose another with --column inputs.one=NAME" in caplog.text


def test_an_input_is_not_guessed_to_be_the_answer() -> None:
    texts = {
        "question": ["what is there on the table", "how many chairs are in the room"],
        "caption": ["a cup stands on the table", "there are two chairs in the room"],
    }
    found = chosen({"source": TEXT}, {"goal": {"kind": "text"}}, texts)
    assert found == {"inputs.source": "question", "outputs.goal": "caption"}
    assert list(found) == ["inputs.source", "outputs.goal"]


def test_where_none_is_left_that_is_said() -> None:
    with pytest.raises(
        UsageError, match=r"no column of t\.csv is called 'other' or holds image data"
    ):
        chosen(
            {"one": PHOTO, "other": PHOTO}, {"turn": {"kind": "category"}},
            {"file": ["0.png", "1.png"], "turn": ["left", "right"]},
        )  # fmt: skip


def test_predictions_have_the_answer_under_the_output_s_name() -> None:
    recipe = check_recipe({
        "name": "n", "inputs": {"text": {**TEXT, "column": "words"}}, "fusion": {"kind": "none"},
        "outputs": {"mood": {"kind": "category", "column": "label"}},
    })  # fmt: skip
    parts = build_parts(recipe)

    def scored(*names: str) -> dict[str, Any]:
        table = Table(Path("p.csv"), Path(), {name: ["a", "b"] for name in names})
        return choose_scored_columns(recipe, parts, table, {})

    assert scored("words", "label", "mood")["outputs.mood"] == "label"
    assert scored("row", "words", "mood")["outputs.mood"] == "mood"
    with pytest.raises(UsageError, match=r"has no column 'label' for outputs.mood"):
        scored("words", "other")


def test_one_column_may_be_named_twice() -> None:
    found = chosen(
        {"words": {**TEXT, "column": "text"}, "letters": {**TEXT, "column": "text"}},
        {"mood": {"kind": "category"}}, {"text": ["good", "bad"], "mood": ["up", "down"]},
    )  # fmt: skip
    assert found["inputs.words"] == found["inputs.letters"] == "text"


def test_two_parts_may_learn_one_vocabulary() -> None:
    settings = {"unit": "subwords", "lower": False, "min_count": 1, "vocabulary": 300}
    source = {
        "modality": "text", "column": "en", "fit_with": "outputs.goal",
        "representation": {"kind": "word-sequence", **settings},
    }  # fmt: skip
    goal = {"kind": "text", "column": "de", "fit_with": "inputs.source", "settings": settings}
    raw = {"name": "n", "inputs": {"source": source}, "fusion": {"kind": "none"}}
    recipe = check_recipe({**raw, "outputs": {"goal": goal}})
    columns = {"en": ["a dog runs", "two dogs"], "de": ["ein Hund rennt", "zwei Hunde"]}
    table = Table(Path("t.csv"), Path(), columns)
    chosen = {"inputs.source": "en", "outputs.goal": "de"}
    states = fit_parts(recipe, build_parts(recipe), table, chosen).states
    assert states["inputs.source"] == states["outputs.goal"]
    apart = check_recipe({**raw, "outputs": {"goal": {**goal, "fit_with": None}}})
    alone = fit_parts(apart, build_parts(apart), table, chosen).states
    assert alone["inputs.source"] == states["inputs.source"] != alone["outputs.goal"]
    with pytest.raises(
        UsageError, match=r"fit_with: got 'inputs\.sorce'; expected one of: inputs\.source"
    ):
        check_recipe({**raw, "outputs": {"goal": {**goal, "fit_with": "inputs.sorce"}}})
