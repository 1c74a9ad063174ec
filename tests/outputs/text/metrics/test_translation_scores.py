"""BLEU and chrF: exactly sacrebleu's numbers, of all sentences and of any choice of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sacrebleu

from plait.outputs.scores import RESAMPLES, interval, resamples
from plait.outputs.text.metrics.translations import TranslationMetrics
from plait.types import PlaitError

ANSWERS = [
    "The dog bit the man.",
    "It was not surprising.",
    "The man had just bitten him, he said.",
    "",
]
REFERENCES = [
    ["The dog bit the man.", "The dog had bitten the man."],
    ["It was not unexpected.", "No one was surprised."],
    ["The man bit him first.", "The man had bitten the dog, he said."],
    ["Who knows?", "Nobody knows."],
]


def streams(references: list[list[str]]) -> list[list[str]]:
    """As sacrebleu wants them: the first of every record, the second of every record..."""
    return [list(texts) for texts in zip(*references, strict=True)]


@pytest.mark.parametrize("count", [1, 2])
def test_scores_are_sacrebleu_s(count: int) -> None:
    references = [texts[:count] for texts in REFERENCES]
    found = TranslationMetrics(ANSWERS, references).scores()
    assert found["bleu"] == sacrebleu.corpus_bleu(ANSWERS, streams(references)).score
    assert found["chrf"] == sacrebleu.corpus_chrf(ANSWERS, streams(references)).score
    assert found["bleu_share"] == found["bleu"] / 100
    end = f"version:{sacrebleu.__version__}"
    assert found.extras["signatures"] == {
        "bleu": f"nrefs:{count}|case:mixed|eff:no|tok:13a|smooth:exp|{end}",
        "chrf": f"nrefs:{count}|case:mixed|eff:yes|nc:6|nw:0|space:no|{end}",
    }


def test_records_may_have_different_numbers_of_references() -> None:
    references = [REFERENCES[0], REFERENCES[1][:1], REFERENCES[2], REFERENCES[3][:1]]
    filled: list[list[str | None]] = [
        [texts[0] for texts in references],
        [texts[1] if len(texts) > 1 else None for texts in references],
    ]
    found = TranslationMetrics(ANSWERS, references).scores()
    assert found["bleu"] == sacrebleu.corpus_bleu(ANSWERS, filled).score  # type: ignore[arg-type]
    assert found["chrf"] == sacrebleu.corpus_chrf(ANSWERS, filled).score  # type: ignore[arg-type]
    assert found.extras["signatures"]["bleu"].startswith("nrefs:var|")


def test_any_choice_of_records_is_scored_as_a_corpus_of_them() -> None:
    score = TranslationMetrics(ANSWERS, REFERENCES)
    for rows in ([0, 1], [2, 2, 0, 1]):
        answers, references = [ANSWERS[r] for r in rows], [REFERENCES[r] for r in rows]
        found = score(np.array(rows))
        assert found["bleu"] == sacrebleu.corpus_bleu(answers, streams(references)).score
        assert found["chrf"] == sacrebleu.corpus_chrf(answers, streams(references)).score


def test_the_interval_is_that_of_corpora_drawn_anew() -> None:
    found = TranslationMetrics(ANSWERS, REFERENCES).scores()
    anew = [
        sacrebleu.corpus_chrf(
            [ANSWERS[r] for r in rows], streams([REFERENCES[r] for r in rows])
        ).score
        for rows in resamples(4, RESAMPLES, 0)
    ]
    assert found.intervals["chrf"] == pytest.approx(interval(anew))


def test_case_counts() -> None:
    right = [["The dog bit the man."]]
    assert TranslationMetrics(["The dog bit the man."], right).scores()["bleu"] == pytest.approx(
        100
    )
    assert TranslationMetrics(["the dog bit the man."], right).scores()["bleu"] < 100


def test_nothing_said_scores_nothing() -> None:
    found = TranslationMetrics(["", ""], [["a dog"], ["a cat"]]).scores()
    assert (found["bleu"], found["chrf"], found.intervals["bleu"]) == (0, 0, (0, 0))


def test_json_is_plain() -> None:
    found = TranslationMetrics(ANSWERS, REFERENCES).scores().to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_mistakes_are_named() -> None:
    with pytest.raises(PlaitError, match="0 answers"):
        TranslationMetrics([], [])
