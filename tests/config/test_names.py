"""Inputs and outputs may be called as their users like."""

from __future__ import annotations

from pathlib import Path

import pytest
from both import RECIPE, write_table
from torch import nn

from plait.config.recipe import check_recipe
from plait.nn.blocks import NamedModules
from plait.runtime.engines import load
from plait.training.train import train
from plait.types import UsageError


def test_any_name_finds_its_module() -> None:
    names = ["type", "values", "training", "items", "photo"]
    made = {name: nn.Linear(1, 1) for name in names}
    modules = NamedModules(made)
    assert list(modules) == list(modules.keys()) == names
    assert dict(modules.items()) == made
    assert all(modules[name] is module for name, module in made.items())
    assert "type" in modules
    assert "other" not in modules
    assert {key.split(".")[0] for key in modules.state_dict()} >= {"photo", "=type"}


@pytest.mark.parametrize("fusion", [{"kind": "early", "how": "bottleneck"}, {"kind": "late"}])
def test_names_that_torch_has_itself(tmp_path: Path, fusion: dict[str, str]) -> None:
    table = write_table(tmp_path, ("train", "val"))
    text = table.read_text().replace('"photo"', '"values"').replace('"words"', '"train"')
    table.write_text(text.replace('"answer"', '"type"'))
    inputs = RECIPE["inputs"]
    recipe = check_recipe(
        {
            "name": "named",
            "inputs": {"values": inputs["photo"], "train": inputs["words"]},
            "fusion": {**fusion, "width": 16},
            "outputs": {"type": {"kind": "category"}},
            "training": {"epochs": 1, "batch": 16},
        }
    )
    model = train(recipe, table, tmp_path / "model")
    again = load(tmp_path / "model").evaluate(table, split="val", subsets=True)
    assert (
        again.scores["type"].to_json()
        == model.evaluate(table, split="val").scores["type"].to_json()
    )
    assert set(again.subsets) == {("values",), ("train",), ("values", "train")}


def test_a_name_with_a_dot_is_refused() -> None:
    renamed = {"a.b": RECIPE["inputs"]["words"]}
    with pytest.raises(UsageError, match=r"inputs\.a\.b: a name must not be empty or contain dots"):
        check_recipe({**RECIPE, "inputs": renamed, "fusion": {"kind": "none"}})
