"""The search against one in plain Python, and against all sequences that there are."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from plait.data.vocabulary import EOS, UNK
from plait.outputs.base import Steps
from plait.outputs.text.lm.ngram import NGram
from plait.outputs.text.search import (
    DECODER,
    LANGUAGE,
    NEVER_GENERATED,
    Decoding,
    Hypotheses,
    Limits,
    Mixture,
    TokenScorer,
    _draw,
    _truncate,
    beam_search,
    generate,
    restrict,
    sample,
)

VOCABULARY, RECORDS = 9, 19
RAW = {"records": np.arange(RECORDS)}
PLAIN = Mixture({DECODER: 1.0})
Prefix = tuple[int, ...]
Scores = Callable[[int, Prefix], NDArray[np.float32]]
"""A record, and the tokens so far with the start token -> log-probabilities (V,) of the next."""


def random_scores(record: int, prefix: Prefix) -> NDArray[np.float32]:
    """As different as networks' are, the same for the same arguments."""
    logits = 2 * np.random.default_rng([record, *prefix]).normal(size=VOCABULARY)
    logp: NDArray[np.float32] = (logits - np.log(np.exp(logits).sum())).astype(np.float32)
    return logp


class Engine:
    """`Steps` of functions; a state is each row's record and tokens so far."""

    def __init__(self, models: Mapping[str, Scores]) -> None:
        self.models, self.asked = models, 0

    def start(self, raw: Mapping[str, NDArray[Any]], models: Collection[str]) -> Any:
        return [(int(record), ()) for record in next(iter(raw.values()))]

    def step(self, tokens: NDArray[np.int64], state: Any) -> Any:
        after = [(r, (*p, int(token))) for (r, p), token in zip(state, tokens, strict=True)]
        self.asked += len(after)
        scores = {
            name: np.stack([model(*row) for row in after]) for name, model in self.models.items()
        }
        return scores, after

    def select(self, state: Any, rows: NDArray[np.int64]) -> Any:
        return [state[row] for row in rows]

    def attention(self, raw: Any, tokens: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        return {}


def engine(**models: Scores) -> Steps:
    return Engine({DECODER: random_scores, **models})


def allowed(prefix: Prefix, limits: Limits) -> list[int]:
    """The tokens that may follow."""
    words = prefix[1:]
    if len(words) >= limits.max_words:
        return [EOS]
    n = limits.no_repeat
    seen = {words[at : at + n] for at in range(len(words) - n + 1)} if n else set()
    tokens = [
        token
        for token in range(VOCABULARY)
        if token not in NEVER_GENERATED
        and not (token == EOS and len(words) < limits.min_words)
        and not (n and (*words[len(words) - n + 1 :], token)[-n:] in seen)
    ]
    return tokens or [EOS]


def plain_step(record: int, prefix: Prefix, limits: Limits) -> dict[int, float]:
    """Log-probabilities of what may follow, among these."""
    tokens, scores = allowed(prefix, limits), random_scores(record, prefix)
    total = math.log(sum(math.exp(scores[token]) for token in tokens))
    return {token: scores[token] - total for token in tokens}


def plain_beam_search(
    record: int, beams: int, penalty: float, limits: Limits
) -> list[tuple[Prefix, float]]:
    """One record, one hypothesis at a time."""
    found: list[tuple[Prefix, float]] = [((1,), 0.0)]
    for _ in range(limits.max_words + 1):
        longer = [
            (prefix, score)
            if prefix[-1] == EOS
            else [((*prefix, t), score + s) for t, s in plain_step(record, prefix, limits).items()]
            for prefix, score in found
        ]
        flat = [item for part in longer for item in (part if isinstance(part, list) else [part])]
        flat.sort(key=lambda item: -item[1] / (len(item[0]) - 1) ** penalty)
        found = flat[:beams]
    return [(prefix[1:], score) for prefix, score in found]


def rows_of(found: Hypotheses, record: int) -> list[tuple[Prefix, float]]:
    rows = zip(found.token_ids[record], found.scores[record], found.lengths[record], strict=True)
    return [(tuple(ids[: int(n)].tolist()), float(s)) for ids, s, n in rows if np.isfinite(s)]


@pytest.mark.parametrize("beams", [1, 3, 25])
@pytest.mark.parametrize("penalty", [0.0, 0.8])
@pytest.mark.parametrize("limits", [Limits(1, 9, 2), Limits(4, 6, 0), Limits(0, 1, 3)])
def test_beams_are_those_of_a_plain_search(beams: int, penalty: float, limits: Limits) -> None:
    found = beam_search(TokenScorer(engine(), RAW, PLAIN), beams, penalty, limits)
    assert found.token_ids.shape[:2] == (RECORDS, beams)
    for record in range(RECORDS):
        wanted = plain_beam_search(record, beams, penalty, limits)
        mine = rows_of(found, record)
        assert [ids for ids, _ in mine] == [ids for ids, _ in wanted]
        assert [s for _, s in mine] == pytest.approx([s for _, s in wanted], abs=1e-4)


@pytest.mark.parametrize("num", [2, 3, 8])
def test_more_answers_than_beams_begin_with_the_best_of_the_usual_search(num: int) -> None:
    options = Decoding(beam=2, num=num, min_words=1, max_words=9, length_penalty=0.8)
    found = generate(engine(), RAW, PLAIN, options)
    for record in range(RECORDS):
        usual = plain_beam_search(record, 2, 0.8, options.limits)
        wide = plain_beam_search(record, max(2, num), 0.8, options.limits)
        others = [ids for ids, _ in wide if ids != usual[0][0]]
        mine = [ids for ids, _ in rows_of(found, record)]
        assert mine == [usual[0][0], *others][: max(2, num)]


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_with_beams_enough_the_best_of_all_sequences_is_found(penalty: float) -> None:
    limits = Limits(1, 3, 0)
    found = beam_search(TokenScorer(engine(), RAW, PLAIN), 300, penalty, limits)
    words = range(UNK + 1, VOCABULARY)
    every = [(*ids, EOS) for length in (1, 2, 3) for ids in product(words, repeat=length)]
    for record in range(RECORDS):

        def score(ids: Prefix, record: int = record) -> float:
            steps = enumerate(ids)
            return sum(plain_step(record, (1, *ids[:at]), limits)[token] for at, token in steps)

        best = max(every, key=lambda ids: score(ids) / len(ids) ** penalty)
        assert rows_of(found, record)[0][0] == best
        assert rows_of(found, record)[0][1] == pytest.approx(score(best), abs=1e-4)
        assert len(rows_of(found, record)) == len(every)  # there are no others


def test_finished_records_are_dropped() -> None:
    """Beams of all records to the very end would be asked for 19 * 3 * 31 rows."""
    steps = Engine({DECODER: random_scores})
    beam_search(TokenScorer(steps, RAW, PLAIN), 3, 1.0, Limits(1, 30, 0))
    assert steps.asked < RECORDS * 3 * 31 / 2


def test_a_language_model_and_a_bonus_guide_but_do_not_count() -> None:
    """The scores that are given are those of the decoder alone."""
    ngram = NGram.fit([[4, 5, 6], [4, 6]], VOCABULARY, 2)

    def language(record: int, prefix: Prefix) -> NDArray[np.float32]:
        state = np.array([0])
        for token in prefix:
            state = np.array([ngram.start]) if token == 1 else ngram.step(state, np.array([token]))
        return ngram.scores(state)[0]

    decoding = Decoding(beam=4, num=4, length_penalty=0.0, min_words=0, max_words=6, no_repeat=0)
    weights = {DECODER: 0.8, LANGUAGE: 0.6}
    by_numpy = Mixture(weights, bonus=1.5, ngram=ngram, normalise=False)
    by_engine = Mixture(weights, bonus=1.5, normalise=False)
    found = generate(engine(), RAW, by_numpy, decoding)
    again = generate(engine(language=language), RAW, by_engine, decoding)
    np.testing.assert_array_equal(found.token_ids, again.token_ids)
    np.testing.assert_allclose(found.scores, again.scores, rtol=1e-5)
    for record in range(RECORDS):
        for ids, score in rows_of(found, record):
            before = [(1, *ids[:at]) for at in range(len(ids))]
            steps = [0.8 * random_scores(record, p)[t] for p, t in zip(before, ids, strict=True)]
            assert score == pytest.approx(sum(steps), abs=1e-4)
    alone = generate(engine(), RAW, PLAIN, decoding)
    assert found.lengths[:, 0].mean() > alone.lengths[:, 0].mean()  # a word more pays


def test_near_zero_temperature_draws_the_greedy_sequence() -> None:
    decoding = Decoding(sample=True, temperature=1e-4, num=2, min_words=1, max_words=9, no_repeat=2)
    greedy = beam_search(TokenScorer(engine(), RAW, PLAIN), 1, 0.0, decoding.limits)
    found = generate(engine(), RAW, PLAIN, decoding)
    for draw in range(2):
        np.testing.assert_array_equal(found.token_ids[:, draw], greedy.token_ids[:, 0])


def test_draws_are_as_probable_as_the_tokens() -> None:
    each = 4000
    decoding = Decoding(
        sample=True, min_words=1, max_words=1, no_repeat=0, temperature=1.0, top_p=1.0
    )
    many = decoding.model_copy(update={"num": each})
    one = {"records": np.array([3])}
    for alike in (True, False):
        rng = np.random.default_rng(0)
        found = sample(TokenScorer(engine(), one, PLAIN), many, rng, alike)
        shares = np.bincount(found.token_ids[0, :, 0], minlength=VOCABULARY) / each
        wanted = plain_step(3, (1,), decoding.limits)
        for token in range(VOCABULARY):
            assert shares[token] == pytest.approx(math.exp(wanted.get(token, -50)), abs=0.03)


def test_records_are_drawn_alike_or_apart() -> None:
    decoding = Decoding(sample=True, num=2, min_words=1, max_words=5, no_repeat=0)
    same = {"records": np.full(4, 7)}  # the same record four times

    def drawn(alike: bool) -> list[Any]:
        rng = np.random.default_rng(1)
        return sample(TokenScorer(engine(), same, PLAIN), decoding, rng, alike).token_ids.tolist()

    assert all(row == drawn(True)[0] for row in drawn(True))
    assert any(row != drawn(False)[0] for row in drawn(False))


@pytest.mark.parametrize(("top_k", "top_p", "kept"), [(2, 1.0, 2), (0, 0.5, 2), (0, 0.4, 1)])
def test_only_the_likeliest_are_drawn(top_k: int, top_p: float, kept: int) -> None:
    logp = np.log(np.array([[0.1, 0.45, 0.2, 0.25]], np.float32))
    found = _truncate(logp, Decoding(top_k=top_k, top_p=top_p, temperature=1.0))
    assert sorted(np.flatnonzero(np.isfinite(found[0]))) == [[1], [1, 3]][kept - 1]


@pytest.mark.parametrize("top_p", [1e-300, 1e-46, 1e-9])
def test_one_token_may_always_be_drawn(top_p: float) -> None:
    logp = np.log(np.float32([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]]))
    kept = np.isfinite(_truncate(logp, Decoding(top_p=top_p)))
    assert kept.tolist() == [[False, True, False], [True, False, False]]


