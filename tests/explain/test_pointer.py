"""Texts of a model that points at its inputs' words are explained like others."""

from __future__ import annotations

from typing import Any

import pytest
from parity import CELLS
from untrained import make_model

pytest.importorskip("captum", reason="needs the extra plait[explain]")

SETTINGS: dict[str, Any] = {
    "min_count": 1, "pointer": True, "max_length": 12,
    "decoder": {"kind": "transformer", "layers": 1, "heads": 2},
}  # fmt: skip


def test_an_explanation_of_a_model_with_a_pointer() -> None:
    model = make_model(
        {
            "photo": {
                "modality": "image",
                "representation": {"kind": "cnn", "size": 64, "classes": 3},
            },
            "words": {
                "modality": "text",
                "representation": {"kind": "word-sequence", "width": 16, "min_count": 1},
            },
        },
        {"said": {"kind": "text", "settings": SETTINGS}},
        {"photo": CELLS["image"], "words": CELLS["text"], "said": CELLS["text"]},
        {"kind": "early", "how": "concat", "width": 16},
    )
    record = {"photo": CELLS["image"][0], "words": CELLS["text"][0]}
    explanation = model.explain(record)
    assert explanation.prediction.value == model.predict(record).value
    assert set(explanation.to_json()["inputs"]) == {"photo", "words"}
