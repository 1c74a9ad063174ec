"""The words that a text rests on, wherever they are shown."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from plait.explain.attention import Attention
from plait.modalities.segments import WHOLE
from plait.outputs.text.output import TextDetails, TextOutput
from plait.tasks.explain import show
from plait.tasks.predict import to_json
from plait.types import Prediction
from plait.web.schema import to_answers

OUTPUT = TextOutput()
DETAILS = TextDetails(
    words=("cat",),
    attention={"image": np.ones((1, 4), np.float32)},
    tags={"lynx": 0.2, "cat": 0.71234567},
    detected={"on": 0.9, "7": 0.5, "cat": 0.95},
)
FOUND = Prediction("cat", -0.25, details=DETAILS)


def test_the_surest_tag_comes_first_and_detected_words_keep_their_order() -> None:
    clues = {title: list(words) for title, words in OUTPUT.clues(FOUND).items()}
    assert clues == {"tags": ["cat", "lynx"], "detected": ["on", "7", "cat"]}
    assert not any(OUTPUT.clues(Prediction("cat", -0.25)).values())  # as stored ones are


def test_over_http_they_keep_their_order() -> None:
    model: Any = SimpleNamespace(parts=SimpleNamespace(outputs={"caption": OUTPUT}))
    answers = to_answers(model, {}, {"caption": FOUND}, explain=False)
    assert json.loads(answers.model_dump_json())["answers"]["caption"]["clues"] == {
        "tags": [["cat", 0.7123], ["lynx", 0.2]],
        "detected": [["on", 0.9], ["7", 0.5], ["cat", 0.95]],
    }


def test_the_command_explain_prints_them(capsys: pytest.CaptureFixture[str]) -> None:
    explanation: Any = SimpleNamespace(prediction=FOUND, answering=OUTPUT, shares={}, inputs={})
    show(explanation)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["cat", "tags: cat 0.71, lynx 0.20", "detected: on 0.90, 7 0.50, cat 0.95"]


def test_tables_of_answers_go_without() -> None:
    (row,) = json.loads(to_json([({}, {"caption": FOUND})], {"caption": OUTPUT}))
    assert row == {"caption": "cat", "score": -0.25, "alternatives": []}


@pytest.mark.parametrize(("output", "title"), [("caption", "caption"), ("grid", "answer")])
def test_attention_names_the_answer_as_its_output(output: str, title: str) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    found = Attention(OUTPUT, FOUND, "image", pixels, WHOLE, (2, 2), output).to_json()
    assert found[title] == "cat"
    assert found["grid"] == [2, 2]
    assert found["tags"] == {"cat": 0.7123, "lynx": 0.2}
    assert found["words"] == [{"word": "cat", "attention": [[1.0, 1.0], [1.0, 1.0]]}]
