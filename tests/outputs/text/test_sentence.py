from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from heads import decode

from plait.data.vocabulary import (
    BOS,
    EOS,
    UNK,
    fit_vocabulary,
    join_words,
    load_vocabulary,
    split_words,
)
from plait.nn.base import Sampling
from plait.nn.blocks import masked_mean, token_cross_entropy
from plait.outputs.text.metrics.cider import CiderReward
from plait.outputs.text.networks import TextHead
from plait.outputs.text.output import TextOutput, TextTarget, as_texts
from plait.types import BadCell, Fused, PlaitError, Tokens, UsageError

SENTENCES = ["A dog runs.", "A dog, running!", "Two dogs run."]
SMALL = {"kind": "transformer", "layers": 1, "memory_layers": 0, "heads": 2, "dropout": 0.0}


def fused(batch: int) -> Fused:
    values = torch.randn(batch, 4, 16, generator=torch.Generator().manual_seed(3))
    tokens = Tokens(values, torch.ones(batch, 4, dtype=torch.bool))
    return Fused(masked_mean(values, tokens.mask), tokens, {"image": tokens})


def built(texts: Any = SENTENCES, **settings: Any) -> tuple[TextOutput, TextHead]:
    output = TextOutput(min_count=1, **{"decoder": SMALL, **settings})
    output = output.with_state(output.fit(texts, Path()))
    torch.manual_seed(0)
    head = output.head(16, ["image"], True)
    assert isinstance(head, TextHead)
    return output, head


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
    vocabulary = fit_vocabulary(SENTENCES, unit, 1, 400, True)  # type: ignore[arg-type]
    again = load_vocabulary(vocabulary.to_state())
    assert len(again) == len(vocabulary)
    for sentence in SENTENCES:
        assert again.encode(sentence) == vocabulary.encode(sentence)
        assert vocabulary.decode(vocabulary.encode(sentence)) == sentence.lower()


def test_rare_words_are_unknown_and_the_size_is_kept() -> None:
    vocabulary = fit_vocabulary(SENTENCES, "words", 2, 10, False)
    assert vocabulary.to_state()["words"] == ["a", "dog"]
    assert vocabulary.encode("a cat") == [4, 3]
    assert len(fit_vocabulary(SENTENCES, "words", 1, 6, False)) == 6


def test_no_word_often_enough_is_an_error() -> None:
    with pytest.raises(PlaitError, match="min_count"):
        fit_vocabulary(SENTENCES, "words", 50, 100, True)


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
    output, head = built(decoder=settings)
    head.eval()
    texts = "A dog.", "Two dogs run, a dog runs, a dog, a dog."
    short, long = (output.read(text, Path()) for text in texts)
    context = fused(2)
    together = head.loss(context, [short, long])
    words = [len(t.token_ids[0]) for t in (short, long)]
    apart = []
    for i, target in enumerate((short, long)):
        tokens = Tokens(context.tokens.values[i : i + 1], context.tokens.mask[i : i + 1])
        apart.append(
            head.loss(Fused(context.pooled[i : i + 1], tokens, {"image": tokens}), [target])
        )
    mean = (apart[0] * words[0] + apart[1] * words[1]) / sum(words)
    torch.testing.assert_close(together, mean)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_reinforcing_raises_the_reward(temperature: float) -> None:
    """After a few steps of the last stage, what is drawn scores higher."""
    output, head = built(label_smoothing=0.0)
    targets = [output.read(text, Path()) for text in ("two dogs run.", "a dog, running!")]
    reward = CiderReward([target.token_ids for target in targets])

    def mean_reward() -> float:
        said = decode(output, head, fused(2), sample=True, num=32, seed=1, min_words=1,
                      temperature=temperature)  # fmt: skip
        texts = [(row, t) for row, p in enumerate(said)
                 for t in (p.value, *(a.value for a in p.alternatives))]  # fmt: skip
        ids = [[*output.tokenizer.encode(text), EOS] for _, text in texts]
        return float(reward.scores([row for row, _ in texts], ids).mean())

    head.begin(targets)
    optimizer = torch.optim.Adam(head.parameters(), 0.01)
    before = mean_reward()
    for _ in range(60):
        loss = head.reinforce(fused(2), targets, Sampling(16, temperature))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert mean_reward() > before + 1


def test_word_dropout_hides_words_said_while_learning_only() -> None:
    output, head = built(word_dropout=0.5)
    targets = [output.read(" ".join(["dog"] * 60), Path())] * 4
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
    output, head = built([["a dog"]])
    for found in decode(output, head.eval(), fused(2), no_repeat=1, min_words=3, **options):
        assert sorted(output.words(found)) == ["a", "dog"]


def test_cells() -> None:
    assert as_texts(["a", "", None, " b "]) == ["a", "b"]
    assert as_texts("a") == ["a"]
    assert as_texts(None) == []
    with pytest.raises(BadCell, match="is not a text"):
        as_texts([3])
    with pytest.raises(BadCell, match="empty"):
        built()[0].read("", Path())


def test_a_recording_may_be_silent(caplog: pytest.LogCaptureFixture) -> None:
    settings = {"metrics": "transcripts", "min_count": 1, "decoder": SMALL}
    output = TextOutput(**settings)
    output = output.with_state(output.fit(["a dog", None, ""], Path()))
    assert "2 of 3 training texts are empty" in caplog.text
    assert output.read(None, Path()) == TextTarget(((EOS,),))
    assert output.reference("", Path()) == [""]
    assert output.reference(["a dog", ""], Path()) == ["a dog"]


def test_unknown_decoding_option_suggests() -> None:
    output = TextOutput(decoder=SMALL)
    with pytest.raises(UsageError, match="did you mean 'beam'"):
        output.options(beem=3)
    with pytest.raises(UsageError, match="beam"):
        output.options(beam=0)


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
    output, head = built(label_smoothing=0.0, consensus=0.5)
    head.eval()
    whole = output.read(["two dogs run", "two dogs run.", "a dog, a dog"], Path())
    other = output.read(["a dog, running!"], Path())
    head.begin([whole, other])
    reward = CiderReward([whole.token_ids, other.token_ids])
    weights = reward.consensus([whole.token_ids], 0.5)[0]
    _, same = built(label_smoothing=0.0)
    same.eval().load_state_dict(head.state_dict())
    context = fused(1)
    losses = [same.loss(context, [TextTarget((ids,))]).item() for ids in whole.token_ids]
    words = [len(ids) for ids in whole.token_ids]
    sums = [w * n * loss for w, n, loss in zip(weights, words, losses, strict=True)]
    assert head.loss(context, [whole]).item() == pytest.approx(sum(sums) / sum(words), rel=1e-4)
    assert max(weights) > 1.5 * min(weights)


def test_a_step_learns_from_some_of_the_texts() -> None:
    output, head = built(texts_per_step=2)
    target = output.read(["a dog", "two dogs", "a dog runs", "two dogs run"], Path())
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
    output, _ = built(max_length=3, decoding={"max_words": 3})
    (whole,) = output.read("a dog", Path()).token_ids
    (cut,) = output.read("a dog, running!", Path()).token_ids
    assert whole[-1] == EOS
    assert len(whole) == 3
    assert EOS not in cut
    assert len(cut) == 3
