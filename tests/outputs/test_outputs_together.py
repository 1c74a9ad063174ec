"""Several outputs of one input: a text tells a colour, a size and what things are there."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import plait
from plait.config.recipe import check_recipe
from plait.model import Model
from plait.outputs.category import Probabilities
from plait.outputs.number import Interval
from plait.pipeline.engine import build_parts
from plait.pipeline.records import Records
from plait.tasks.predict import PredictSettings, predict_table
from plait.tasks.summary import made_up_batch
from plait.training.loop import Scorer
from plait.training.train import train
from plait.types import Prediction, UsageError

RECIPE: dict[str, Any] = {
    "name": "together",
    "inputs": {
        "text": {
            "modality": "text",
            "representation": {"kind": "bag-of-words", "min_count": 1, "dropout": 0.0, "width": 32},
        },
    },
    "fusion": {"kind": "none", "width": 32},
    "outputs": {
        "colour": {"kind": "category", "settings": {"dropout": 0.0}},
        "size": {"kind": "number", "weight": 2.0, "settings": {"dropout": 0.0}},
        "things": {"kind": "labels", "settings": {"dropout": 0.0, "separator": ";"}},
    },
    "training": {"epochs": 12, "batch": 16, "learning_rate": 0.02, "averaging": 0.9},
}
THINGS = [["cat"], ["cat", "dog"], ["dog"], []]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("together")
    rng, rows = np.random.default_rng(0), []
    for number in range(96):
        colour, size, things = ("red", "blue")[number % 2], number // 2 % 3, THINGS[number % 4]
        rows.append({
            "text": f"{colour} {('small', 'large', 'huge')[size]} {' '.join(things)}",
            "colour": colour, "size": 1000.0 * size + rng.normal(), "things": things,
            "split": ("train", "train", "val")[number // 12 % 3],
        })  # fmt: skip
    (here / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (here / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLAIT_CACHE", str(here / "cache"))
        train(str(here / "recipe.yaml"), here / "table.jsonl", here / "model")
    return here


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return plait.load(folder / "model")


def test_all_outputs_are_learned_and_scored(model: Model, folder: Path) -> None:
    found = model.evaluate(folder / "table.jsonl", split="val")
    assert found.scores["colour"]["accuracy"] >= 0.95
    assert found.scores["size"]["r2"] >= 0.9
    assert found.scores["size"]["coverage"] >= 0.85  # fitted on these very rows
    assert found.scores["things"]["mean_average_precision"] >= 0.9
    card = (folder / "model" / "card.md").read_text()
    for name in RECIPE["outputs"]:
        assert f"\n\n| {name} | score | 95 % interval |\n|---|---|---|\n" in card


def test_the_log_has_the_scores_of_all_outputs(folder: Path) -> None:
    lines = map(json.loads, (folder / "model.run" / "log.jsonl").read_text().splitlines())
    last = [line for line in lines if line["event"] == "validation"][-1]
    assert list(last["metrics"]) == [
        "together", "colour.accuracy", "size.r2", "things.mean_average_precision",
    ]  # fmt: skip
    assert last["metrics"]["size.r2"] == "size R²"
    assert {"colour.log_loss", "size.mae", "things.exact_match"} <= set(last)
    parts = last["colour.accuracy"], last["size.r2"], last["things.mean_average_precision"]
    expected = (parts[0] + 2 * max(0, parts[1]) + parts[2]) / 4
    assert last["together"] == pytest.approx(expected)


def test_an_output_that_learned_nothing_does_not_decide() -> None:
    from plait.data.tables import Table

    recipe = check_recipe(RECIPE)
    cells = {"colour": ["red", "blue"], "size": [1.0, 2.0], "things": [["cat"], []]}
    table = Table(Path("t"), Path(), cells)
    columns = {f"outputs.{n}": n for n in cells}
    scorer = Scorer(recipe, build_parts(recipe), Records({}, {}, 2), table, columns)
    colours = [Prediction(c, 1.0, details=Probabilities({"red": p, "blue": 1 - p}))
               for c, p in (("red", 1.0), ("blue", 0.0))]  # fmt: skip
    things = [Prediction((), 1.0, details=Probabilities({"cat": p})) for p in (0.9, 0.1)]
    sizes = [Prediction(x, 0.0, details=Interval()) for x in (100.0, -100.0)]
    found = scorer.combine({"colour": colours, "size": sizes, "things": things})
    assert found["size.r2"] < -1000
    assert found["together"] == pytest.approx((1 + 2 * 0 + 1) / 4)


def test_answers_gives_all_and_predict_the_first(model: Model) -> None:
    record = {"text": "blue huge cat"}
    (found,) = model.predict_batch([record])
    assert list(found) == ["colour", "size", "things"]
    assert model.predict(record).value == found["colour"].value == "blue"
    assert found["things"].value == ("cat",)
    assert found["size"].value == pytest.approx(2000, abs=400)
    low, high = found["size"].details.interval or (0, 0)
    assert low <= found["size"].value <= high


def test_an_option_goes_to_the_outputs_that_have_it(model: Model) -> None:
    (found,) = model.predict_batch(["blue huge cat"], num=2)
    assert len(found["colour"].alternatives) == 1
    assert len(found["things"].value) == 2
    (found,) = model.predict_batch(["blue huge cat"], threshold=0.0)
    assert len(found["things"].value) == 2
    with pytest.raises(UsageError, match="no decoding option 'beam'; expected one of: num, thr"):
        model.predict("blue huge cat", beam=3)


def test_answers_in_files(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,n\nblue huge cat dog,1\n,2\nred small,3\n")
    for name in ("out.csv", "out.json"):
        settings = PredictSettings({"num": 2}, tmp_path / name)
        predict_table(str(folder / "model"), str(tmp_path / "t.csv"), settings)
    with (tmp_path / "out.csv").open(newline="") as file:
        first, empty, _ = csv.DictReader(file)
    assert list(first) == [
        "row", "text", "colour", "colour_score", "colour_2", "size", "size_low", "size_high",
        "things", "things_score",
    ]  # fmt: skip
    assert first["colour"] == "blue"
    assert first["colour_2"] == "red"
    assert sorted(first["things"].split(";")) == ["cat", "dog"]
    assert float(first["size_low"]) <= float(first["size"]) <= float(first["size_high"])
    assert (first["row"], first["text"]) == ("1", "blue huge cat dog")
    assert empty.pop("row") == "2"
    assert set(empty.values()) == {""}
    told, nothing, _ = json.loads((tmp_path / "out.json").read_text())
    assert told["colour"] == "blue"
    assert "size_score" not in told
    assert told["things_score"] == float(first["things_score"])
    assert told["size"] == float(first["size"])
    assert told["size_interval"] == [float(first["size_low"]), float(first["size_high"])]
    assert sorted(told["things"]) == ["cat", "dog"]
    assert set(told["things_probabilities"]) == {"cat", "dog"}
    assert nothing == {"row": 2, "text": None, "colour": None, "size": None, "things": None}


def test_shares_in_files_are_of_an_output(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text\nblue huge cat dog\n")
    for name in ("out.csv", "out.json"):
        table = str(tmp_path / "t.csv")
        settings = PredictSettings({}, tmp_path / name, shares=True)
        predict_table(str(folder / "model"), table, settings)
    with (tmp_path / "out.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    (told,) = json.loads((tmp_path / "out.json").read_text())
    shares = {output: float(row[f"share_{output}_text"]) for output in ("colour", "size", "things")}
    assert shares == {output: told[f"{output}_shares"]["text"] for output in shares}
    assert len(set(shares.values())) == 3


def test_the_loss_is_the_weighted_sum(model: Model) -> None:
    network = model.network
    batch = made_up_batch(model.parts, network)
    with torch.no_grad():
        fused = network.fuse(batch)
        each = {n: float(network.head(n).loss(fused, t)) for n, t in batch.targets.items()}
        assert float(network(batch)) == pytest.approx(
            each["colour"] + 2 * each["size"] + each["things"], rel=1e-5
        )
