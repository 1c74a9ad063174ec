"""The plain spelling of texts, and which scores a text output has by its setting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plait.config.recipe import load_recipe
from plait.data.tables import Table
from plait.outputs.text.decoding import Decoding, Limits
from plait.outputs.text.metrics.base import plain
from plait.outputs.text.output import METRICS, TextOutput
from plait.package.card import score_rows
from plait.pipeline.engine import build_parts
from plait.pipeline.records import Records
from plait.training.loop import Scorer
from plait.types import Prediction


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("The CAT, it sat!", "the cat it sat"),
        ("Don’t -- 'quoted' dogs' well-known", "don't quoted dogs well known"),
        ("3.5 m, 1,000 and -3; a-3, 50%", "3.5 m 1,000 and -3 a 3 50"),
        ("हिन्दी में", "हिन्दी में"),  # vowel signs are no punctuation
        ("cafe\N{COMBINING ACUTE ACCENT}", "café"),
        (" ... ", ""),
    ],
)
def test_plain(written: str, spoken: str) -> None:
    assert plain(written) == spoken


def test_titles_are_those_of_the_setting() -> None:
    found = {name: TextOutput(metrics=name) for name in METRICS}  # type: ignore[arg-type]
    assert TextOutput().best_metrics == found["captions"].best_metrics == ("cider", "bleu4")
    assert found["transcripts"].titles["wer"] == "WER"
    assert found["translations"].best_metrics[0] == "bleu_share"
    assert next(iter(found["answers"].titles)) == "accuracy"
    for output in found.values():
        assert set(output.best_metrics) <= set(output.titles)


def test_cards_and_early_stopping_go_by_the_setting() -> None:
    recipe = load_recipe("captioning", ["outputs.caption.settings.scores=transcripts"])
    rows = score_rows(recipe, "caption", {"wer": 0.25, "intervals": {"wer": [0.2, 0.3]}})
    assert rows == [("WER", "0.250", "0.200 to 0.300")]
    table = Table(Path("t.csv"), Path(), {"caption": ["a dog"]})
    columns = {"outputs.caption": "caption"}
    scorer = Scorer(recipe, build_parts(recipe), Records({}, {}, 1), table, columns)
    assert scorer.metrics == {
        "word_accuracy": "word accuracy", "character_accuracy": "character accuracy"
    }  # fmt: skip


@pytest.mark.parametrize("name", list(METRICS))
def test_the_first_score_is_one_for_perfect_texts_and_none_for_useless_ones(name: str) -> None:
    """CIDEr-D of captions goes up to 10."""
    output = TextOutput(metrics=name)  # type: ignore[arg-type]
    right = ["A brown dog runs fast.", "Two men sit on a bench.", "Nobody is seen in here."]
    references = [[text] for text in right]
    perfect, useless = (
        output.scores([Prediction(text, 0.0) for text in texts], references).to_json()
        for texts in (right, ["xyz"] * 3)
    )
    first = output.best_metrics[0]
    assert perfect[first] == pytest.approx(10 if name == "captions" else 1)
    assert useless[first] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("scores", "wanted"),
    [("captions", (3, 24, 3)), ("transcripts", (0, 90, 0)), ("translations", (1, 90, 0)),
     ("answers", (1, 90, 0))],
)  # fmt: skip
def test_what_a_text_looks_like_goes_by_what_it_is(
    scores: Any, wanted: tuple[int, int, int]
) -> None:
    limits = TextOutput(metrics=scores, max_length=90).options().limits
    assert (limits.min_words, limits.max_words, limits.no_repeat) == wanted
    said = Decoding(min_words=0, max_words=7, no_repeat=2)
    output = TextOutput(metrics=scores, max_length=90, decoding=said)
    assert output.options().limits == Limits(0, 7, 2)
    assert TextOutput(metrics=scores, max_length=2).options().limits.max_words == 2
