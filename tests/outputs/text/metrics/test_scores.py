"""Caption scores: by hand, and equal to the published scorers' on their own tokeniser's words."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plait.outputs.scores import RESAMPLES, Scores, interval, resamples
from plait.outputs.text.metrics import captions as module
from plait.outputs.text.metrics import meteor
from plait.outputs.text.metrics.captions import CaptionMetrics, common_words, smoothed_bleu4
from plait.outputs.text.metrics.ptb import tokenise
from plait.types import PlaitError

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "golden" / "caption_scores.json").read_text()
)
WRITTEN = [name for name, case in GOLDEN.items() if "photos" in case]
FLICKR = Path(__file__).parents[4].parent / "shared" / "data" / "flickr8k"
# pycocoevalcap 1.2 with its own Java tokeniser and wrappers, on the captions below.
PINNED_CIDER, PINNED_BLEU4, PINNED_METEOR = 3.2249063928311057, 0.4220351021, 0.4249995398

PREDICTIONS = ["A dog runs in the grass.", "Two men sit on a bench.", "A girl jumps."]
REFERENCES = [
    ["A brown dog runs in the grass.", "The dog is running."],
    ["Two men are sitting on a bench.", "Men on a bench"],
    ["A girl in red jumps.", "A child jumps over a puddle."],
]


def scored(predictions: list[str], references: list[list[str]], seed: int = 0) -> Scores:
    return CaptionMetrics(predictions, references).scores(seed)


def bleu4_of_each(predictions: list[str], references: list[list[str]]) -> list[float]:
    return smoothed_bleu4(CaptionMetrics(predictions, references)._bleu).tolist()


def golden(name: str) -> tuple[list[str], list[list[str]], dict[str, Any]]:
    photos = GOLDEN[name]["photos"]
    captions = [photo["caption"] for photo in photos]
    return captions, [photo["references"] for photo in photos], GOLDEN[name]


def assert_published(metrics: CaptionMetrics, expected: dict[str, Any]) -> None:
    got = metrics(np.arange(len(metrics.answers)))
    bleu = [got[f"bleu{order}"] for order in (1, 2, 3, 4)]
    assert bleu == pytest.approx(expected["bleu"], abs=1e-6)
    assert metrics.rightness()[1] == pytest.approx(expected["cider"], abs=1e-6)
    assert got["cider"] == pytest.approx(np.mean(expected["cider"]), abs=1e-6)
    rouge = [metrics(np.array([row]))["rouge_l"] for row in range(len(metrics.answers))]
    assert rouge == pytest.approx(expected["rouge_l"], abs=1e-6)
    assert got["rouge_l"] == pytest.approx(np.mean(expected["rouge_l"]), abs=1e-6)


@pytest.mark.parametrize("name", WRITTEN)
def test_equals_the_published_scorers(name: str) -> None:
    captions, references, expected = golden(name)
    assert_published(CaptionMetrics(captions, references), expected)


@pytest.mark.shared
@pytest.mark.skipif(not FLICKR.is_dir(), reason=f"no {FLICKR}")
def test_equals_the_published_scorers_on_real_captions() -> None:
    with (FLICKR / "captions.jsonl").open(encoding="utf-8") as lines:
        photos = [json.loads(line)["captions"] for line in islice(lines, 200)]
    metrics = CaptionMetrics([photo[0] for photo in photos], [photo[1:] for photo in photos])
    assert_published(metrics, GOLDEN["flickr8k"])
    got = metrics.scores()
    for name, (low, high) in got.intervals.items():
        assert low < got[name] < high


def test_bleu_by_hand() -> None:
    """4 words of which 3 match, 3 pairs of which 2, 2 triples of which 1, 1 four of which 0."""
    texts = ["A dog runs fast."], [["A dog runs"]]
    got = scored(*texts)
    assert got["bleu1"] == pytest.approx(3 / 4)
    assert got["bleu2"] == pytest.approx((3 / 4 * 2 / 3) ** (1 / 2))
    assert got["bleu3"] == pytest.approx((3 / 4 * 2 / 3 * 1 / 2) ** (1 / 3))
    assert got["bleu4"] == pytest.approx(0, abs=1e-3)
    assert bleu4_of_each(*texts) == pytest.approx([(3 / 4 * 3 / 4 * 2 / 3 * 1 / 2) ** (1 / 4)])


def test_bleu_of_short_captions_by_hand() -> None:
    got = scored(["a dog", "a dog runs fast"], [["a dog runs fast"], ["a dog runs"]])
    assert got["bleu1"] == pytest.approx(5 / 6 * math.exp(1 - 7 / 6))


def test_bleu_clips_repetition_by_hand() -> None:
    """The classic of the BLEU paper: ``the`` seven times, twice in a reference."""
    refs = ["The cat is on the mat.", "There is a cat on the mat."]
    assert scored(["the the the the the the the"], [refs])["bleu1"] == pytest.approx(2 / 7)


def test_rouge_l_by_hand() -> None:
    """Longest common subsequence 3 of 4 words and of 3; beta 1.2."""
    got = scored(["a dog runs fast"], [["a dog fast"]])
    precision, recall, beta = 3 / 4, 1.0, 1.2
    expected = (1 + beta**2) * precision * recall / (recall + beta**2 * precision)
    assert got["rouge_l"] == pytest.approx(expected)


def test_the_longest_common_subsequence_is_that_of_the_table() -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        first, second = (rng.integers(4, size=rng.integers(9)).astype(str) for _ in range(2))
        table = np.zeros((len(first) + 1, len(second) + 1), int)
        for i, a in enumerate(first):
            for j, b in enumerate(second):
                table[i + 1, j + 1] = (
                    table[i, j] + 1 if a == b else max(table[i, j + 1], table[i + 1, j])
                )
        assert common_words(first.tolist(), second.tolist()) == table[-1, -1]


def test_cider_by_hand() -> None:
    """``a`` weighs nothing; one- and two-grams agree fully, longer ones are not there."""
    assert scored(["A dog.", "A cat."], [["a dog"], ["a cat"]])["cider"] == pytest.approx(5.0)


def test_perfect_captions() -> None:
    predictions = [captions[0] for captions in REFERENCES]
    got = scored(predictions, REFERENCES)
    for name in ("bleu1", "bleu2", "bleu3", "bleu4", "rouge_l"):
        assert got[name] == pytest.approx(1)
    assert bleu4_of_each(predictions, REFERENCES) == pytest.approx([1, 1, 1])
    assert got.intervals["bleu4"] == pytest.approx((1, 1))


def test_pinned_values() -> None:
    got = scored(PREDICTIONS, REFERENCES)
    assert got["cider"] == pytest.approx(PINNED_CIDER)
    assert got["bleu4"] == pytest.approx(PINNED_BLEU4)


def test_the_words_used() -> None:
    got = scored(["A dog.", "a dog", "A red cat!"], [["a dog"]] * 3)
    assert (got.records, got.extras["vocabulary"]) == (3, 4)
    assert got.extras["distinct"] == pytest.approx(2 / 3)
    assert got["mean_length"] == pytest.approx(7 / 3)


def test_intervals_contain_the_score_and_narrow_with_photos() -> None:
    few = scored(PREDICTIONS * 4, REFERENCES * 4)
    many = scored(PREDICTIONS * 40, REFERENCES * 40)
    for name, (low, high) in many.intervals.items():
        assert low <= many[name] <= high
        assert high - low < few.intervals[name][1] - few.intervals[name][0]


def test_interval_equals_scoring_each_resample_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plait.outputs.scores.RESAMPLES", 30)
    predictions, references = PREDICTIONS * 5, REFERENCES * 5
    got = scored(predictions, references, seed=4)
    rng = np.random.default_rng(4)
    anew = []
    for _ in range(30):
        drawn = rng.integers(15, size=15)
        sample = CaptionMetrics([predictions[i] for i in drawn], [references[i] for i in drawn])
        anew.append(sample(np.arange(15))["bleu2"])
    assert got.intervals["bleu2"] == pytest.approx(tuple(np.percentile(anew, [2.5, 97.5])))


def test_same_seed_same_intervals() -> None:
    first, second = (scored(PREDICTIONS, REFERENCES, seed=7) for _ in range(2))
    assert first == second


def test_ranked_puts_the_best_photo_first() -> None:
    texts = ["a dog runs", "a bird", "a cat sits"], [["a dog runs"], ["two men"], ["a cat"]]
    assert CaptionMetrics(*texts).ranked() == [0, 2, 1]


def test_empty_caption_scores_zero() -> None:
    texts = ["", "A dog."], [["a man"], ["a dog"]]
    assert CaptionMetrics(*texts).rightness()[1][0] == 0
    assert bleu4_of_each(*texts)[0] == 0
    nothing = scored([""], [["a man"]])
    assert nothing["bleu1"] == nothing["cider"] == nothing["rouge_l"] == 0


def test_json_is_plain_and_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    got = scored(PREDICTIONS, REFERENCES).to_json()
    assert json.loads(json.dumps(got, allow_nan=False)) == got
    assert got["photos"] == 3
    assert got["meteor"] is None
    assert set(got["intervals"]) == {
        *("bleu1", "bleu2", "bleu3", "bleu4", "rouge_l", "cider", "mean_length"),
    }
    assert capsys.readouterr() == ("", "")


def test_mistakes_are_named() -> None:
    with pytest.raises(PlaitError, match="1 answers for 2 records"):
        scored(["a"], [["a"], ["b"]])
    with pytest.raises(PlaitError, match="0 answers"):
        scored([], [])
    with pytest.raises(PlaitError, match="photo 1: none"):
        scored(["a", "b"], [["a"], []])
    with pytest.raises(PlaitError, match="no word"):
        scored(["a"], [["...", ""]])
    with pytest.raises(PlaitError, match="one string"):
        CaptionMetrics(["a"], ["a dog"])


@pytest.mark.parametrize(
    ("java", "message"), [(None, "Java"), ("/usr/bin/java", r"plait\[meteor\]")]
)
def test_meteor_without_what_it_needs(
    java: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meteor.shutil, "which", lambda name: java)
    monkeypatch.setattr(meteor, "find_program", lambda: None)
    metrics = CaptionMetrics(PREDICTIONS, REFERENCES)
    assert metrics.scores().extras["meteor"] is None
    with pytest.raises(PlaitError, match=message) as caught:
        metrics.scores(slow=True)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def program() -> Iterator[meteor.Meteor]:
    """One for all tests: it takes seconds to start."""
    if shutil.which("java") is None or meteor.find_program() is None:
        pytest.skip("no java on the PATH, or no METEOR program")
    with meteor.Meteor() as running:
        yield running


@pytest.mark.slow
def test_meteor_pinned(program: meteor.Meteor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The value is the package's own wrapper's; the last caption equals a reference."""
    monkeypatch.setattr(module, "Meteor", lambda: nullcontext(program))
    metrics = CaptionMetrics(
        [*PREDICTIONS, "A cat sleeps."], [*REFERENCES, ["A cat sleeps"]]
    )  # fmt: skip
    got = metrics.scores(slow=True)
    assert got["meteor"] == pytest.approx(PINNED_METEOR)
    counts = program.counts(metrics.captions, metrics.targets)
    drawn = [program.score(counts[rows].sum(axis=0)) for rows in resamples(4, RESAMPLES, 0)]
    assert got.intervals["meteor"] == pytest.approx(interval(drawn))
    low, high = got.intervals["meteor"]
    assert low <= got["meteor"] <= high


@pytest.mark.slow
def test_meteor_equals_the_published_wrapper(program: meteor.Meteor) -> None:
    for name in WRITTEN:
        captions, references, expected = golden(name)
        words = [[tokenise(text) for text in texts] for texts in references]
        counts = program.counts([tokenise(caption) for caption in captions], words)
        assert program.score(counts.sum(axis=0)) == pytest.approx(expected["meteor"], abs=1e-6)
