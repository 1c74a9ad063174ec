"""Caption scores: by hand, and equal to the published scorers on their own tokeniser's words."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from plait.outputs.text.metrics import captions as module
from plait.outputs.text.metrics.captions import CaptionScores, caption_scores
from plait.outputs.text.metrics.ptb import PUNCTUATION
from plait.types import PlaitError

FLICKR = Path(__file__).parents[3].parent / "shared" / "data" / "flickr8k"
# pycocoevalcap 1.2 with its own Java tokeniser and wrappers, on the captions below.
PINNED_CIDER, PINNED_BLEU4, PINNED_METEOR = 3.2249063928311057, 0.4220351021, 0.4249995398
JAVA = shutil.which("java") is not None

PREDICTIONS = ["A dog runs in the grass.", "Two men sit on a bench.", "A girl jumps."]
REFERENCES = [
    ["A brown dog runs in the grass.", "The dog is running."],
    ["Two men are sitting on a bench.", "Men on a bench"],
    ["A girl in red jumps.", "A child jumps over a puddle."],
]


def scored(predictions: list[str], references: list[list[str]], **more: int) -> CaptionScores:
    return caption_scores(predictions, references, meteor=False, **more)


def test_bleu_by_hand() -> None:
    """4 words of which 3 match, 3 pairs of which 2, 2 triples of which 1, 1 four of which 0."""
    got = scored(["A dog runs fast."], [["A dog runs"]])
    assert got.bleu1 == pytest.approx(3 / 4)
    assert got.bleu2 == pytest.approx((3 / 4 * 2 / 3) ** (1 / 2))
    assert got.bleu3 == pytest.approx((3 / 4 * 2 / 3 * 1 / 2) ** (1 / 3))
    assert got.bleu4 == pytest.approx(0, abs=1e-3)
    assert got.photo_bleu4 == pytest.approx([(3 / 4 * 3 / 4 * 2 / 3 * 1 / 2) ** (1 / 4)])


def test_bleu_of_short_captions_by_hand() -> None:
    got = scored(["a dog", "a dog runs fast"], [["a dog runs fast"], ["a dog runs"]])
    assert got.bleu1 == pytest.approx(5 / 6 * math.exp(1 - 7 / 6))


def test_bleu_clips_repetition_by_hand() -> None:
    """The classic of the BLEU paper: ``the`` seven times, twice in a reference."""
    refs = ["The cat is on the mat.", "There is a cat on the mat."]
    assert scored(["the the the the the the the"], [refs]).bleu1 == pytest.approx(2 / 7)


def test_rouge_l_by_hand() -> None:
    """Longest common subsequence 3 of 4 words and of 3; beta 1.2."""
    got = scored(["a dog runs fast"], [["a dog fast"]])
    precision, recall, beta = 3 / 4, 1.0, 1.2
    expected = (1 + beta**2) * precision * recall / (recall + beta**2 * precision)
    assert got.rouge_l == pytest.approx(expected)


def test_cider_by_hand() -> None:
    """``a`` weighs nothing; one- and two-grams agree fully, longer ones are not there."""
    assert scored(["A dog.", "A cat."], [["a dog"], ["a cat"]]).cider == pytest.approx(5.0)


def test_perfect_captions() -> None:
    predictions = [captions[0] for captions in REFERENCES]
    got = scored(predictions, REFERENCES)
    for score in (got.bleu1, got.bleu2, got.bleu3, got.bleu4, got.rouge_l):
        assert score == pytest.approx(1)
    assert got.photo_bleu4 == pytest.approx([1, 1, 1])
    assert got.intervals["bleu4"] == pytest.approx((1, 1))


def test_pinned_values() -> None:
    got = scored(PREDICTIONS, REFERENCES)
    assert got.cider == pytest.approx(PINNED_CIDER)
    assert got.bleu4 == pytest.approx(PINNED_BLEU4)


def test_the_words_used() -> None:
    got = scored(["A dog.", "a dog", "A red cat!"], [["a dog"]] * 3)
    assert (got.photos, got.vocabulary) == (3, 4)
    assert got.distinct == pytest.approx(2 / 3)
    assert got.mean_length == pytest.approx(7 / 3)


def test_intervals_contain_the_score_and_narrow_with_photos() -> None:
    few = scored(PREDICTIONS * 4, REFERENCES * 4)
    many = scored(PREDICTIONS * 40, REFERENCES * 40)
    for name, (low, high) in many.intervals.items():
        assert low <= getattr(many, name) <= high
        assert high - low < few.intervals[name][1] - few.intervals[name][0]


def test_interval_equals_scoring_each_resample_anew() -> None:
    predictions, references = PREDICTIONS * 5, REFERENCES * 5
    got = scored(predictions, references, intervals=30, seed=4)
    rng = np.random.default_rng(4)
    anew = []
    for _ in range(30):
        drawn = rng.integers(15, size=15)
        sample = scored(
            [predictions[i] for i in drawn], [references[i] for i in drawn], intervals=0
        )
        anew.append(sample.bleu2)
    assert got.intervals["bleu2"] == pytest.approx(tuple(np.percentile(anew, [2.5, 97.5])))


def test_same_seed_same_intervals() -> None:
    first, second = (scored(PREDICTIONS, REFERENCES, seed=7) for _ in range(2))
    assert first == second
    assert scored(PREDICTIONS, REFERENCES, intervals=0).intervals == {}


def test_ranked_puts_the_best_photo_first() -> None:
    got = scored(["a dog runs", "a bird", "a cat sits"], [["a dog runs"], ["two men"], ["a cat"]])
    assert got.ranked().tolist() == [0, 2, 1]


def test_empty_caption_scores_zero() -> None:
    got = scored(["", "A dog."], [["a man"], ["a dog"]])
    assert got.photo_cider[0] == 0
    assert got.photo_bleu4[0] == 0
    nothing = scored([""], [["a man"]])
    assert nothing.bleu1 == nothing.cider == nothing.rouge_l == 0


def test_json_is_plain_and_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    got = scored(PREDICTIONS, REFERENCES).to_json()
    assert json.loads(json.dumps(got, allow_nan=False)) == got
    assert got["meteor"] is None
    assert set(got["intervals"]) == {
        *("bleu1", "bleu2", "bleu3", "bleu4", "rouge_l", "cider", "mean_length"),
    }
    assert capsys.readouterr() == ("", "")


def test_mistakes_are_named() -> None:
    with pytest.raises(PlaitError, match="1 captions for 2 photos"):
        scored(["a"], [["a"], ["b"]])
    with pytest.raises(PlaitError, match="no captions"):
        scored([], [])
    with pytest.raises(PlaitError, match="photo 1: none"):
        scored(["a", "b"], [["a"], []])
    with pytest.raises(PlaitError, match="no word"):
        scored(["a"], [["...", ""]])
    with pytest.raises(PlaitError, match="one string"):
        caption_scores(["a"], ["a dog"], meteor=False)


def test_meteor_is_computed_where_there_is_java(
    monkeypatch: pytest.MonkeyPatch, wants_meteor: Callable[[bool | None], bool]
) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert [wants_meteor(asked) for asked in (None, True, False)] == [True, True, False]


def test_meteor_without_java(
    monkeypatch: pytest.MonkeyPatch, wants_meteor: Callable[[bool | None], bool]
) -> None:
    monkeypatch.setattr(module, "_wants_meteor", wants_meteor)
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    assert caption_scores(PREDICTIONS, REFERENCES).meteor is None
    with pytest.raises(PlaitError, match="Java"):
        caption_scores(PREDICTIONS, REFERENCES, meteor=True)


@pytest.mark.skipif(not JAVA, reason="no java on the PATH")
def test_meteor_pinned() -> None:
    """The value is the package's own wrapper's; the last caption equals a reference."""
    predictions = [*PREDICTIONS, "A cat sleeps."]
    got = caption_scores(predictions, [*REFERENCES, ["A cat sleeps"]], meteor=True, intervals=50)
    assert got.meteor == pytest.approx(PINNED_METEOR)
    low, high = got.intervals["meteor"]
    assert low <= got.meteor <= high


@pytest.mark.shared
@pytest.mark.skipif(not JAVA, reason="no java on the PATH")
@pytest.mark.skipif(not FLICKR.is_dir(), reason=f"no {FLICKR}")
def test_equals_the_package_with_its_java_tokeniser(tmp_path: Path) -> None:
    with (FLICKR / "captions.jsonl").open(encoding="utf-8") as lines:
        captions = [json.loads(line)["captions"] for line in islice(lines, 200)]
    words = iter(java([caption for photo in captions for caption in photo], tmp_path))
    photos = [[next(words) for _ in photo] for photo in captions]
    targets = {place: photo[1:] for place, photo in enumerate(photos)}
    results = {place: photo[:1] for place, photo in enumerate(photos)}
    got = scored([photo[0] for photo in captions], [photo[1:] for photo in captions])
    bleu, _ = Bleu(4).compute_score(targets, results, verbose=0)
    assert [got.bleu1, got.bleu2, got.bleu3, got.bleu4] == pytest.approx(bleu)
    cider, each = Cider().compute_score(targets, results)
    assert got.cider == pytest.approx(cider)
    assert got.photo_cider == pytest.approx(each)
    assert got.rouge_l == pytest.approx(Rouge().compute_score(targets, results)[0])
    for name, (low, high) in got.intervals.items():
        assert low < getattr(got, name) < high


def java(captions: list[str], folder: Path) -> list[str]:
    spec = find_spec("pycocoevalcap.tokenizer")
    assert spec is not None
    assert spec.submodule_search_locations
    jar = Path(next(iter(spec.submodule_search_locations))) / "stanford-corenlp-3.4.1.jar"
    source = folder / "captions.txt"
    source.write_text("\n".join(captions), encoding="utf-8")
    command = ["java", "-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer"]
    run = subprocess.run(
        [*command, "-preserveLines", "-lowerCase", str(source)],
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return [
        " ".join(word for word in line.split() if word not in PUNCTUATION)
        for line in run.stdout.splitlines()
    ]
