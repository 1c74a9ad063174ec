from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from plait.data.vocabulary import (
    BOS,
    EOS,
    UNK,
    from_state,
    join_words,
    learn_vocabulary,
    split_words,
)
from plait.nn.blocks import masked_mean, token_cross_entropy
from plait.outputs.text.head import Sentence
from plait.outputs.text.metrics.cider import CiderReward
from plait.outputs.text.sentence import TextOutput, as_sentences
from plait.types import BadCell, Fused, PlaitError, Tokens, UsageError

SENTENCES = ["A dog runs.", "A dog, running!", "Two dogs run."]
SMALL = {"kind": "transformer", "layers": 1, "memory_layers": 0, "heads": 2, "dropout": 0.0}


def fused(batch: int) -> Fused:
    values = torch.randn(batch, 4, 16, generator=torch.Generator().manual_seed(3))
    tokens = Tokens(values, torch.ones(batch, 4, dtype=torch.bool))
    return Fused(masked_mean(values, tokens.mask), tokens, {"image": tokens})


def test_words_are_lowered_and_punctuation_stands_apart() -> None:
    assert split_words("A well-known dog's ball, 3.5 m!") == [
        "a", "well-known", "dog's", "ball", ",", "3.5", "m", "!",
    ]  # fmt: skip
    assert split_words("red,white ball.The 1,000.5 b.") == [
        "red", ",", "white", "ball", ".", "the", "1,000.5", "b", "."
    ]  # fmt: skip
    assert split_words("A dog, running!", punctuation=False) == ["a", "dog", "running"]
    assert join_words(["a", "dog", ",", "running", "(", "fast", ")", "."]) == (
        "a dog, running (fast)."
    )


@pytest.mark.parametrize("unit", ["words", "subwords"])
def test_vocabulary_survives_its_state(unit: str) -> None:
    vocabulary = learn_vocabulary(SENTENCES, unit, 1, 400, True)  # type: ignore[arg-type]
    again = from_state(vocabulary.to_state())
    assert len(again) == len(vocabulary)
    for sentence in SENTENCES:
        assert again.encode(sentence) == vocabulary.encode(sentence)
        assert vocabulary.decode(vocabulary.encode(sentence)) == sentence.lower()


def test_rare_words_are_unknown_and_the_size_is_kept() -> None:
    vocabulary = learn_vocabulary(SENTENCES, "words", 2, 10, False)
    assert vocabulary.to_state()["words"] == ["a", "dog"]
    assert vocabulary.encode("a cat") == [4, 3]
    assert len(learn_vocabulary(SENTENCES, "words", 1, 6, False)) == 6


def test_no_word_often_enough_is_an_error() -> None:
    with pytest.raises(PlaitError, match="min_count"):
        learn_vocabulary(SENTENCES, "words", 50, 100, True)


def test_loss_by_hand() -> None:
    logits = torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 0.0]])
    first = math.log(math.exp(1) + 1 + math.exp(2)) - 2.0
    expected = (first + math.log(3)) / 2
    assert float(token_cross_entropy(logits, torch.tensor([2, 1]))) == pytest.approx(expected)
    # Smoothing e moves e of the target's weight evenly over all classes.
    uniform = math.log(math.exp(1) + 1 + math.exp(2)) - 1.0
    smooth = 0.9 * first + 0.1 * uniform
    one = token_cross_entropy(logits[:1], torch.tensor([2]), smoothing=0.1)
    assert float(one) == pytest.approx(smooth)


