"""CTC against all ways of saying all sentences, counted one by one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby, product
from math import exp, log

import numpy as np
import pytest
import torch
from searching import search

from plait.data.vocabulary import BOS, EOS
from plait.nn.base import Arrays
from plait.outputs.text.decoders.ctc import BLANK, CtcDecoder, align
from plait.outputs.text.decoders.networks.base import DecoderState, TorchSteps
from plait.outputs.text.decoders.networks.ctc import CtcNetwork
from plait.outputs.text.decoders.transformer import TransformerDecoder
from plait.outputs.text.search import CTC, DECODER, Limits, Mixture, TokenScorer
from plait.types import Fused, Tokens

A, B, C = 4, 5, 6
VOCABULARY, WIDTH, TOKENS = 7, 8, 4


@pytest.fixture(scope="module")
def decoder() -> CtcNetwork:
    torch.manual_seed(3)
    made = CtcNetwork(CtcDecoder(), VOCABULARY, WIDTH)
    torch.nn.init.normal_(made.out.weight, std=1.0)
    return made.eval()


def fused(lengths: Sequence[int] = (TOKENS,), seed: int = 0) -> Fused:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(len(lengths), max(lengths), WIDTH, generator=generator)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    tokens = Tokens(values, mask)
    return Fused(values.mean(1), tokens, {"sound": tokens})


def sentences(emissions: torch.Tensor) -> dict[tuple[int, ...], float]:
    """Every sentence's probability: the sum over all ways through (T, V) log-probabilities."""
    found: dict[tuple[int, ...], float] = defaultdict(float)
    units = (BLANK, A, B, C, 3)
    for way in product(units, repeat=len(emissions)):
        said = tuple(unit for unit, _ in groupby(way) if unit != BLANK)
        found[said] += exp(sum(float(emissions[t, unit]) for t, unit in enumerate(way)))
    return found


def steps(decoder: CtcNetwork, words: Sequence[int], state: DecoderState) -> torch.Tensor:
    """(L, V): the scores after each of the words, said one at a time."""
    scores = []
    for word in words:
        hidden, _, state = decoder(torch.tensor([[word]]), state)
        scores.append(decoder.logits(hidden)[0, 0])
    return torch.stack(scores)


@torch.no_grad()
def test_scores_are_those_of_all_ways(decoder: CtcNetwork) -> None:
    seen = fused()
    every = sentences(decoder.emissions(seen)[0])
    assert sum(every.values()) == pytest.approx(1, abs=1e-5)
    for said in [(), (A,), (A, A), (A, B), (B, A, B), (C, C)]:
        scores = steps(decoder, [BOS, *said], decoder.start(seen))
        for place, word in enumerate([*said, EOS]):
            before = said[:place]
            begun = sum(p for s, p in every.items() if s[:place] == before)
            wanted = [*before, word]
            if word == EOS:
                probable = every[said]
            else:
                probable = sum(p for s, p in every.items() if list(s[: place + 1]) == wanted)
            assert float(scores[place, word]) == pytest.approx(log(probable / begun), abs=1e-3)


@torch.no_grad()
def test_its_loss_is_that_of_all_ways(decoder: CtcNetwork) -> None:
    seen = fused((TOKENS, 3))
    every = [sentences(decoder.emissions(seen)[row, :length]) for row, length in ((0, 4), (1, 3))]
    loss = decoder.sequence_loss(seen, [0, 1, 1], [(A, B, EOS), (C,), (B, B, EOS)])
    wanted = [log(every[0][A, B]) / 2, log(every[1][(C,)]), log(every[1][B, B]) / 2]
    assert float(loss) == pytest.approx(-np.mean(wanted), abs=1e-4)


@torch.no_grad()
def test_nothing_may_be_said(decoder: CtcNetwork) -> None:
    seen = fused()
    loss = decoder.sequence_loss(seen, [0], [(EOS,)])
    wanted = log(sentences(decoder.emissions(seen)[0])[()])
    assert float(loss) == pytest.approx(-wanted, abs=1e-4)


@torch.no_grad()
def test_what_can_not_be_said_teaches_nothing(decoder: CtcNetwork) -> None:
    seen = fused((2,))
    assert float(decoder.sequence_loss(seen, [0], [(A, A)])) == 0  # needs a pause between
    assert float(decoder.sequence_loss(seen, [0], [()])) > 0


@torch.no_grad()
def test_a_long_text_scores_what_its_loss_says(decoder: CtcNetwork) -> None:
    """The sum of the steps is what PyTorch's own CTC loss finds, in float64."""
    for tokens, units in [(60, 20), (1200, 350)]:
        seen = fused([tokens], seed=tokens)
        drawn = torch.randint(A, C + 1, (units,), generator=torch.Generator().manual_seed(1))
        said = drawn.tolist()
        scores = decoder(torch.tensor([[BOS, *said]]), decoder.start(seen))[0][0]
        total = scores.gather(1, torch.tensor([*said, EOS])[:, None]).double().sum()
        wanted = -torch.nn.functional.ctc_loss(
            decoder.emissions(seen)[0].double(), drawn, [tokens], [units], BLANK, reduction="sum"
        )
        assert float(total) == pytest.approx(float(wanted), rel=1e-5)


