"""Alternative texts, and which captions say the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.tasks.wording import (
    LONGEST,
    alternative_texts,
    as_sentence,
    content_words,
    is_complete,
    most_agreed,
    sensible,
    shortened,
    varied,
)
from plait.types import Alternative


def ranked(*values: str) -> list[Alternative]:
    return [Alternative(value, -float(rank)) for rank, value in enumerate(values, start=1)]


@pytest.mark.parametrize(
    ("caption", "sentence"),
    [
        ("a dog runs", "A dog runs."),
        ("A dog runs.", "A dog runs."),
        ("  a man 's hat , and a dog .", "A man's hat, and a dog."),
        ("a sign for St. Mary. It is red.", "A sign for St. Mary."),
        ("is it a dog ? yes", "Is it a dog?"),
        ("a dog,", "A dog."),
        ("ein Käse", "Ein Käse."),
        ("", ""),
    ],
)
def test_a_caption_becomes_one_sentence(caption: str, sentence: str) -> None:
    assert as_sentence(caption) == sentence


def test_a_shorter_complete_caption_is_preferred_to_a_cut_one() -> None:
    long = "a man in a blue shirt and a red hat " * 4 + "runs"
    found = alternative_texts(ranked(long, "a man in a blue shirt is", "a man runs", "A man runs."))
    assert found == [Alternative("A man runs.", -3.0)]


def test_if_none_fits_the_best_is_cut_between_words() -> None:
    long = "a man in a blue shirt and " * 6 + "a hat"
    (found,) = alternative_texts(ranked(long, "a man is in the"))
    assert found.score == -1.0
    assert found.value.endswith(" a blue shirt and a man.")
    assert LONGEST - 30 < len(found.value) <= LONGEST
    assert long.startswith(found.value[:-1].lower())


@given(st.lists(st.text(max_size=300), max_size=4))
def test_alternative_texts_are_short_whatever_the_caption(captions: list[str]) -> None:
    for found in alternative_texts(ranked(*captions)):
        assert len(found.value) <= LONGEST
        assert found.value == found.value.strip()


@given(st.lists(st.sampled_from(["a", "red", "dog", "is", "running"]), min_size=1, max_size=60))
def test_words_are_never_cut(words: list[str]) -> None:
    text = shortened(" ".join(words))
    if set(words) & {"red", "dog", "running"}:
        assert text.rstrip(".").lower().split() == words[: len(text.split())]
        assert is_complete(text)


def test_samples_differ_and_do_not_break_off() -> None:
    found = sensible(
        ranked(
            "a dog is", "a dog runs on grass", "a dog runs in the grass", "the grass runs a dog",
            "a dog runs on grass", "a cat runs on grass",
        )
    )  # fmt: skip
    assert [caption.value for caption in found] == ["a dog runs on grass", "a cat runs on grass"]
    assert sensible(ranked("a dog is", "is a dog of")) == ranked("a dog is")
    assert content_words("A dog's 2 paws") == {"dog", "s", "2", "paws"}


def test_what_nobody_expects_is_left_out_unless_all_say_such_things() -> None:
    captions = ranked("a dog runs on grass", "a dog with scissors", "two dogs sleep")
    expected = {"dog": 0.9, "grass": 0.5, "runs": 0.1, "sleep": 0.02, "two": 0.1}
    assert [c.value for c in sensible(captions, expected)] == [
        "a dog runs on grass", "two dogs sleep"
    ]  # fmt: skip
    assert sensible(captions, {"cat": 1.0}) == captions
    assert sensible(captions) == captions


def test_likely_captions_that_are_unlike_each_other_come_first() -> None:
    captions = [
        Alternative("a dog runs on grass", -0.2), Alternative("a big dog runs on grass", -0.25),
        Alternative("a cat sleeps", -0.5), Alternative("blue umbrella", -3.0),
    ]  # fmt: skip
    same, alike, other, unlikely = captions
    assert varied(captions, 2) == [same, other]
    assert varied(captions, 3) == [same, other, alike]
    assert varied(captions, 9) == [same, other, alike, unlikely]
    assert varied(captions[:1], 5) == [same]


def test_the_caption_that_agrees_most_is_chosen() -> None:
    assert most_agreed(["a dog runs", "a cat sits", "a dog sits and runs"]) == 2
    assert most_agreed(["a", "b", "c"]) == 1
    assert most_agreed(["a dog", "a dog", "a dog"]) == 1
    assert most_agreed(["a dog"]) == 0