@pytest.mark.parametrize("kind", ["transformer", "gru-attention"])
def test_padding_does_not_change_the_loss(kind: str) -> None:
    settings = SMALL if kind == "transformer" else {"kind": kind, "units": 16, "dropout": 0.0}
    output = TextOutput(min_count=1, decoder=settings)
    state = output.fit(SENTENCES)
    torch.manual_seed(0)
    head = output.head(state, 16, ["image"], True).eval()
    read = output.reader(state)
    short, long = read("A dog."), read("Two dogs run, a dog runs, a dog, a dog.")
    context = fused(2)
    together = head.loss(context, [short, long])
    words = [len(t.ids[0]) for t in (short, long)]
    apart = []
    for i, target in enumerate((short, long)):
        tokens = Tokens(context.tokens.values[i : i + 1], context.tokens.mask[i : i + 1])
        apart.append(
            head.loss(Fused(context.pooled[i : i + 1], tokens, {"image": tokens}), [target])
        )
    mean = (apart[0] * words[0] + apart[1] * words[1]) / sum(words)
    torch.testing.assert_close(together, mean)


def test_reinforcing_raises_the_reward() -> None:
    """After a few steps of the second stage, what is drawn scores higher."""
    output = TextOutput(min_count=1, decoder=SMALL, smoothing=0.0)
    state = output.fit(SENTENCES)
    read, vocabulary = output.reader(state), from_state(state)
    torch.manual_seed(0)
    head = output.head(state, 16, ["image"], True)
    targets = [read("two dogs run."), read("a dog, running!")]
    reward = CiderReward([target.ids for target in targets])

    def mean_reward() -> float:
        said = head.decode(fused(2), sample=True, num=32, seed=1, min_words=1)
        texts = [(row, t) for row, p in enumerate(said)
                 for t in (p.value, *(a.value for a in p.alternatives))]  # fmt: skip
        ids = [[*vocabulary.encode(text), EOS] for _, text in texts]
        return float(reward.scores([row for row, _ in texts], ids).mean())

    head.begin(targets)
    optimizer = torch.optim.Adam(head.parameters(), 0.01)
    before = mean_reward()
    for _ in range(60):
        loss = head.reinforce(fused(2), targets, 16)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert mean_reward() > before + 1


def test_word_dropout_hides_words_said_while_learning_only() -> None:
    output = TextOutput(min_count=1, decoder=SMALL, word_dropout=0.5)
    state = output.fit(SENTENCES)
    head = output.head(state, 16, ["image"], True)
    targets = [output.reader(state)(" ".join(["dog"] * 60))] * 4
    seen: list[torch.Tensor] = []
    head.decoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    head.train().loss(fused(4), targets)
    words = torch.cat([w.flatten() for w in seen])
    assert (words == BOS).sum() == 4
    assert 0.4 < (words == UNK).float().mean() < 0.6
    seen.clear()
    head.eval().loss(fused(4), targets)
    assert not any((w == UNK).any() for w in seen)


@pytest.mark.parametrize("options", [{"beam": 1}, {"beam": 3}, {"sample": True, "num": 3}])
def test_a_sentence_ends_where_no_word_is_left(options: dict[str, Any]) -> None:
    output = TextOutput(min_count=1, decoder=SMALL)
    head = output.head(output.fit([["a dog"]]), 16, ["image"], True).eval()
    for found in head.decode(fused(2), no_repeat=1, min_words=3, **options):
        assert sorted(found.words) == ["a", "dog"]


def test_cells() -> None:
    assert as_sentences(["a", "", None, " b "]) == ["a", "b"]
    assert as_sentences("a") == ["a"]
    assert as_sentences(None) == []
    with pytest.raises(BadCell, match="is no text"):
        as_sentences([3])
    output = TextOutput(min_count=1)
    with pytest.raises(BadCell, match="empty"):
        output.reader(output.fit(SENTENCES))("")


def test_unknown_decoding_option_suggests() -> None:
    output = TextOutput(min_count=1, decoder=SMALL)
    head = output.head(output.fit(SENTENCES), 16, ["image"], True).eval()
    with pytest.raises(UsageError, match="did you mean 'beam'"):
        head.decode(fused(1), beem=3)
    with pytest.raises(UsageError, match="beam"):
        head.decode(fused(1), beam=0)


