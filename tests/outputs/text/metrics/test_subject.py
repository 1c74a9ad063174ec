"""What captions are about."""

from __future__ import annotations

import pytest

from plait.outputs.text.metrics.captions import CaptionMetrics
from plait.outputs.text.metrics.subject import agrees, singular, subject


@pytest.mark.parametrize(
    ("caption", "noun"),
    [
        ("a dog runs on the grass", "dog"),
        ("a black and white dog with a ball", "dog"),
        ("two brown dogs playing", "dog"),
        ("a man and a woman on a bench", "man"),
        ("man and woman on a bench", "man"),
        ("a group of young people sitting outside", "person"),
        ("a close up of a pizza on a table", "pizza"),
        ("a bunch of ripe bananas", "banana"),
        ("there is a red double decker bus on the street", "bus"),
        ("a person riding a wave", "person"),
        ("a biker makes a jump", "biker"),
        ("several boats in a harbor", "boat"),
        ("a couple sitting on a bench", "couple"),
        ("a view from a window", "window"),
        ("a picture on a wall", "wall"),
        ("sitting on a bench", "bench"),
        ("the", None),
        ("", None),
    ],
)
def test_the_subject(caption: str, noun: str | None) -> None:
    assert subject(caption.split()) == noun


@pytest.mark.parametrize(
    ("word", "one"),
    [
        ("dogs", "dog"), ("buses", "bus"), ("bus", "bus"), ("puppies", "puppy"), ("men", "man"),
        ("glass", "glass"), ("sheep", "sheep"), ("boxes", "box"), ("benches", "bench"),
        ("horses", "horse"), ("gas", "gas"),
    ],
)  # fmt: skip
def test_the_singular(word: str, one: str) -> None:
    assert singular(word) == one


def test_other_words_for_the_same() -> None:
    assert agrees("sofa", ["a", "couch"])
    assert agrees("person", ["two", "skiers"])
    assert agrees("surfer", ["some", "people"])
    assert not agrees("man", ["a", "woman"])
    assert not agrees("cat", ["a", "dog"])


def test_a_caption_is_right_if_a_reference_mentions_its_subject() -> None:
    assert CaptionMetrics.right("A cat on a mat.", ["A kitten sleeps.", "an animal"])
    assert not CaptionMetrics.right("A cat on a mat.", ["A dog on a mat.", "a dog"])
    assert CaptionMetrics.key_words(["two", "brown", "dogs", "play"]) == ["dogs"]
