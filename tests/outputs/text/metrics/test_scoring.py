"""The plain spelling of texts, and which scores a text output has by its setting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from plait.config import registry
from plait.config.recipe import load_recipe
from plait.config.schema import recipe_schema
from plait.data.tables import Table
from plait.outputs.text.metrics.base import TextMetrics, plain
from plait.outputs.text.output import TextOutput
from plait.outputs.text.search import Decoding, Limits
from plait.package.card import score_rows
from plait.pipeline.engine import build_parts
from plait.pipeline.records import Records
from plait.training.loop import Scorer
from plait.types import Prediction, UsageError


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
    found = {name: TextOutput(metrics=name).scored_by for name in registry.names("metric")}
    assert TextOutput().scored_by is found["captions"]
    assert found["captions"].best_metrics == ("cider", "bleu4")
    assert found["transcripts"].titles["wer"] == "WER"
    assert found["translations"].best_metrics[0] == "bleu_share"
    assert next(iter(found["answers"].titles)) == "accuracy"
    for metrics in found.values():
        assert set(metrics.best_metrics) <= set(metrics.titles)


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


@pytest.mark.parametrize("name", registry.names("metric"))
def test_the_first_score_is_one_for_perfect_texts_and_none_for_useless_ones(name: str) -> None:
    """CIDEr-D of captions goes up to 10."""
    output = TextOutput(metrics=name)
    right = ["A brown dog runs fast.", "Two men sit on a bench.", "Nobody is seen in here."]
    references = [[text] for text in right]
    perfect, useless = (
        output.scorer([Prediction(text, 0.0) for text in texts], references).scores().to_json()
        for texts in (right, ["xyz"] * 3)
    )
    first = output.scored_by.best_metrics[0]
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


class Lengths(TextMetrics):
    """Right is what has as many words as the right text."""

    titles = {"as_long": "as long"}
    best_metrics = ("as_long",)
    limits = Limits(2, 5, 0)

    def __call__(self, rows: NDArray[np.int64]) -> dict[str, float]:
        pairs = zip(self.answers, self.references, strict=True)
        each = [len(said.split()) == len(right[0].split()) for said, right in pairs]
        return {"as_long": float(np.array(each)[rows].mean())}


@pytest.fixture
def lengths() -> Iterator[None]:
    registry.register("metric", "lengths")(Lengths)
    yield
    registry._COMPONENTS.pop(("metric", "lengths"))


@pytest.mark.usefixtures("lengths")
def test_another_package_adds_a_metric() -> None:
    change = "outputs.caption.settings.metrics=lengths"
    output = build_parts(load_recipe("captioning", [change])).outputs["caption"]
    assert output.options().limits == Limits(2, 5, 0)
    metrics = output.scorer([Prediction("a dog", 0.0), Prediction("cat", 0.0)], [["x y"], ["x y"]])
    assert metrics.scores().points == {"as_long": 0.5}
    assert metrics.rightness()[1].tolist() == [1, 0]
    assert metrics.ranked() == [0, 1]
    assert (
        "lengths"
        in recipe_schema()["$defs"]["OutputSpec"]["allOf"][-1]["then"]["properties"]["settings"][
            "properties"
        ]["metrics"]["enum"]
    )
    assert registry.describe(registry.find("metric", "lengths")) == []


def test_a_metric_that_nobody_registered_is_refused() -> None:
    with pytest.raises(UsageError, match=r"there is no metric called 'caption'.*captions"):
        load_recipe("captioning", ["outputs.caption.settings.metrics=caption"])
