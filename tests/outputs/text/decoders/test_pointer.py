"""The pointer: what it mixes, what it can say, and what happens where there is nothing to say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from heads import decode

from plait.config.recipe import load_recipe
from plait.data.vocabulary import EOS, UNK
from plait.outputs.text.decoders.networks.pointer import PointerNetwork
from plait.outputs.text.networks import TextHead
from plait.outputs.text.output import TextOutput, TextTarget
from plait.types import Branches, Fused, Tags, Tokens, UsageError

WIDTH, PLACES = 16, 3
ANIMALS = [f"animal{n}" for n in range(12)]
KNOWN, NEW = ANIMALS[:9], ANIMALS[9:]


def fused(ids: list[list[int]], weights: list[list[float]]) -> Fused:
    """Records that say nothing but their tags."""
    mask = torch.ones(len(ids), PLACES, dtype=torch.bool)
    tags = Tags(torch.tensor(ids), torch.tensor(weights))
    tokens = Tokens(torch.zeros(len(ids), PLACES, WIDTH), mask, tags)
    return Fused(tokens.values.mean(1), Tokens(tokens.values, mask), {"image": tokens})


def head(texts: list[str], names: list[str], **settings: object) -> TextHead:
    settings = {
        "decoder": {"kind": "transformer", "layers": 1, "heads": 2, "dropout": 0.0}
    } | settings
    output = TextOutput(min_count=1, pointer=True, **settings)  # type: ignore[arg-type]
    state = output.fit_inputs(output.fit(texts, Path()), {"image": names})
    torch.manual_seed(0)
    made = output.with_state(state).head(WIDTH, ["image"], True)
    assert isinstance(made, TextHead)
    return made.eval()


def test_the_names_of_tags_join_the_vocabulary() -> None:
    made = head(["a dog"], ["dog", "cat", "ice cream"])
    tokenizer = made.output.tokenizer
    assert tokenizer.units()[4:] == ["a", "dog", "cat"]
    assert made.output.state["tags"]["image"] == [*tokenizer.encode("dog cat"), UNK]


def test_the_vocabulary_keeps_to_its_size() -> None:
    words = [f"w{n}" for n in range(20)]
    made = head(["a dog"], words, vocabulary=10)
    assert len(made.output.tokenizer) == 10
    assert made.output.state["tags"]["image"][4:] == [UNK] * 16


def test_the_mixture_by_hand() -> None:
    made = head(["a dog runs"], ["dog", "cat", "bird"])
    network = made.decoder
    assert isinstance(network, PointerNetwork)
    # The first tag twice, then another, then one that is not there.
    start = network.start(fused([[0, 0, 1, 2]], [[0.5, 0.2, 0.1, 0.0]]))
    hidden, _, _ = network(torch.tensor([[1]]), start)
    mixed = network.log_scores(hidden)[0, 0].exp()
    own, scores, words = hidden[0, 0].split([WIDTH, 4, 4])
    gate = torch.sigmoid(network.gate(own))
    expected = (1 - gate) * network.decoder.log_scores(own).exp()
    attention = scores.softmax(0)
    assert attention[3] == 0
    for share, word in zip(attention.tolist(), words.long().tolist(), strict=True):
        expected[word] += gate.item() * share
    torch.testing.assert_close(mixed, expected)
    assert mixed.sum().item() == pytest.approx(1.0, abs=1e-5)


def test_the_mixture_learns_as_its_formula_says() -> None:
    """Also where two tags are one word."""
    network = head(["a dog runs"], ["dog", "cat", "bird"]).decoder
    assert isinstance(network, PointerNetwork)
    start = network.start(fused([[0, 0, 1, 2]], [[0.5, 0.2, 0.1, 0.0]]))
    hidden = network(torch.tensor([[1]]), start)[0].detach().requires_grad_()
    wanted = torch.rand(network.logits(hidden).shape)
    network.logits(hidden).mul(wanted).sum().backward()
    found = hidden.grad
    hidden.grad = None
    own, scores, words = hidden.split([WIDTH, 4, 4], dim=-1)
    gate = torch.sigmoid(network.gate(own))
    mixed = (1 - gate) * network.decoder.log_scores(own).exp()
    mixed = mixed.scatter_add(-1, words.long(), gate * scores.softmax(-1))
    mixed.log().mul(wanted).sum().backward()
    torch.testing.assert_close(found, hidden.grad)


def test_without_tags_the_decoder_speaks_alone() -> None:
    made = head(["a dog runs"], ["dog", "cat"])
    network = made.decoder
    assert isinstance(network, PointerNetwork)
    start = network.start(fused([[0, 1]], [[0.0, 0.0]]))
    hidden, _, _ = network(torch.tensor([[1]]), start)
    alone = network.decoder.log_scores(hidden[..., :WIDTH])
    torch.testing.assert_close(network.log_scores(hidden), alone)


def test_it_says_words_that_no_training_text_has() -> None:
    """The decoder learns to name the surer tag of animals in its texts, and names others too."""
    made = head([f"it is an {name} here" for name in KNOWN], ANIMALS, label_smoothing=0.0)
    made.train()
    rng = np.random.default_rng(0)
    optimizer = torch.optim.Adam(made.parameters(), lr=0.01)

    def records(first: list[str], second: list[str]) -> Fused:
        ids = [[ANIMALS.index(a), ANIMALS.index(b)] for a, b in zip(first, second, strict=True)]
        return fused(ids, [[0.9, 0.1]] * len(ids))

    for _ in range(150):
        first, second = (rng.choice(KNOWN, 16).tolist() for _ in range(2))
        texts = [f"it is an {name} here" for name in first]
        targets = [TextTarget(((*made.output.tokenizer.encode(t), EOS),)) for t in texts]
        optimizer.zero_grad()
        made.loss(records(first, second), targets).backward()
        optimizer.step()
    made.eval()
    answers = decode(made.output, made, records(NEW, KNOWN[:3]), beam=1, min_words=1)
    assert [answer.value for answer in answers] == [f"it is an {name} here" for name in NEW]


def test_a_recipe_without_anything_to_point_at_is_refused() -> None:
    output = TextOutput(min_count=1, pointer=True)
    with pytest.raises(UsageError, match="no input gives words"):
        output.fit_inputs(output.fit(["a dog"], Path()), {})


def test_decoders_without_an_embedding_are_refused() -> None:
    changes = ["outputs.caption.settings.pointer=true", "outputs.caption.settings.decoder.kind=ctc",
               "outputs.caption.settings.detected_words=0"]  # fmt: skip
    with pytest.raises(UsageError, match="the decoder ctc can't have a pointer"):
        load_recipe("captioning", changes)


def test_branches_are_refused() -> None:
    made = head(["a dog"], ["dog"])
    branches = Branches(("image", "text"), 1.0, detached=False, stacked=False)
    with pytest.raises(UsageError, match="pointer can't be combined"):
        made.output.head(WIDTH, ["image", "text"], True, branches)


def test_the_new_words_need_a_language_model_that_knows_them() -> None:
    with pytest.raises(ValueError, match="language model ngram knows the training texts' words"):
        TextOutput(min_count=1, pointer=True, language_model={"kind": "ngram"})
    TextOutput(min_count=1, pointer=True, language_model={"kind": "neural"})


def test_words_without_a_place_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    output = TextOutput(min_count=1, pointer=True, vocabulary=10)
    state = output.fit(["a dog runs very far"], Path())
    with caplog.at_level("WARNING", logger="plait"):
        output.fit_inputs(state, {"image": ["dog", "otter", "badger"]})
    assert "1 of the 3 words that inputs give have no place" in caplog.text
