"""Error rates: by hand, and equal to jiwer's, whose numbers are in tests/golden."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plait.outputs.text.metrics.transcripts import TranscriptMetrics, align, aligned
from plait.types import PlaitError

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "golden" / "transcript_scores.json").read_text()
)
KINDS = ("words", "substitutions", "deletions", "insertions")
REFERENCES = [["The cat sat on the mat."], ["A dog"], ["It's three o'clock, he said"]]
ANSWERS = ["the cat sit on mat", "a big dog", "its three o'clock he said"]


def test_by_hand() -> None:
    """Six, two and five words; one wrong and one left out, one put in, one wrong."""
    found = TranscriptMetrics(ANSWERS, REFERENCES).scores()
    assert [found.extras[name] for name in KINDS] == [13, 2, 1, 1]
    assert found["wer"] == pytest.approx(4 / 13)
    assert found["word_accuracy"] == pytest.approx(9 / 13)
    # Letters and spaces: 22, 5, 26; `a` for `i` and "the " gone, "big " put in, an apostrophe gone.
    assert found["cer"] == pytest.approx((1 + 4 + 4 + 1) / (22 + 5 + 26))
    assert sorted(found.extras["confusions"]) == [
        ["", "big", 1], ["it's", "its", 1], ["sat", "sit", 1], ["the", "", 1]
    ]  # fmt: skip


def test_rates_are_jiwer_s() -> None:
    texts, right = GOLDEN["texts"], [[text] for text in GOLDEN["texts"]["right"]]
    score = TranscriptMetrics(texts["said"], right)
    assert score(np.arange(4)) == pytest.approx(
        GOLDEN["whole"]
        | {
            "word_accuracy": 1 - GOLDEN["whole"]["wer"],
            "character_accuracy": 1 - GOLDEN["whole"]["cer"],
        }
    )
    for row, rates in enumerate(GOLDEN["rates"]):
        found = score(np.array([row]))
        assert {name: found[name] for name in rates} == pytest.approx(rates)


def test_rates_are_those_of_the_chosen_records() -> None:
    score = TranscriptMetrics(ANSWERS, REFERENCES)
    for rows in ([0, 1, 2], [2, 2, 0], [1]):
        alone = TranscriptMetrics([ANSWERS[r] for r in rows], [REFERENCES[r] for r in rows])
        assert score(np.array(rows)) == alone(np.arange(len(rows)))


def test_words_are_aligned_as_jiwer_does() -> None:
    for case in GOLDEN["alignments"]:
        assert [list(pair) for pair in align(case["right"], case["said"])] == case["pairs"]


def test_the_nearest_reference_counts() -> None:
    found = TranscriptMetrics(
        ["he is here"], [["she was here today", "he's here", "He is here!"]]
    ).scores()
    assert (found["wer"], found.extras["words"]) == (0, 3)


def test_more_said_than_there_was_is_worse_than_nothing() -> None:
    found = TranscriptMetrics(["a b c", ""], [["d"], ["e"]]).scores()
    assert found["wer"] == pytest.approx(4 / 2)
    assert found["word_accuracy"] == pytest.approx(-1)


def test_intervals_hold_the_rates_and_are_none_where_all_is_right() -> None:
    found = TranscriptMetrics(ANSWERS * 5, REFERENCES * 5).scores()
    assert set(found.intervals) == {"wer", "cer", "word_accuracy", "character_accuracy"}
    for name, (low, high) in found.intervals.items():
        assert low < found[name] < high
    right = [texts[0] for texts in REFERENCES]
    assert TranscriptMetrics(right, REFERENCES).scores().intervals["wer"] == (0, 0)


def test_the_most_frequent_confusion_comes_first() -> None:
    found = TranscriptMetrics(["b"] * 3 + ["x"], [["a"]] * 3 + [["y"]]).scores()
    assert found.extras["confusions"] == [["a", "b", 3], ["y", "x", 1]]
    many = TranscriptMetrics([f"b{n}" for n in range(30)], [[f"a{n}"] for n in range(30)]).scores()
    assert len(many.extras["confusions"]) == 20


def test_json_is_plain() -> None:
    found = TranscriptMetrics(ANSWERS, REFERENCES).scores().to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_errors_stand_below_each_other() -> None:
    assert aligned("The cat sat on it, then.", "the dog sat it then now") == (
        "REF: the CAT sat ON it then ***\n"
        "HYP: the DOG sat ** it then NOW"
    )  # fmt: skip
    assert aligned("a longer word", "a word") == "REF: a LONGER word\nHYP: a ****** word"
    assert aligned("mad man", "made man") == "REF: MAD  man\nHYP: MADE man"
    assert aligned("", "") == "REF: \nHYP: "


def test_references_in_which_nothing_is_said() -> None:
    metrics = TranscriptMetrics(["", "um", "a b"], [[""], ["", "a b c d"], ["a b"]])
    scores = metrics(np.arange(3))
    assert (scores["wer"], scores["cer"]) == (1 / 2, 2 / 3)
    assert metrics.extras()["insertions"] == 1
    silent = TranscriptMetrics(["", "a b"], [[""], [""]])
    assert silent(np.array([0]))["wer"] == 0
    assert silent(np.array([0, 1]))["wer"] == 2


def test_mistakes_are_named() -> None:
    with pytest.raises(PlaitError, match="1 answers for 2 records"):
        TranscriptMetrics(["a"], [["a"], ["b"]])
    with pytest.raises(PlaitError, match="no word in any reference"):
        TranscriptMetrics(["a"], [["..."]])
