"""Texts from texts, character by character, their case kept, scored as transcripts: the whole
path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import plait
from plait.training.train import train

WORDS = ["Up", "Down", "Left", "Right"]
RECIPE: dict[str, Any] = {
    "name": "echo",
    "inputs": {
        "said": {
            "modality": "text",
            "representation": {
                "kind": "word-sequence", "unit": "characters", "lower": False, "min_count": 1,
                "max_length": 24, "width": 32, "dropout": 0.0,
            },
        },
    },
    "fusion": {"kind": "none", "width": 32},
    "outputs": {
        "text": {
            "kind": "text",
            "settings": {
                "metrics": "transcripts", "unit": "characters", "lower": False, "min_count": 1,
                "label_smoothing": 0.0, "max_length": 16,
                "decoder": {"kind": "gru-attention", "units": 48, "dropout": 0.0},
                "decoding": {"max_words": 16, "no_repeat": 0, "min_words": 1, "beam": 1},
            },
        },
    },
    "training": {"epochs": 8, "batch": 8, "learning_rate": 0.01, "averaging": 0.0},
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """96 rows, each with a number of its own; what is said is the word behind it."""
    here = tmp_path_factory.mktemp("echo")
    rows = [
        {"said": f"{number} {WORDS[number % 4]}", "text": f"{WORDS[number % 4]}, {number % 2}.",
         "speaker": f"s{number % 3}", "split": ("train", "train", "train", "val")[number // 24]}
        for number in range(96)
    ]  # fmt: skip
    (here / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (here / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLAIT_CACHE", str(here / "cache"))
        train(str(here / "recipe.yaml"), here / "table.jsonl", here / "model")
    return here


def test_it_is_learned_and_scored_as_a_transcript(folder: Path) -> None:
    model = plait.load(folder / "model")
    found = model.evaluate(folder / "table.jsonl", split="val", by="speaker")
    scores = found.scores["text"]
    assert "wer" in scores.points
    assert scores["word_accuracy"] > 0.7  # the most frequent answer alone has 0.375
    assert model.predict("7 Down").value[0].isupper()  # case and spaces are said, too
    assert [group.records for group in found.groups] == [8, 8, 8]
    assert sum(g.scores["text"]["wer"] for g in found.groups) / 3 == pytest.approx(scores["wer"])


def test_log_and_card_tell_the_word_error_rate(folder: Path) -> None:
    lines = map(json.loads, (folder / "model.run" / "log.jsonl").read_text().splitlines())
    last = [line for line in lines if line["event"] == "validation"][-1]
    assert last["metrics"] == {
        "word_accuracy": "word accuracy", "character_accuracy": "character accuracy"
    }  # fmt: skip
    assert last["word_accuracy"] == pytest.approx(1 - last["wer"])
    card = (folder / "model" / "card.md").read_text()
    assert "| WER | " in card
    assert "CIDEr" not in card
