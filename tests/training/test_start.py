"""`training.start`: what is remembered of the models to start from, and which ones fit a recipe."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from both import RECIPE

import plait
from plait.config.recipe import check_recipe

WORDS: dict[str, Any] = {
    "name": "words",
    "inputs": {"words": RECIPE["inputs"]["words"]},
    "outputs": {"answer": {"kind": "category"}},
    "training": {"epochs": 1, "batch": 8, "weights": "float32"},
}


def write(path: Path, numbers: Sequence[int], validating: int) -> Path:
    """A table of a text for each number; the last ones are for validation."""
    first = len(numbers) - validating
    rows = [
        {"words": f"{('here', 'there')[n % 2]} {n}", "answer": n % 2,
         "split": "train" if at < first else "val"}
        for at, n in enumerate(numbers)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def trained(table: Path, name: str, *start: str, **changes: Any) -> plait.Model:
    training = {**WORDS["training"], "start": [str(table.parent / each) for each in start]}
    training |= changes.pop("training", {})
    recipe = check_recipe({**WORDS, **changes, "training": training})
    return plait.train(recipe, table, table.parent / name)


def test_validation_records_that_a_start_model_learned_from_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained(write(tmp_path / "first.jsonl", range(12), 4), "first")
    with caplog.at_level(logging.WARNING, "plait"):
        trained(write(tmp_path / "other.jsonl", range(20, 32), 4), "other", "first")
        assert "these models have learned" not in caplog.text
        # It validates on 5 to 10, of which the first has learned from 5 to 7.
        second = write(tmp_path / "second.jsonl", [*range(20, 28), *range(5, 11)], 6)
        trained(second, "second", "first")
    said = "training.start: these models have learned from 3 of the 6 validation records"
    assert said in caplog.text


def test_a_refit_has_learned_from_no_record_that_only_calibrates(tmp_path: Path) -> None:
    """Nor from those that a start model was chosen by."""
    first = trained(write(tmp_path / "first.jsonl", range(12), 4), "first")
    source = write(tmp_path / "more.jsonl", range(20, 26), 2)
    data = {"sources": {"more": {"table": str(source)}}}
    table = write(tmp_path / "table.jsonl", range(40, 52), 4)
    apart = trained(table, "apart", "first", data=data)
    model = trained(table, "model", "first", data=data, training={"refit": True})
    assert [len(apart.memory.training), len(apart.memory.validation)] == [8 + 8 + 4, 4 + 4 + 2]
    learned = model.memory.training - apart.memory.training
    assert len(learned) == 4  # the table's own, for validation
    assert learned < apart.memory.validation
    assert model.memory.validation == apart.memory.validation - learned
    assert model.memory.validation > first.memory.validation
    assert model.scores["trained"]["refit"] == 8 + 4 + 4


def test_a_part_that_the_start_model_lacks_is_named(tmp_path: Path) -> None:
    table = write(tmp_path / "table.jsonl", range(12), 4)
    trained(table, "first")
    outputs = {"place": {"kind": "category", "column": "answer"}}
    with pytest.raises(plait.UsageError) as error:
        trained(table, "renamed", "first", outputs=outputs)
    assert str(error.value).startswith(
        f"training.start: {tmp_path / 'first'} has no outputs.place, and the recipe has no "
        "outputs.answer; expected a recipe with the inputs and outputs of "
    )
    both = {**WORDS["outputs"], **outputs}
    with pytest.raises(plait.UsageError, match=r"first has no outputs\.place; expected"):
        trained(table, "more", "first", outputs=both)


def test_settings_that_need_what_the_start_model_has_not_learned_are_named(tmp_path: Path) -> None:
    table = write(tmp_path / "table.jsonl", range(12), 4)
    settings = {"min_count": 1, "decoder": {"kind": "gru-attention"}}
    said: dict[str, Any] = {"kind": "text", "column": "words", "settings": settings}
    trained(table, "first", outputs={"said": said})
    more = {**said, "settings": {**settings, "detected_words": 4}}
    with pytest.raises(plait.UsageError) as error:
        trained(table, "more", "first", outputs={"said": more})
    first = tmp_path / "first"
    wanted = f"its settings need what {first} has not learned; expected the settings of {first}"
    assert wanted in str(error.value)
    assert "which differ in outputs.said.settings.detected_words; train with" in str(error.value)
    assert "shares" not in str(error.value)