def test_consensus_weights_by_hand() -> None:
    """The sentence that agrees with the others weighs more; a record's weights have mean 1."""
    references = [
        [[4, 5, 6, 7, 2], [4, 5, 6, 7, 2], [8, 9, 10, 11, 2]],
        [[12, 13, 14, 15, 2], [4, 9, 16, 17, 2], [18, 19, 20, 21, 2]],
    ]
    weights = CiderReward(references).consensus(references, 1.0)
    assert [sum(row) for row in weights] == pytest.approx([3, 3])
    assert weights[0][0] == pytest.approx(weights[0][1])
    # Against the other two, the first scores (10 + a little for the shared end) / 2, the third
    # nothing but that little: e^5 apart.
    assert math.log(weights[0][0] / weights[0][2]) == pytest.approx(5, abs=0.3)
    assert weights[1] == pytest.approx([1, 1, 1], abs=0.2)


def test_consensus_where_words_weigh_nothing() -> None:
    """Words that every photo has count for nothing, in a sentence's likeness to itself too."""
    references = [
        [[4, 5], [4, 6], [4, 6]],
        [[4, 7], [4, 7], [4, 7]],
    ]
    weights = CiderReward(references).consensus(references, 100.0)
    assert weights[1] == pytest.approx([1, 1, 1])
    assert weights[0] == pytest.approx([0, 1.5, 1.5])


def test_consensus_weighs_the_loss() -> None:
    """The loss is the mean over words, each counted with its sentence's weight."""
    output = TextOutput(min_count=1, decoder=SMALL, smoothing=0.0, consensus=0.5)
    state = output.fit(SENTENCES)
    read = output.reader(state)
    torch.manual_seed(0)
    head = output.head(state, 16, ["image"], True).eval()
    whole = read(["two dogs run", "two dogs run.", "a dog, a dog"])
    other = read(["a dog, running!"])
    head.begin([whole, other])
    weights = CiderReward([whole.ids, other.ids]).consensus([whole.ids], 0.5)[0]
    plain = TextOutput(min_count=1, decoder=SMALL, smoothing=0.0)
    same = plain.head(state, 16, ["image"], True).eval()
    same.load_state_dict(head.state_dict())
    context = fused(1)
    losses = [same.loss(context, [Sentence((ids,))]).item() for ids in whole.ids]
    words = [len(ids) for ids in whole.ids]
    sums = [w * n * loss for w, n, loss in zip(weights, words, losses, strict=True)]
    assert head.loss(context, [whole]).item() == pytest.approx(sum(sums) / sum(words), rel=1e-4)
    assert max(weights) > 1.5 * min(weights)


def test_at_a_time_learns_from_some_of_the_texts() -> None:
    output = TextOutput(min_count=1, decoder=SMALL, at_a_time=2)
    state = output.fit(SENTENCES)
    target = output.reader(state)(["a dog", "two dogs", "a dog runs", "two dogs run"])
    head = output.head(state, 16, ["image"], True)
    seen: list[torch.Tensor] = []
    head.decoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    drawn = set()
    for _ in range(20):
        seen.clear()
        head.train().loss(fused(1), [target])
        rows = [tuple(row) for words in seen for row in words.tolist()]
        assert len(set(rows)) == 2
        drawn |= set(rows)
    assert len({tuple(i for i in row if i) for row in drawn}) == 4  # all in the end
    seen.clear()
    head.eval().loss(fused(1), [target])
    assert sum(len(words) for words in seen) == 4


def test_a_text_that_was_cut_has_no_end_to_learn() -> None:
    output = TextOutput(min_count=1, longest=3, decoding={"max_words": 3})  # type: ignore[arg-type]
    read = output.reader(output.fit(SENTENCES))
    (whole,), (cut,) = read("a dog").ids, read("a dog, running!").ids
    assert whole[-1] == EOS
    assert len(whole) == 3
    assert EOS not in cut
    assert len(cut) == 3
