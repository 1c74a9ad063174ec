"""Every decoder: one run whole equals word by word; attention, masks, gradients, search."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from searching import draw, search
from torch import Tensor

from plait.config import registry
from plait.data.vocabulary import BOS, EOS, PAD, UNK
from plait.nn.blocks import masked_mean
from plait.outputs.text.decoders.base import Decoder
from plait.outputs.text.decoders.gru_attention import GruAttentionDecoder
from plait.outputs.text.decoders.networks.base import DecoderNetwork, DecoderState
from plait.outputs.text.decoders.networks.gru_attention import GruAttentionNetwork
from plait.outputs.text.search import Hypotheses, Limits
from plait.types import Fused, Tokens

V, D, T, B = 30, 16, 6, 3
NAMES = [name for name in registry.names("decoder") if name != "hub"]  # needs a pretrained model


def fused(batch: int = B, seed: int = 0) -> Fused:
    torch.manual_seed(seed)
    values = torch.randn(batch, T, D)
    mask = torch.ones(batch, T, dtype=torch.bool)
    mask[0, -2:] = False
    tokens = Tokens(values, mask)
    return Fused(masked_mean(values, mask), tokens, {"image": tokens})


@pytest.fixture(params=NAMES)
def decoder(request: pytest.FixtureRequest) -> DecoderNetwork:
    torch.manual_seed(1)
    own: dict[str, Any] = {"gru-attention": {"units": 24}, "transformer": {"heads": 2}}
    settings = {"kind": request.param, **own.get(request.param, {})}
    built: Decoder = registry.build("decoder", settings)
    return built.network(V, D, 20).eval()


def logits(decoder: DecoderNetwork, words: Tensor, context: Fused) -> Tensor:
    hidden, _, _ = decoder(words, decoder.start(context))
    return decoder.logits(hidden)


def test_word_by_word_equals_whole(decoder: DecoderNetwork) -> None:
    words = torch.randint(4, V, (B, 7))
    whole = logits(decoder, words, fused())
    state = decoder.start(fused())
    for i in range(words.shape[1]):
        hidden, _, state = decoder(words[:, i : i + 1], state)
        torch.testing.assert_close(decoder.logits(hidden)[:, 0], whole[:, i])


def test_later_words_change_nothing_before(decoder: DecoderNetwork) -> None:
    words = torch.randint(4, V, (B, 7))
    changed = words.clone()
    changed[:, 4:] = torch.randint(4, V, (B, 3))
    a, b = logits(decoder, words, fused()), logits(decoder, changed, fused())
    torch.testing.assert_close(a[:, :4], b[:, :4])
    assert not torch.allclose(a[:, 5], b[:, 5])


def test_garbage_under_the_mask_changes_nothing(decoder: DecoderNetwork) -> None:
    context = fused()
    values = context.tokens.values.clone()
    values[0, -2:] = 1e3
    tokens = Tokens(values, context.tokens.mask)
    dirty = Fused(masked_mean(values, tokens.mask), tokens, {"image": tokens})
    words = torch.randint(4, V, (B, 5))
    torch.testing.assert_close(logits(decoder, words, context), logits(decoder, words, dirty))


def test_a_record_ignores_its_batch(decoder: DecoderNetwork) -> None:
    words = torch.randint(4, V, (B, 5))
    whole = logits(decoder, words, fused())
    context = fused()
    one = Tokens(context.tokens.values[1:2], context.tokens.mask[1:2])
    alone = Fused(context.pooled[1:2], one, {"image": one})
    torch.testing.assert_close(logits(decoder, words[1:2], alone), whole[1:2])


def test_attention_is_a_distribution_over_real_tokens(decoder: DecoderNetwork) -> None:
    _, attention, _ = decoder(torch.randint(4, V, (B, 5)), decoder.start(fused()), attend=True)
    assert attention is not None
    assert attention.shape == (B, 5, T)
    torch.testing.assert_close(attention.sum(-1), torch.ones(B, 5))
    assert bool((attention[0, :, -2:] == 0).all())


def test_asking_for_attention_changes_no_number(decoder: DecoderNetwork) -> None:
    words = torch.randint(4, V, (B, 5))
    plain, _, _ = decoder(words, decoder.start(fused()))
    attended, _, _ = decoder(words, decoder.start(fused()), attend=True)
    torch.testing.assert_close(plain, attended)


def test_gradients_reach_every_parameter(decoder: DecoderNetwork) -> None:
    decoder.train()
    logits(decoder, torch.randint(4, V, (B, 5)), fused()).square().mean().backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.abs().sum() > 0), name


def greedy(decoder: DecoderNetwork, context: Fused, limits: Limits) -> list[list[int]]:
    """Greedy search in its plainest form: whole sentence again for each word, one at a time."""
    found = []
    for b in range(context.pooled.shape[0]):
        tokens = Tokens(context.tokens.values[b : b + 1], context.tokens.mask[b : b + 1])
        one = Fused(context.pooled[b : b + 1], tokens, {"image": tokens})
        said = [BOS]
        while len(said) <= limits.max_words + 1:
            row = logits(decoder, torch.tensor([said]), one)[0, -1].clone()
            row[[PAD, BOS, UNK]] = float("-inf")
            if len(said) - 1 < limits.min_words:
                row[EOS] = float("-inf")
            if len(said) - 1 >= limits.max_words:
                row[:EOS] = row[EOS + 1 :] = float("-inf")
            said.append(int(row.argmax()))
            if said[-1] == EOS:
                break
        found.append(said[1:])
    return found


@torch.no_grad()
def test_one_beam_is_greedy(decoder: DecoderNetwork) -> None:
    limits = Limits(min_words=2, max_words=9, no_repeat=0)
    found = search(decoder, decoder.start(fused()), 1, 0.7, limits)
    said = [row[0][: row[0].index(EOS) + 1] for row in found.token_ids.tolist()]
    assert said == greedy(decoder, fused(), limits)


@torch.no_grad()
def test_wide_beams_find_the_best_sentence(decoder: DecoderNetwork) -> None:
    """With as many beams as there are sentences, beam search is exhaustive search."""
    limits = Limits(min_words=1, max_words=2, no_repeat=0)
    context = fused()
    found = search(decoder, decoder.start(context), 26 * 27, 0.0, limits)
    best = {}
    for first in range(4, V):
        for second in [EOS, *range(4, V)]:
            words = [first, EOS] if second == EOS else [first, second, EOS]
            best[tuple(words)] = _score(decoder, context, words, limits)
    for b in range(B):
        top = max(best, key=lambda words: float(best[words][b]))
        assert found.token_ids[b, 0, : len(top)].tolist() == list(top)
        assert float(found.scores[b, 0]) == pytest.approx(float(best[top][b]), abs=1e-4)


def _score(decoder: DecoderNetwork, context: Fused, words: list[int], limits: Limits) -> Tensor:
    inputs = torch.tensor([[BOS, *words[:-1]]]).expand(B, -1)
    rows = logits(decoder, inputs, context).clone()
    rows[..., [PAD, BOS, UNK]] = float("-inf")
    rows[:, 0, EOS] = float("-inf")
    logp = rows if decoder.final_scores else rows.log_softmax(-1)
    total = torch.zeros(B)
    for i, word in enumerate(words):
        # At the longest only the end may follow: where scores are probabilities, at no cost.
        if i < limits.max_words or decoder.final_scores:
            total = total + logp[:, i, word]
    return total


@torch.no_grad()
def test_limits_are_kept(decoder: DecoderNetwork) -> None:
    for found in (
        search(decoder, decoder.start(fused()), 4, 1.0, Limits(5, 12, 3)),
        draw(decoder, decoder.start(fused()), 4, Limits(5, 12, 3)),
    ):
        for row in (row for rows in found.token_ids.tolist() for row in rows):
            words = row[: row.index(EOS)]
            assert 5 <= len(words) <= 12
            assert not {PAD, BOS, UNK} & set(words)
            trigrams = [tuple(words[i : i + 3]) for i in range(len(words) - 2)]
            assert len(set(trigrams)) == len(trigrams)


@torch.no_grad()
def test_a_record_s_sentences_do_not_depend_on_its_batch(decoder: DecoderNetwork) -> None:
    """Ended ones leave the batch, at different words: nobody else may notice."""
    start = decoder.start(fused())
    limits = Limits(1, 14, 0)

    def both(state: DecoderState) -> tuple[Hypotheses, Hypotheses]:
        drawn = draw(decoder, state, 20, limits, seed=3, temperature=2.0)
        return search(decoder, state, 3, 0.5, limits), drawn

    together = both(start)
    assert len(set(together[1].lengths.ravel().tolist())) > 2
    for b in range(B):
        for found, alone in zip(together, both(start.select(torch.tensor([b]))), strict=True):
            length = alone.token_ids.shape[-1]
            assert alone.token_ids[0].tolist() == found.token_ids[b, :, :length].tolist()
            assert not found.token_ids[b, :, length:].any()
            np.testing.assert_allclose(alone.scores[0], found.scores[b], rtol=1e-4, atol=1e-4)
            np.testing.assert_array_equal(alone.lengths[0], found.lengths[b])


@torch.no_grad()
def test_sampling_is_seeded_and_bounded(decoder: DecoderNetwork) -> None:
    def drawn(seed: int, **options: Any) -> list[Any]:
        found = draw(decoder, decoder.start(fused()), 5, Limits(1, 8, 0), seed, **options)
        return found.token_ids.tolist()

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    cold = drawn(1, temperature=1e-4)
    assert all(row == rows[0] for rows in cold for row in rows)
    assert drawn(1, top_k=1) == drawn(2, top_k=1)
    assert drawn(1, top_p=1e-6) == drawn(2, top_p=1e-6)


@torch.no_grad()
def test_reordering_the_state_reorders_the_answers(decoder: DecoderNetwork) -> None:
    order = torch.tensor([2, 0, 1])
    words = torch.randint(4, V, (B, 5))
    state = decoder.start(fused())
    _, _, state = decoder(words[:, :1], state)
    straight, _, _ = decoder(words[:, 1:2], state)
    turned, _, _ = decoder(words[order, 1:2], state.select(order))
    torch.testing.assert_close(turned, straight[order])


def test_the_gru_is_torch_s_own() -> None:
    """The recurrence, stepped by hand from its weights, equals `nn.GRU` (Cho et al. 2014)."""
    torch.manual_seed(0)
    settings = GruAttentionDecoder(units=8, dropout=0.0)
    decoder = GruAttentionNetwork(settings, V, D).eval()
    x, h = torch.randn(2, 4, 8), torch.randn(2, 8)
    expected, _ = decoder.gru(x, h[None])
    w_in, w_hid = decoder.gru.weight_ih_l0, decoder.gru.weight_hh_l0
    b_in, b_hid = decoder.gru.bias_ih_l0, decoder.gru.bias_hh_l0
    for t in range(4):
        ri, zi, ni = (x[:, t] @ w_in.T + b_in).chunk(3, -1)
        rh, zh, nh = (h @ w_hid.T + b_hid).chunk(3, -1)
        reset, keep = torch.sigmoid(ri + rh), torch.sigmoid(zi + zh)
        h = (1 - keep) * torch.tanh(ni + reset * nh) + keep * h
        torch.testing.assert_close(h, expected[:, t])
