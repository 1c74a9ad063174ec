"""`training.refit`: once the best epoch is known, the validation rows are learned from too."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from samples import COLOURS, PLACES, draw

from plait.config.recipe import check_recipe
from plait.model import Model
from plait.runtime.engines import load
from plait.training.train import train
from plait.types import UsageError

pytestmark = pytest.mark.slow

RECIPE: dict[str, Any] = {
    "name": "refitted",
    "inputs": {
        "image": {
            "modality": "image",
            "representation": {"kind": "pixels", "size": 16, "patch": 8, "width": 16},
        }
    },
    "fusion": {"kind": "none"},
    "outputs": {"colour": {"kind": "category"}},
    "training": {"epochs": 4, "validate_every": 4, "batch": 8, "weights": "float32"},
}
LEARN, CHOOSE = 24, 12


def _table(folder: Path, both: bool) -> Path:
    """With ``both`` the other one's validation rows are training rows, and new ones validate."""
    rows = []
    learned = LEARN + CHOOSE if both else LEARN
    for number in range(learned + CHOOSE):
        colour = list(COLOURS)[number % 3]
        draw(colour, list(PLACES)[number % 4], number).save(folder / f"{number}.png")
        if number % 7 == 0:  # wrong: nobody can be too sure
            colour = list(COLOURS)[(number + 1) % 3]
        rows.append(f"{number}.png,{colour},{'train' if number < learned else 'val'}")
    path = folder / ("both.csv" if both else "apart.csv")
    path.write_text("\n".join(["image,colour,split", *rows]) + "\n")
    return path


def _train(table: Path, name: str, refit: bool, **options: Any) -> Model:
    training = {**RECIPE["training"], "refit": refit}
    recipe = table.parent / f"{name}.yaml"
    recipe.write_text(yaml.safe_dump({**RECIPE, "training": training}))
    return train(str(recipe), table, table.parent / name, **options)


def _weights(model: Model) -> dict[str, torch.Tensor]:
    """What was learned by gradient."""
    return {name: value.detach() for name, value in model.network.named_parameters()}


def test_it_learns_from_all_rows_and_scores_from_before(tmp_path: Path) -> None:
    apart = _table(tmp_path, both=False)
    first = _train(apart, "first", refit=False)
    again = _train(apart, "again", refit=True)
    wanted = _train(_table(tmp_path, both=True), "both", refit=False)
    for name, value in _weights(wanted).items():
        torch.testing.assert_close(_weights(again)[name], value, rtol=0, atol=0)
    assert any(not torch.equal(v, _weights(again)[n]) for n, v in _weights(first).items())
    assert again.scores["validation"] == first.scores["validation"]
    assert again.scores["trained"]["records"] == LEARN
    assert again.scores["trained"]["refit"] == LEARN + CHOOSE
    head = {m: m.network.head("colour").state_dict()["temperature"] for m in (first, again)}
    assert head[first] == head[again] != wanted.network.head("colour").state_dict()["temperature"]
    card = (tmp_path / "again" / "card.md").read_text()
    assert f"({LEARN + CHOOSE} records)" in card
    assert f"On {CHOOSE} validation records, free-running, before it was trained" in card
    kept = load(tmp_path / "again")
    assert all(torch.equal(v, _weights(again)[n]) for n, v in _weights(kept).items())


def test_it_learns_as_long_as_the_best(tmp_path: Path) -> None:
    def stopped_at(line: Mapping[str, Any]) -> None:
        if line["event"] == "refit":
            told.append(line)

    told: list[Mapping[str, Any]] = []
    table = _table(tmp_path, both=False)
    overrides = ["training.validate_every=1", "training.learning_rate=0.03"]
    model = _train(table, "short", refit=True, overrides=overrides, report=stopped_at)
    best = model.scores["trained"]["best"]
    assert [line["epochs"] for line in told] == [int(best.removeprefix("likelihood epoch "))]
    assert told[0]["records"] == LEARN + CHOOSE


def test_a_killed_one_is_taken_up(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def kill(line: Mapping[str, Any]) -> None:
        seen.append(line["event"])
        if "refit" in seen and line["event"] == "step" and line["epoch"] == 2:
            raise Killed

    seen: list[str] = []
    table = _table(tmp_path, both=False)
    with pytest.raises(Killed):
        _train(table, "killed", refit=True, report=kill)
    assert not (tmp_path / "killed").exists()
    told: list[Mapping[str, Any]] = []
    model = _train(table, "killed", refit=True, report=told.append)
    resumed = [line for line in told if line["event"] == "resumed"]
    assert [(line["refit"], line["finished"]) for line in resumed] == [(True, False)]
    told.clear()
    _train(table, "killed", refit=True, report=told.append)
    assert [(line["event"], line.get("finished")) for line in told] == [("resumed", True)]
    whole = _train(table, "whole", refit=True)
    for name, value in _weights(whole).items():
        torch.testing.assert_close(_weights(model)[name], value, rtol=0, atol=0)


def test_a_score_on_rows_it_learned_from_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = _table(tmp_path, both=False)
    model = _train(table, "model", refit=True)
    with caplog.at_level(logging.WARNING, "plait"):
        model.evaluate(table, split="val")
    assert "learned from the validation rows too" in caplog.text


def test_a_class_that_only_validation_rows_have_is_left_out(tmp_path: Path) -> None:
    table = _table(tmp_path, both=False)
    lines = table.read_text().splitlines()
    assert lines[-1].endswith(",val")
    name, _, split = lines[-1].split(",")
    table.write_text("\n".join([*lines[:-1], f"{name},purple,{split}"]) + "\n")
    model = _train(table, "model", refit=True)
    assert model.scores["trained"]["refit"] == LEARN + CHOOSE - 1
    assert model.scores["validation"]["records"] == CHOOSE


def test_not_with_a_second_stage() -> None:
    training = {"refit": True, "reinforce": {"epochs": 1}}
    with pytest.raises(
        UsageError, match=r"training\.refit: can't be combined with training\.reinforce"
    ):
        check_recipe({**RECIPE, "training": training})
