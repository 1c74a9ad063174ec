"""What training texts avoid is counted, and generated texts avoid it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from heads import decode, fused

from plait.data.vocabulary import EOS, SPECIALS, Vocabulary, fit_vocabulary
from plait.nn.base import Sampling
from plait.outputs.text.fluency import Fluency, fit_fluency
from plait.outputs.text.output import TextOutput
from plait.types import UsageError

ANIMALS = ["ant", "eagle", "owl", "dog", "bird", "cow", "pig", "fox", "hen", "goat"]


def texts() -> list[str]:
    """Sentences with a and an before many nouns, and one with each of some rare nouns."""
    article = {name: "an" if name[0] in "aeo" else "a" for name in ANIMALS}
    made = [
        f"{article[first]} {first} is near {article[second]} {second}"
        for first in ANIMALS
        for second in ANIMALS
        for _ in range(70)
        if first != second
    ]
    return [*made, "an otter is near a pig", "a badger is near a pig"]


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return fit_vocabulary(texts(), "words", 1, 100, punctuation=False)


@pytest.fixture(scope="module")
def fluency(vocabulary: Vocabulary) -> Fluency:
    units = vocabulary.units()
    return Fluency(fit_fluency([vocabulary.encode(text) for text in texts()], units), units)


def refused(fluency: Fluency, vocabulary: Vocabulary, text: str) -> str | None:
    """The first word of a text, or its end, that may not follow what comes before."""
    ids = [*vocabulary.encode(text), EOS]
    for at in range(1, len(ids)):
        _, tokens = fluency.forbidden(np.array([ids[:at]]))
        if ids[at] in tokens:
            return fluency.units[ids[at]]
    return None


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("an owl is near a dog", None),
        ("a owl is near a dog", "owl"),
        ("a dog is near an cow", "cow"),
        ("a dog is near a", "<end>"),
        ("a dog is", "<end>"),
        ("a dog is near a dog", "dog"),
        ("a dog dog", "dog"),
        ("near near", "near"),
        ("near a near", "near"),
        ("an otter is near a badger", None),  # too rare for counts of their own, ...
        ("a otter is near a dog", "otter"),  # ... but not their first letters
        ("an badger is near a dog", "badger"),
    ],
)
def test_what_the_texts_avoid_is_refused(
    fluency: Fluency, vocabulary: Vocabulary, text: str, wrong: str | None
) -> None:
    assert refused(fluency, vocabulary, text) == wrong


def test_all_that_was_learned_from_is_fluent(fluency: Fluency, vocabulary: Vocabulary) -> None:
    assert not [text for text in dict.fromkeys(texts()) if refused(fluency, vocabulary, text)]


COLOURS = ["blue", "red", "green", "black", "white"]
THINGS = ["ball", "chair", "shirt", "box"]


def things() -> list[str]:
    """Sentences with one thing or some, mostly with a colour before it."""
    one = [f"{colour} {thing}" for colour in COLOURS for thing in THINGS]
    some = [f"{each}s" for each in one]
    made = [
        f"{first} is near {last}"
        for a, two in zip(one, some, strict=True)
        for first, last in [(f"a {a}", f"two {two}"), (f"two {two}", f"a {a}")]
        for _ in range(10)
    ]
    few = [f"a few {thing}s in a {other}" for thing in THINGS for other in THINGS[:3]]
    plain = [f"two {thing}s" for thing in THINGS] + ["look at two chairs"]
    return [*made, *few, *plain * 40, *[f"sitting in a {thing}" for thing in one for _ in range(5)]]


@pytest.fixture(scope="module")
def coloured() -> tuple[Fluency, Vocabulary]:
    vocabulary = fit_vocabulary(things(), "words", 1, 100, punctuation=False)
    units = vocabulary.units()
    state = fit_fluency([vocabulary.encode(text) for text in things()], units)
    return Fluency(json.loads(json.dumps(state)), units), vocabulary


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("sitting in a blue ball", None),
        ("sitting in a blue balls", "balls"),
        ("sitting in a balls", "balls"),
        ("a red chairs", "chairs"),
        ("two red chairs", None),
        ("two red chair is near a ball", "chair"),
        ("a few chairs", None),  # "few" allows what colours do not
        ("two blue balls is near a blue balls", "balls"),
        ("look at two balls", None),  # "at" says nothing about what comes after "two"
    ],
)
def test_words_agree_across_a_word(
    coloured: tuple[Fluency, Vocabulary], text: str, wrong: str | None
) -> None:
    assert refused(*coloured, text) == wrong


def test_texts_that_agree_are_fluent(coloured: tuple[Fluency, Vocabulary]) -> None:
    assert not [text for text in dict.fromkeys(things()) if refused(*coloured, text)]


def test_each_row_has_its_own(fluency: Fluency, vocabulary: Vocabulary) -> None:
    generated = np.array([vocabulary.encode("a dog"), vocabulary.encode("an owl")])
    rows, tokens = fluency.forbidden(generated)
    for row in range(2):
        _, alone = fluency.forbidden(generated[row : row + 1])
        assert sorted(tokens[rows == row].tolist()) == sorted(alone.tolist())


def test_without_texts_only_a_repeated_word_is_avoided(vocabulary: Vocabulary) -> None:
    units = vocabulary.units()
    empty = Fluency(fit_fluency([[]], units), units)
    said = vocabulary.encode("a owl")
    rows, tokens = empty.forbidden(np.array([said]))
    assert sorted(tokens.tolist()) == sorted(said)
    assert rows.tolist() == [0, 0]
    assert refused(empty, vocabulary, "a owl is") is None


def test_the_last_word_of_a_cut_text_is_no_ending() -> None:
    output = TextOutput(
        min_count=1, punctuation=False, fluency=True, max_length=3, decoding={"max_words": 3}
    )
    state = output.fit(["a dog is near a pig", "the pig runs"] * 30, Path())
    output = output.with_state(state)
    inner = {output.tokenizer.units()[token] for token in state["fluency"]["inner"]}
    assert inner == {"a", "dog", "is", "the", "pig"}  # "a dog is" was cut, "the pig runs" ends


def test_generated_texts_are_fluent() -> None:
    """An untrained decoder says anything, but nothing that the texts avoid."""
    settings = {"kind": "transformer", "layers": 1, "heads": 2}
    output = TextOutput(min_count=1, punctuation=False, fluency=True, decoder=settings)
    output = output.with_state(output.fit(texts(), Path()))
    torch.manual_seed(0)
    head = output.head(16, ["a"], True).eval()
    answers = decode(
        output, head, fused(torch.randn(3, 16)), sample=True, num=20, max_words=6, top_k=0
    )
    vocabulary = output.tokenizer
    known = Fluency(output.state["fluency"], vocabulary.units())
    said = [a.value for answer in answers for a in (answer, *answer.alternatives)]
    short = [text for text in said if len(text.split()) < 6]  # longer ones were cut
    wrong = [text for text in short if refused(known, vocabulary, text)]
    assert len(short) - len(wrong) >= 5
    for text in wrong:  # nothing else was left to say
        _, tokens = known.forbidden(np.array([vocabulary.encode(text)]))
        assert {*tokens.tolist()} == {EOS, *range(len(SPECIALS), len(vocabulary))}


def test_a_model_that_did_not_count_can_not_start_one_that_needs_it() -> None:
    state = TextOutput(min_count=1).fit(texts(), Path())
    with pytest.raises(UsageError, match="did not count what its texts avoid"):
        TextOutput(min_count=1, fluency=True).with_state(state).head(16, ["a"], True)


@pytest.mark.parametrize("name", ["fluency", "pointer"])
def test_it_is_for_words(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} needs words"):
        TextOutput(unit="characters", **{name: True})


@pytest.mark.parametrize("texts", [
    ("a dog is near an owl", "an owl", "a cow"), ("sitting in a blue balls", "two red chair", "a")
])  # fmt: skip
def test_whole_texts_at_once(
    texts: tuple[str, ...],
    fluency: Fluency,
    vocabulary: Vocabulary,
    coloured: tuple[Fluency, Vocabulary],
) -> None:
    if "blue" in texts[0]:
        fluency, vocabulary = coloured
    ids = [[*vocabulary.encode(text), EOS] for text in texts]
    places, tokens = fluency.forbidden_in(ids)
    found = {(int(place), int(token)) for place, token in zip(places, tokens, strict=True)}
    expected, start = set(), 0
    for text in ids:
        for at in range(1, len(text)):
            _, own = fluency.forbidden(np.array([text[:at]]))
            expected |= {(start + at, token) for token in own.tolist()}
        start += len(text)
    assert found == expected


def test_rewards_teach_fluent_texts_alone() -> None:
    """Samples are drawn from what may follow, and learned with the probabilities of that draw."""
    settings = {"kind": "transformer", "layers": 1, "heads": 2, "dropout": 0.0}
    output = TextOutput(min_count=1, punctuation=False, fluency=True, decoder=settings)
    output = output.with_state(output.fit(texts(), Path()))
    torch.manual_seed(0)
    head = output.head(16, ["a"], True)
    wanted = ["a dog is near an owl", "an ant is near a cow", "a fox is near a hen"]
    targets = [output.read(text, Path()) for text in wanted]
    head.begin(targets)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    photos = fused(torch.randn(3, 16))
    head.eval()
    for _ in range(80):
        optimizer.zero_grad()
        loss = head.reinforce(photos, targets, Sampling(16))
        assert torch.isfinite(loss)
        loss.backward()
        optimizer.step()
    known = Fluency(output.state["fluency"], output.tokenizer.units())
    answers = [answer.value for answer in decode(output, head, photos, beam=1)]
    assert not [text for text in answers if refused(known, output.tokenizer, text)]
    for text, right in zip(answers, wanted, strict=True):
        assert set(text.split()) & set(right.split()) & set(ANIMALS), (text, right)
