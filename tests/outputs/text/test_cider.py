"""The CIDEr-D reward: by hand, and equal to the published scorer."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pycocoevalcap.cider.cider_scorer import CiderScorer

from plait.outputs.text.metrics.cider import CiderReward
from plait.types import PlaitError

A, DOG, CAT, END = 4, 5, 6, 2
Corpus = list[list[list[int]]]


def published(references: Corpus, hypotheses: list[list[int]]) -> np.ndarray:
    scorer = CiderScorer(n=4, sigma=6.0)
    for hypothesis, captions in zip(hypotheses, references, strict=True):
        scorer += (text(hypothesis), [text(caption) for caption in captions])
    return np.asarray(scorer.compute_score()[1])


def text(tokens: list[int]) -> str:
    return " ".join(map(str, tokens))


def test_by_hand_equal_captions() -> None:
    """``a`` is in both photos, so weighs nothing; one- and two-grams agree, longer ones are not."""
    reward = CiderReward([[[A, DOG]], [[A, CAT]]])
    assert reward.scores([0, 1], [[A, DOG], [A, CAT]]) == pytest.approx([5.0, 5.0])
    assert reward.scores([0, 1], [[A, CAT], [A, DOG]]) == pytest.approx([0.0, 0.0])


def test_by_hand_repetition_is_clipped() -> None:
    """``dog dog`` against ``dog``: cosine 1 clipped to 1/2; one bigram longer, so exp(-1/72)."""
    reward = CiderReward([[[DOG]], [[CAT]]])
    expected = 10 / 4 * 0.5 * math.exp(-1 / 72)
    assert reward.scores([0], [[DOG, DOG]]) == pytest.approx([expected])


def test_equals_the_published_scorer_on_made_captions() -> None:
    rng = random.Random(3)
    references = [[made(rng, 20) for _ in range(rng.randint(1, 5))] for _ in range(60)]
    hypotheses = [made(rng, 24) for _ in references]  # four of the words are in no reference
    got = CiderReward(references).scores(range(60), hypotheses)
    np.testing.assert_allclose(got, published(references, hypotheses), rtol=1e-12, atol=1e-12)
    assert got.max() > 0.1


def made(rng: random.Random, words: int) -> list[int]:
    return [rng.randrange(3, 3 + words) for _ in range(rng.randint(0, 12))] + [END]


sentence = st.lists(st.integers(0, 5), max_size=7)
corpus = st.lists(st.tuples(sentence, st.lists(sentence, min_size=1, max_size=3)), min_size=1)


@given(corpus)
@settings(max_examples=60, deadline=None)
def test_equals_the_published_scorer_on_any_captions(
    photos: list[tuple[list[int], list[list[int]]]],
) -> None:
    hypotheses = [hypothesis for hypothesis, _ in photos]
    references = [captions for _, captions in photos]
    # The published scorer stops where no reference has a word.
    assume(any(caption for captions in references for caption in captions))
    got = CiderReward(references).scores(range(len(photos)), hypotheses)
    np.testing.assert_allclose(got, published(references, hypotheses), rtol=1e-9, atol=1e-9)


def test_a_caption_ignores_its_batch() -> None:
    rng = random.Random(5)
    references = [[made(rng, 9) for _ in range(5)] for _ in range(20)]
    hypotheses = [made(rng, 12) for _ in range(50)]
    photos = [rng.randrange(20) for _ in hypotheses]  # several of one photo, in any order
    reward = CiderReward(references)
    together = reward.scores(photos, hypotheses)
    alone = [reward.scores([p], [h])[0] for p, h in zip(photos, hypotheses, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_large_ids_and_long_vocabularies_do_not_collide() -> None:
    big = (1 << 31) - 1
    references = [[[big, 0, big - 1, 1]], [[0, big, 1, big - 1]], [[1, 1, 1, 1]]]
    hypotheses = [[big, 0, big - 1], [big, 0, 1], [1, 1, big - 2, big - 2]]
    got = CiderReward(references).scores(range(3), hypotheses)
    np.testing.assert_allclose(got, published(references, hypotheses), rtol=1e-12)


def test_empty_hypotheses() -> None:
    reward = CiderReward([[[A, DOG]], [[A, CAT]]])
    assert reward.scores([], []).shape == (0,)
    assert reward.scores([0], [[]]).tolist() == [0.0]


def test_mistakes_are_named() -> None:
    with pytest.raises(PlaitError, match="photo 1"):
        CiderReward([[[A]], []])
    with pytest.raises(PlaitError, match="no reference"):
        CiderReward([])
    reward = CiderReward([[[A]]])
    with pytest.raises(IndexError, match="0 to 0"):
        reward.scores([1], [[A]])
    with pytest.raises(ValueError, match="as many photos"):
        reward.scores([0], [[A], [A]])
    with pytest.raises(ValueError, match="token ids"):
        reward.scores([0], [[-1]])
