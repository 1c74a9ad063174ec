from __future__ import annotations

import json

import numpy as np
import pytest

from plait.outputs.text.metrics.answers import AnswerMetrics, plain_answer
from plait.types import PlaitError

ANSWERS = ["A red chair.", "two", "on the table", "cat"]
REFERENCES = [["red chair"], ["2", "Two!"], ["table", "under the table"], ["dog"]]


def test_case_articles_and_punctuation_do_not_count() -> None:
    assert plain_answer(" The Cat's, an old hat! ") == "cat's old hat"
    assert plain_answer("-3.5") == "-3.5" != plain_answer("3.5")
    assert plain_answer("The") == "the"  # nothing else is left
    assert plain_answer("?") == "?" != plain_answer("")


def test_any_of_the_right_answers_is_right() -> None:
    score = AnswerMetrics(ANSWERS, REFERENCES)
    found = score.scores()
    assert (found.records, found["accuracy"]) == (4, 0.5)
    assert score(np.array([0, 0, 3]))["accuracy"] == pytest.approx(2 / 3)


def test_the_interval_narrows_with_records() -> None:
    low, high = AnswerMetrics(ANSWERS * 5, REFERENCES * 5).scores().intervals["accuracy"]
    assert low < 0.5 < high
    nearer, near = AnswerMetrics(ANSWERS * 100, REFERENCES * 100).scores().intervals["accuracy"]
    assert low < nearer < 0.5 < near < high
    # Of a share p of n records: about p ± 1.96 √(p(1-p)/n).
    assert near - nearer == pytest.approx(2 * 1.96 * 0.025, abs=0.01)


def test_json_is_plain_and_mistakes_are_named() -> None:
    found = AnswerMetrics(ANSWERS, REFERENCES).scores().to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    with pytest.raises(PlaitError, match="4 answers for 3 records"):
        AnswerMetrics(ANSWERS, REFERENCES[:3])
