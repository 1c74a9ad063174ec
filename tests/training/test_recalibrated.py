"""A trained model can be calibrated later: training starts from it, for no epochs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import plait

SMALL = [
    "outputs.caption.settings.pointer=false",
    "outputs.caption.settings.calibrate=false",
    "inputs.image.representation={kind: pixels, size: 16, patch: 8, width: 8}",
    "fusion.width=16",
    "outputs.caption.settings.decoder={kind: transformer, layers: 1, memory_layers: 0, heads: 2}",
    "outputs.caption.settings.detected_words=0",
    "outputs.caption.settings.min_count=1",
    "training={learning_rate: 0.01, batch: 8, validate_every: 5, averaging: 0}",
]
KNOWN = ["a cat sits", "a dog runs"]


def test_a_model_is_calibrated_after_its_training(tmp_path: Path) -> None:
    """Half of the photos for validation show what no training photo does, so it is often wrong."""
    rows = []
    for number in range(100):
        shade, validating = number % 2, number >= 40
        picture = np.full((16, 16, 3), 60 + 120 * shade, np.uint8)
        picture[0, 0] = number  # no two are the same file
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
        text = "a bird sings" if validating and number % 4 < 2 else KNOWN[shade]
        split = "val" if validating else "train"
        rows.append({"image": f"{number}.png", "captions": [text], "split": split})
    table = tmp_path / "table.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    first = plait.train(
        "captioning", table, tmp_path / "first", overrides=[*SMALL, "training.epochs=25"]
    )
    assert first.parts.outputs["caption"].calibrated(first.predict(tmp_path / "0.png")) is None
    again = plait.train(
        "captioning",
        table,
        tmp_path / "again",
        overrides=[
            *SMALL,
            f"training.start={tmp_path / 'first'}",
            "training.epochs=0",
            "outputs.caption.settings.calibrate=true",
        ],
    )
    answer = again.predict(tmp_path / "0.png")
    assert answer.value == first.predict(tmp_path / "0.png").value
    sure = again.parts.outputs["caption"].calibrated(answer)
    assert sure is not None
    assert 0.3 < sure < 0.7
    assert 0.3 < again.scores["validation"]["scores"]["caption"]["right"] < 0.7
    loaded = plait.load(tmp_path / "again")
    assert loaded.parts.outputs["caption"].calibrated(loaded.predict(tmp_path / "0.png")) == sure


def test_the_last_stage_alone(tmp_path: Path) -> None:
    rows = []
    for number in range(12):
        picture = np.full((16, 16, 3), 60 + 120 * (number % 2), np.uint8)
        picture[0, 0] = number
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
        split = "val" if number >= 8 else "train"
        rows.append({"image": f"{number}.png", "captions": [KNOWN[number % 2]], "split": split})
    table = tmp_path / "table.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    # The first is calibrated, the last is not.
    sure = "outputs.caption.settings.calibrate=true"
    first = [*SMALL, "training.epochs=1", sure]
    plait.train("captioning", table, tmp_path / "first", overrides=first)
    start = [f"training.start={tmp_path / 'first'}", "training.epochs=0"]
    overrides = [*SMALL, *start, "training.reinforce.epochs=1"]
    lines: list[Any] = []
    plait.train("captioning", table, tmp_path / "last", overrides=overrides, report=lines.append)
    assert {line["stage"] for line in lines if line["event"] == "step"} == {"reinforce"}


def test_a_training_starts_from_the_mean_of_models(tmp_path: Path) -> None:
    def table(name: str, shades: tuple[int, int]) -> Path:
        rows = []
        for number in range(12):
            picture = np.full((16, 16, 3), shades[number % 2], np.uint8)
            picture[0, 0] = number
            cv2.imwrite(str(tmp_path / f"{name}{number}.png"), picture)
            split = "val" if number >= 8 else "train"
            text = KNOWN[number % 2]
            rows.append({"image": f"{name}{number}.png", "captions": [text], "split": split})
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    def trained(
        name: str, table: Path, *start: str, words: int = 1, epochs: int = 0
    ) -> plait.Model:
        overrides = [
            *SMALL,
            f"outputs.caption.settings.min_count={words}",
            f"training.start=[{', '.join(str(tmp_path / each) for each in start)}]",
            f"training.epochs={epochs}",
            "training.weights=float32",
        ]
        return plait.train("captioning", table, tmp_path / name, overrides=overrides)

    bright, dark = table("bright", (160, 240)), table("dark", (20, 90))
    first = trained("first", bright, epochs=1)
    second = trained("second", dark, "first", epochs=2)
    mean = trained("mean", bright, "first", "second")
    one, two, both = (dict(model.network.named_parameters()) for model in (first, second, mean))
    assert any(not torch.equal(one[name], two[name]) for name in one)
    for name, value in both.items():
        assert torch.allclose(value, (one[name] + two[name]) / 2, atol=1e-7), name
    # It remembers what both have learned from, and says which they were.
    assert plait.load(tmp_path / "mean").memory.training == second.memory.training
    assert second.memory.training > first.memory.training
    assert [t["records"] for t in mean.scores["trained"]["start"]] == [8, 8]
    card = (tmp_path / "mean" / "card.md").read_text()
    assert card.count("\nplait train ") == 3
    # Tables of the same name may differ: each command has the digest of its own.
    for model in (first, second):
        table = model.scores["trained"]["table"]
        said = f"# {table['path']}, 8 rows for training, weight 1, digest {table['digest']}\n"
        assert card.count(f"{said}{model.scores['trained']['command']}\n") == 1
    trained("fewer", bright, words=5, epochs=1)
    with pytest.raises(plait.UsageError, match=r"fewer knows other words"):
        trained("no", bright, "first", "fewer")