def test_no_token_without_a_share_is_drawn() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 5, (500, 200)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.8] = -np.inf
    scores[:, 77] = -30.0  # each row has one
    for chance in (rng.random(500), np.zeros(500), np.full(500, np.nextafter(1.0, 0.0))):
        drawn = scores[np.arange(500), _draw(scores, chance)]
        assert np.isfinite(drawn).all()


def uniform(tokens: int) -> NDArray[np.float32]:
    return np.full((1, tokens), -math.log(tokens), np.float32)


def test_what_may_not_follow() -> None:
    first = uniform(6)
    log_kept = restrict(first, np.empty((1, 0), np.int64), Limits(1, 5, 2), Mixture({}))
    assert set(np.flatnonzero(np.isneginf(first[0]))) == {*NEVER_GENERATED, EOS}
    assert math.exp(log_kept[0]) == pytest.approx(2 / 6)
    again = uniform(6)
    log_kept = restrict(again, np.array([[4, 5, 4]]), Limits(0, 5, 2), Mixture({}))
    assert np.isneginf(again[0, 5])
    assert np.exp(again[0] - log_kept[0]).sum() == pytest.approx(1.0)
    last = uniform(6)
    restrict(last, np.array([[4, 5]]), Limits(0, 2, 2), Mixture({}))
    assert np.flatnonzero(np.isfinite(last[0])).tolist() == [EOS]


@pytest.mark.parametrize("normalise", [True, False])
def test_where_no_token_is_left_only_the_end_follows(normalise: bool) -> None:
    scores = uniform(6)
    log_kept = restrict(
        scores, np.array([[4, 5]]), Limits(5, 9, 1), Mixture({}, normalise=normalise)
    )
    assert np.flatnonzero(np.isfinite(scores[0])).tolist() == [EOS]
    assert scores[0, EOS] == log_kept[0] == 0


def test_what_is_left_is_exact_where_hardly_anything_is() -> None:
    """The end is all but certain, but may not come yet."""
    scores = np.array([[-60, -60, 0, -60, -25, -26]], np.float32)
    log_kept = restrict(scores, np.empty((1, 0), np.int64), Limits(1, 5, 0), Mixture({}))
    assert np.exp(scores[0] - log_kept[0]).sum() == pytest.approx(1.0, abs=1e-5)
