"""A training that teaches nothing says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plait.training.train import train
from plait.types import PlaitError

RECIPE: dict[str, Any] = {
    "name": "short",
    "inputs": {"it": {"modality": "series", "representation": {"kind": "sequence", "width": 16}}},
    "fusion": {"kind": "none", "width": 16},
    "outputs": {
        "said": {
            "kind": "text",
            "settings": {
                "metrics": "transcripts", "unit": "characters", "min_count": 1, "max_length": 60,
                "decoder": {"kind": "ctc"}, "decoding": {"beam": 1},
            },
        }
    },
    "training": {"epochs": 1, "batch": 8, "averaging": 0},
}  # fmt: skip


def rows(texts: list[str]) -> list[dict[str, Any]]:
    return [
        {
            "it": [[float(n + t)] for t in range(8)],
            "said": text,
            "split": "val" if n % 4 == 3 else "train",
        }
        for n, text in enumerate(texts)
    ]


def test_texts_that_are_all_longer_than_their_tokens(tmp_path: Path) -> None:
    with pytest.raises(PlaitError, match="no training text teaches anything: all are longer than"):
        train(RECIPE, rows(["abcdefgh" * 5] * 12), tmp_path / "m")


def test_some_of_them_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train(RECIPE, rows(["a", "abcdefgh" * 5, "b", "ab"] * 4), tmp_path / "m")
    assert "outputs.said: 4 of 12 training texts are longer than their input" in caplog.text