@torch.no_grad()
def test_no_tokens_say_nothing_and_stay_finite(decoder: CtcNetwork) -> None:
    tokens = Tokens(torch.zeros(1, 3, WIDTH), torch.zeros(1, 3, dtype=torch.bool))
    seen = Fused(tokens.values[:, 0], tokens, {"sound": tokens})
    scores, attention, _ = decoder(torch.tensor([[BOS, A]]), decoder.start(seen), attend=True)
    assert attention is not None
    assert scores.isfinite().all()
    assert attention.isfinite().all()
    assert int(scores[0, 0].argmax()) == EOS
    assert align(np.zeros((0, VOCABULARY), np.float32), [A, B]) == [range(0)] * 2


@torch.no_grad()
def test_padding_changes_nothing(decoder: CtcNetwork) -> None:
    both = fused((TOKENS, 3))
    short = Tokens(both.tokens.values[1:, :3], both.tokens.mask[1:, :3])
    alone = Fused(both.pooled[1:], short, {"sound": short})
    for said in [(A, B), (A, A)]:
        padded = steps(decoder, [BOS, *said], decoder.start(both).select(torch.tensor([1])))
        single = steps(decoder, [BOS, *said], decoder.start(alone))
        torch.testing.assert_close(padded.clamp(min=-30), single.clamp(min=-30))


@torch.no_grad()
def test_the_likeliest_sentence_is_found(decoder: CtcNetwork) -> None:
    limits = Limits(0, 6, 0)
    for seed in range(8):
        seen = fused(seed=seed)
        every = sentences(decoder.emissions(seen)[0])
        found = search(decoder, decoder.start(seen), 20, 0.0, limits)
        said = tuple(word for word in found.token_ids[0, 0].tolist() if word > EOS)
        # The unknown word is never said; of the others the likeliest is found.
        best = max((p, s) for s, p in every.items() if 3 not in s)
        assert said == best[1]
        assert float(found.scores[0, 0]) == pytest.approx(log(best[0]), abs=1e-3)


def test_alignment_is_the_likeliest_way() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        emissions = np.log(rng.dirichlet(np.ones(VOCABULARY), size=6)).astype(np.float32)
        units = rng.choice([A, B], size=3).tolist()
        ways = [
            way
            for way in product((BLANK, A, B), repeat=6)
            if [unit for unit, _ in groupby(way) if unit != BLANK] == units
        ]
        best = max(ways, key=lambda way: sum(emissions[t, unit] for t, unit in enumerate(way)))
        runs, at = [], 0
        for unit, run in groupby(best):
            length = len(list(run))
            runs += [range(at, at + length)] if unit != BLANK else []
            at += length
        assert align(emissions, units) == runs
    assert align(emissions, [A, A, A, A]) == [range(0)] * 4
    assert align(emissions, []) == []


@torch.no_grad()
def test_attention_is_where_the_next_word_begins(decoder: CtcNetwork) -> None:
    seen = fused()
    emissions = decoder.emissions(seen)[0]
    _, looks, _ = decoder(torch.tensor([[BOS, A]]), decoder.start(seen), attend=True)
    assert looks is not None
    begun = [np.zeros(TOKENS), np.zeros(TOKENS)]
    for way in product((BLANK, A, B, C, 3), repeat=TOKENS):
        chance = exp(sum(float(emissions[t, unit]) for t, unit in enumerate(way)))
        starts = [t for t, u in enumerate(way) if u != BLANK and (t == 0 or way[t - 1] != u)]
        for place in range(2):
            if len(starts) > place and (place == 0 or way[starts[0]] == A):
                begun[place][starts[place]] += chance
    for place in range(2):
        found = looks[0, place].numpy()
        np.testing.assert_allclose(found, begun[place] / begun[place].sum(), atol=1e-5)


@torch.no_grad()
def test_scores_add_up(decoder: CtcNetwork) -> None:
    """Of a decoder, CTC and the bonus for a word more; a score by the input alone has no bonus."""
    torch.manual_seed(0)
    attends = TransformerDecoder(layers=1, heads=2).network(VOCABULARY, WIDTH, 12).eval()
    seen = fused((TOKENS, 3))
    networks = {DECODER: attends, CTC: decoder}
    starts = {name: network.start(seen) for name, network in networks.items()}
    mixture = Mixture({DECODER: 0.7, CTC: 0.3}, bonus=0.5, normalise=False)
    scorer = TokenScorer(TorchSteps(networks, starts), Arrays(starts[DECODER].memory), mixture)
    words = torch.tensor([[BOS, A, B], [BOS, C, C]])
    by_attention = attends.log_scores(attends(words, starts[DECODER])[0])
    by_time, _, _ = decoder(words, starts[CTC])
    total = 0.7 * by_attention + 0.3 * by_time
    for place in range(words.shape[1]):
        scores, by_input = scorer.next(words[:, place].numpy())
        np.testing.assert_allclose(by_input, total[:, place].numpy(), rtol=1e-4)
        by_input = by_input + 0.5
        by_input[:, EOS] -= 0.5
        np.testing.assert_allclose(scores, by_input, rtol=1e-5)


def test_texts_that_do_not_fit_are_counted_in_training() -> None:
    """A pair of equal units takes a token between them."""
    texts = [[A, B, C, A, EOS], [A, A, B, EOS], [A, A, B, B, EOS], [A, B, C, A, B, EOS]]
    learning = CtcNetwork(CtcDecoder(), VOCABULARY, WIDTH).train()
    learning.sequence_loss(fused(), [0] * len(texts), texts)
    assert (learning.impossible, learning.seen) == (2, 4)
    learning.eval().sequence_loss(fused(), [0] * len(texts), texts)
    assert learning.seen == 4
