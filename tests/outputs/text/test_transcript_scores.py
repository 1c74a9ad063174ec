"""Error rates: by hand, and equal to jiwer's."""

from __future__ import annotations

import json

import jiwer
import numpy as np
import pytest

from plait.outputs.text.metrics.base import plain
from plait.outputs.text.metrics.transcripts import (
    aligned_errors,
    transcript_scorer,
    transcript_scores,
)
from plait.types import PlaitError

REFERENCES = [["The cat sat on the mat."], ["A dog"], ["It's three o'clock, he said"]]
ANSWERS = ["the cat sit on mat", "a big dog", "its three o'clock he said"]


def test_by_hand() -> None:
    """Six, two and five words; one wrong and one left out, one put in, one wrong."""
    found = transcript_scores(ANSWERS, REFERENCES)
    assert (found.words, found.substitutions, found.deletions, found.insertions) == (13, 2, 1, 1)
    assert found.wer == pytest.approx(4 / 13)
    assert found.word_accuracy == pytest.approx(9 / 13)
    # Letters and spaces: 22, 5, 26; `a` for `i` and "the " gone, "big " put in, an apostrophe gone.
    assert found.cer == pytest.approx((1 + 4 + 4 + 1) / (22 + 5 + 26))
    assert sorted(found.confusions) == [
        ("", "big", 1), ("it's", "its", 1), ("sat", "sit", 1), ("the", "", 1)
    ]  # fmt: skip


def test_rates_are_jiwer_s_on_plain_texts_whatever_records_are_chosen() -> None:
    right = [plain(texts[0]) for texts in REFERENCES]
    said = [plain(text) for text in ANSWERS]
    score = transcript_scorer(ANSWERS, REFERENCES)
    for rows in ([0, 1, 2], [2, 2, 0], [1]):
        found = score(np.array(rows))
        drawn = [right[row] for row in rows], [said[row] for row in rows]
        assert found["wer"] == pytest.approx(jiwer.wer(*drawn))
        assert found["cer"] == pytest.approx(jiwer.cer(*drawn))


def test_the_nearest_reference_counts() -> None:
    found = transcript_scores(["he is here"], [["she was here today", "he's here", "He is here!"]])
    assert (found.wer, found.words) == (0, 3)


def test_more_said_than_there_was_is_worse_than_nothing() -> None:
    found = transcript_scores(["a b c", ""], [["d"], ["e"]])
    assert found.wer == pytest.approx(4 / 2)
    assert found.word_accuracy == pytest.approx(-1)


def test_intervals_hold_the_rates_and_are_none_where_all_is_right() -> None:
    found = transcript_scores(ANSWERS * 5, REFERENCES * 5)
    assert set(found.intervals) == {"wer", "cer", "word_accuracy", "character_accuracy"}
    for name, (low, high) in found.intervals.items():
        assert low < getattr(found, name) < high
    right = [texts[0] for texts in REFERENCES]
    assert transcript_scores(right, REFERENCES).intervals["wer"] == (0, 0)


def test_the_most_frequent_confusion_comes_first() -> None:
    found = transcript_scores(["b"] * 3 + ["x"], [["a"]] * 3 + [["y"]])
    assert found.confusions == [("a", "b", 3), ("y", "x", 1)]
    many = transcript_scores([f"b{n}" for n in range(30)], [[f"a{n}"] for n in range(30)])
    assert len(many.confusions) == 20


def test_json_is_plain() -> None:
    found = transcript_scores(ANSWERS, REFERENCES).to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_errors_stand_below_each_other() -> None:
    assert aligned_errors("The cat sat on it, then.", "the dog sat it then now") == (
        "REF: the CAT sat ON it then ***\n"
        "HYP: the DOG sat ** it then NOW"
    )  # fmt: skip
    assert aligned_errors("a longer word", "a word") == "REF: a LONGER word\nHYP: a ****** word"
    assert aligned_errors("mad man", "made man") == "REF: MAD  man\nHYP: MADE man"
    assert aligned_errors("", "") == "REF: \nHYP: "


def test_mistakes_are_named() -> None:
    with pytest.raises(PlaitError, match="1 answers for 2 records"):
        transcript_scores(["a"], [["a"], ["b"]])
    with pytest.raises(PlaitError, match="no word in any reference"):
        transcript_scores(["a"], [["..."]])
