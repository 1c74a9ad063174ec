"""The CIDEr-D reward: by hand, equal to the published scorer, and to the formula anywhere."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from plait.outputs.text.metrics.cider import CiderReward
from plait.types import PlaitError

A, DOG, CAT, END = 4, 5, 6, 2
Corpus = list[list[list[int]]]


def by_formula(references: Corpus, hypotheses: list[list[int]]) -> np.ndarray:
    """CIDEr-D (arXiv:1411.5726, section 5) word for word, with a sentence's bigrams as its length,
    as the published scorer has it."""
    frequencies: Counter[tuple[int, ...]] = Counter()
    for captions in references:
        frequencies.update({gram for caption in captions for gram in grams(caption)})
    scores = []
    for hypothesis, captions in zip(hypotheses, references, strict=True):
        total = 0.0
        for order in (1, 2, 3, 4):
            for caption in captions:
                g, s = (
                    {
                        gram: count * math.log(len(references) / max(1, frequencies[gram]))
                        for gram, count in grams(tokens).items()
                        if len(gram) == order
                    }
                    for tokens in (hypothesis, caption)
                )
                norms = math.sqrt(sum(v**2 for v in g.values()) * sum(v**2 for v in s.values()))
                alike = sum(min(g[gram], s[gram]) * s[gram] for gram in g.keys() & s.keys())
                gap = max(len(hypothesis) - 1, 0) - max(len(caption) - 1, 0)
                if norms:
                    total += math.exp(-(gap**2) / 72) * alike / norms / len(captions)
        scores.append(10 / 4 * total)
    return np.array(scores)


def grams(tokens: list[int]) -> Counter[tuple[int, ...]]:
    starts = range(len(tokens))
    return Counter(
        tuple(tokens[i : i + n]) for n in (1, 2, 3, 4) for i in starts if i + n <= len(tokens)
    )


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


def test_equals_the_published_scorer() -> None:
    golden = json.loads((Path(__file__).parents[3] / "golden" / "caption_scores.json").read_text())
    references, hypotheses = golden["ids"]["references"], golden["ids"]["hypotheses"]
    got = CiderReward(references).scores(range(len(references)), hypotheses)
    np.testing.assert_allclose(got, golden["ids"]["cider"], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(by_formula(references, hypotheses), got, rtol=1e-9, atol=1e-9)
    assert got.max() > 0.1


def made(rng: random.Random, words: int) -> list[int]:
    return [rng.randrange(3, 3 + words) for _ in range(rng.randint(0, 12))] + [END]


sentence = st.lists(st.integers(0, 5), max_size=7)
corpus = st.lists(st.tuples(sentence, st.lists(sentence, min_size=1, max_size=3)), min_size=1)


@given(corpus)
@settings(max_examples=60, deadline=None)
def test_equals_the_formula_on_any_captions(
    photos: list[tuple[list[int], list[list[int]]]],
) -> None:
    hypotheses = [hypothesis for hypothesis, _ in photos]
    references = [captions for _, captions in photos]
    assume(any(caption for captions in references for caption in captions))
    got = CiderReward(references).scores(range(len(photos)), hypotheses)
    np.testing.assert_allclose(got, by_formula(references, hypotheses), rtol=1e-9, atol=1e-9)


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
    np.testing.assert_allclose(got, by_formula(references, hypotheses), rtol=1e-12)


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
