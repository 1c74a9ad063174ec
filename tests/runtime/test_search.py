"""The search in numpy finds what the search in torch finds, from the same decoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from plait.data.vocabulary import EOS
from plait.outputs.text import search
from plait.outputs.text.decoders.base import Decoder, DecoderState
from plait.outputs.text.decoders.transformer import TransformerDecoder
from plait.outputs.text.decoding import NEVER_SAID, Decoding, Limits
from plait.runtime.search import (
    Floats,
    Ints,
    Speech,
    Tensors,
    _truncate,
    beam_search,
    sample,
    word_scores,
)
from plait.types import Fused, Tokens

WIDTH, WORDS, RECORDS = 16, 20, 19


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    torch.manual_seed(0)
    found = TransformerDecoder(WORDS, WIDTH, 12, layers=1, heads=2).eval()
    torch.nn.init.normal_(found.embedding.weight)  # so that words differ in how likely they are
    return found


@pytest.fixture(scope="module")
def start(decoder: Decoder) -> DecoderState:
    torch.manual_seed(1)
    values, mask = torch.randn(RECORDS, 5, WIDTH), torch.ones(RECORDS, 5, dtype=torch.bool)
    tokens = Tokens(values, mask)
    with torch.no_grad():
        return decoder.start(Fused(values.mean(1), tokens, {"a": tokens}))


def speech(decoder: Decoder, start: DecoderState) -> Speech:
    def tensors(arrays: Tensors) -> dict[str, torch.Tensor]:
        return {name: torch.from_numpy(value) for name, value in arrays.items()}

    @torch.no_grad()
    def say(words: Ints, memory: Tensors, past: Tensors) -> tuple[Floats, Tensors]:
        state = DecoderState(tensors(memory), tensors(past))
        hidden, _, after = decoder(torch.from_numpy(words)[:, None], state)
        return decoder.logits(hidden[:, 0]).numpy(), arrays(after.past)

    return Speech(say, arrays(start.memory), arrays(start.past))


def arrays(tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    return {name: value.numpy() for name, value in tensors.items()}


@pytest.mark.parametrize("beams", [1, 3, 25])
@pytest.mark.parametrize("penalty", [0.0, 0.8])
@pytest.mark.parametrize("limits", [Limits(1, 9, 2), Limits(4, 6, 0), Limits(0, 1, 3)])
def test_the_same_sentences(
    decoder: Decoder, start: DecoderState, beams: int, penalty: float, limits: Limits
) -> None:
    with torch.no_grad():
        wanted = search.beam_search(decoder, start, beams, penalty, limits)
    found = beam_search(speech(decoder, start), RECORDS, beams, penalty, limits)
    real = torch.isfinite(wanted.scores).numpy()  # what is left over may stand in any order
    np.testing.assert_array_equal(np.isfinite(found.scores), real)
    assert found.ids.shape == wanted.ids.shape
    np.testing.assert_array_equal(found.ids[real], wanted.ids.numpy()[real])
    np.testing.assert_allclose(found.scores[real], wanted.scores.numpy()[real], atol=1e-4)
    np.testing.assert_array_equal(found.lengths[real], wanted.lengths.numpy()[real])


def test_near_zero_temperature_draws_the_greedy_sentence(
    decoder: Decoder, start: DecoderState
) -> None:
    decoding = Decoding(sample=True, temperature=1e-4, num=2, min_words=1, max_words=9, no_repeat=2)
    greedy = beam_search(speech(decoder, start), RECORDS, 1, 0.0, decoding.limits)
    found = sample(speech(decoder, start), RECORDS, decoding)
    for draw in range(2):
        np.testing.assert_array_equal(found.ids[:, draw], greedy.ids[:, 0])


def test_draws_are_as_probable_as_the_words(decoder: Decoder, start: DecoderState) -> None:
    each = 4000
    decoding = Decoding(sample=True, num=64, min_words=1, max_words=1, no_repeat=0)
    one = DecoderState(
        {name: value[:1] for name, value in start.memory.items()},
        {name: value[:1] for name, value in start.past.items()},
    )
    many = decoding.model_copy(update={"num": each})
    found = sample(speech(decoder, one), 1, many).ids[0, :, 0]
    with torch.no_grad():
        logp, _ = search.word_scores(
            decoder, torch.tensor([1]), one, torch.empty(1, 0, dtype=torch.long), decoding.limits
        )
    shares = np.bincount(found, minlength=WORDS) / each
    np.testing.assert_allclose(shares, logp[0].exp().numpy(), atol=0.03)


@pytest.mark.parametrize(("top_k", "top_p", "kept"), [(2, 1.0, 2), (0, 0.5, 2), (0, 0.4, 1)])
def test_only_the_likeliest_are_drawn(top_k: int, top_p: float, kept: int) -> None:
    logp = np.log(np.array([[0.1, 0.45, 0.2, 0.25]], np.float32))
    found = _truncate(logp, top_k, top_p)
    assert sorted(np.flatnonzero(np.isfinite(found[0]))) == [[1], [1, 3]][kept - 1]


def test_what_may_not_be_said() -> None:
    scores = np.zeros((1, 6), np.float32)
    first = word_scores(scores, np.empty((1, 0), np.int64), Limits(1, 5, 2))
    assert set(np.flatnonzero(np.isneginf(first[0]))) == {*NEVER_SAID, EOS}
    again = word_scores(scores, np.array([[4, 5, 4]]), Limits(0, 5, 2))
    assert np.isneginf(again[0, 5])
    assert np.exp(again[0]).sum() == pytest.approx(1.0)
    last = word_scores(scores, np.array([[4, 5]]), Limits(0, 2, 2))
    assert np.flatnonzero(np.isfinite(last[0])).tolist() == [EOS]


@pytest.mark.parametrize("top_p", [1e-300, 1e-46, 1e-9])
def test_one_word_may_always_be_drawn(top_p: float) -> None:
    logp = np.log(np.float32([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]]))
    kept = np.isfinite(_truncate(logp, 0, top_p))
    assert kept.tolist() == [[False, True, False], [True, False, False]]
