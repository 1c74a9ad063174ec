"""Word detectors: their loss by hand, what stands out, and what the decoder is shown."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from heads import decode
from numpy.typing import NDArray

from plait.data.vocabulary import EOS
from plait.nn.base import Arrays
from plait.outputs.text.networks import TextHead, WordDetector
from plait.outputs.text.output import (
    DETECTED,
    PROBABILITIES,
    TextOutput,
    TextTarget,
    bags_of_words,
    word_shares,
)
from plait.types import Fused, Tokens

WIDTH, PLACES = 8, 3
A, DOG, CAT = 5, 6, 7


def fused(values: torch.Tensor, mask: torch.Tensor | None = None) -> Fused:
    mask = torch.ones(values.shape[:2], dtype=torch.bool) if mask is None else mask
    tokens = Tokens(values, mask)
    return Fused(values.mean(1), tokens, {"image": tokens})


def test_a_bag_holds_the_share_of_the_sentences_that_have_the_word() -> None:
    bags = bags_of_words([[[A, DOG, EOS], [A, A, CAT, EOS]], [[CAT, EOS]]], 9)
    assert bags[:, A:].tolist() == [[1.0, 0.5, 0.5, 0.0], [0.0, 0.0, 1.0, 0.0]]
    assert not bags[:, :4].any()  # the end of a sentence is no word


def test_the_loss_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3), -math.log(3)]])  # 1/2, 3/4, 1/4
    bags = torch.tensor([[1.0, 1.0, 0.5]])
    expected = math.log(2) - math.log(3 / 4) - 0.5 * math.log(1 / 4) - 0.5 * math.log(3 / 4)
    assert WordDetector.loss(logits, bags).item() == pytest.approx(expected / 2.5)


def test_places_vote_in_the_exponent_and_masked_places_do_not() -> None:
    detector = WordDetector([0.0] * 9, WIDTH, 2)
    values = torch.randn(1, PLACES, WIDTH)
    votes = detector.vote(values[:, :2])
    mask = torch.tensor([[True, True, False]])
    expected = torch.log(votes.exp().mean(1))
    torch.testing.assert_close(detector.logits(Tokens(values, mask)), expected)


def test_without_a_gradient_the_votes_are_the_same() -> None:
    """They are counted a few records at a time then."""
    detector = WordDetector([0.0] * 9, WIDTH, 2)
    tokens = Tokens(torch.randn(10, PLACES, WIDTH), torch.rand(10, PLACES) < 0.7)
    tokens.mask[:5] = True
    tokens.mask[:, 0] = True
    expected = detector.logits(tokens)
    with torch.no_grad():
        torch.testing.assert_close(detector.logits(tokens), expected)


def test_a_word_that_is_always_there_does_not_stand_out() -> None:
    records = [[[A, DOG, EOS]]] * 2 + [[[A, EOS]]] * 8
    shares = word_shares(records, 9)
    assert (shares[A], shares[DOG], shares[EOS]) == (1.0, 0.2, 0.0)
    detector = WordDetector(shares, WIDTH, 1).eval()
    with torch.no_grad():
        detector.vote.weight.zero_()
        detector.vote.bias[DOG] = 1.0  # more probable than it is anyway, less than "a"
        shown, found = detector(fused(torch.randn(1, PLACES, WIDTH)))
        assert found.words.tolist() == [[DOG]]
        assert found.logits[0, A] > found.logits[0, DOG]
        strength = found.logits[0, DOG].sigmoid() * detector.strength
        torch.testing.assert_close(
            shown.tokens.values[0, PLACES], detector.embedding.weight[DOG] + strength
        )


def head(**settings: object) -> TextHead:
    output = TextOutput(min_count=1, decoder={"kind": "transformer", "heads": 2}, **settings)  # type: ignore[arg-type]
    output = output.with_state(output.fit(["a dog runs", "a cat sleeps here", "a bird"], Path()))
    torch.manual_seed(0)
    made = output.head(WIDTH, ["image"], True)
    assert isinstance(made, TextHead)
    return made


def test_attention_stays_on_the_input() -> None:
    made = head(detected_words=3).eval()
    (answer,) = decode(made.output, made, fused(torch.randn(1, PLACES, WIDTH)), beam=1)
    details = answer.details
    assert details.attention["image"].shape == (len(details.words), PLACES)
    assert len(details.detected) == 3
    assert set(details.detected) <= {"a", "dog", "runs", "cat", "sleeps", "here", "bird"}
    assert all(0 < value < 1 for value in details.detected.values())


def test_detected_words_are_fetched_once_for_all_records() -> None:
    """Each look-up copies a whole tensor from its device."""
    made = head(detected_words=3).eval()
    fetched: list[str] = []

    class Counted(Arrays):
        def __getitem__(self, name: str) -> NDArray[Any]:
            fetched.append(name)
            return super().__getitem__(name)

    given = fused(torch.randn(4, PLACES, WIDTH))
    with torch.no_grad():
        raw = made.raw_outputs(given)
        steps = made.stepper(given, raw)
        answers = made.output.decode(Counted(raw), made.fitted(), made.output.options(), steps)
    assert [len(answer.details.detected) for answer in answers] == [3] * 4
    assert fetched.count(DETECTED) == fetched.count(PROBABILITIES) == 1


def test_the_detectors_learn_beside_the_decoder() -> None:
    made = head(detected_words=3, label_smoothing=0.0)
    targets = [
        TextTarget(((*made.output.tokenizer.encode(s), EOS),)) for s in ("a dog runs", "a bird")
    ]
    made.begin(targets)
    source = fused(torch.randn(2, PLACES, WIDTH))
    made.loss(source, targets).backward()
    assert made.detector is not None
    for parameter in made.detector.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0
    optimizer = torch.optim.Adam(made.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        made.loss(source, targets).backward()
        optimizer.step()
    found = made.detector.logits(source.tokens).sigmoid()
    (dog,), (bird,) = made.output.tokenizer.encode("dog"), made.output.tokenizer.encode("bird")
    assert found[0, dog] > 0.8 > 0.2 > found[0, bird]
    assert found[1, bird] > 0.8 > 0.2 > found[1, dog]


def test_the_beginning_of_training_changes_no_weight() -> None:
    """It may start from a trained model, whose votes are not to be lost."""
    made = head(detected_words=3)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    made.begin([TextTarget(((*made.output.tokenizer.encode("a bird"), EOS),))])
    for name, value in made.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
