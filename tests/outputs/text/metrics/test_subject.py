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
        ("a large building with a clock", "building"),
        ("a building with a clock", "building"),
        ("a living room with a couch", "room"),
        ("a large parking lot", "lot"),
        ("a wedding cake on a table", "cake"),
        ("a string of lights", "light"),
        ("a bird perched on a branch", "bird"),
        ("boats docked in a harbor", "boat"),
        ("a tiled floor with a rug", "floor"),
        ("a smiling woman in a dress", "woman"),
        ("a kitchen and dining room", "kitchen"),
        ("a man and two women", "man"),
        ("a red and white car", "car"),
        ("a man climbs up a rock", "man"),
        ("a girl jumps", "girl"),
        ("two girls jumping", "girl"),
        ("a bed in a room", "bed"),
        ("black and white photograph of a horse", "horse"),
        ("two people hug on a street", "person"),
        ("a sports car on a road", "car"),
        ("a bed or beds in a room", "bed"),
        ("a man 's hand on a table", "hand"),
        ("a cat and dog sleep on a bed", "cat"),
        ("two cows graze in a field", "cow"),
        # Words in -s that are neither plurals nor verbs.
        ("a christmas tree", "tree"),
        ("christmas trees in a hall", "tree"),
        ("a texas flag", "flag"),
        ("the news reporter talks", "reporter"),
        ("a jeans jacket on a chair", "jacket"),
        ("a canvas", "canvas"),
        ("a boston celtics hat", "hat"),
        # Verbs: at the end, before a bare noun, an adverb, a pronoun, or another phrase.
        ("a robin chirps", "robin"),
        ("a woman wears sunglasses", "woman"),
        ("a man eats pizza", "man"),
        ("a dog catches frisbee", "dog"),
        ("a robin feeds chicks", "robin"),
        ("a robin builds nests", "robin"),
        ("a man ducks down", "man"),
        ("the dog barks at a cat", "dog"),
        ("his dog barks at a cat", "dog"),
        ("her sister wears sunglasses", "sister"),
        ("dog leaps out", "dog"),
        ("the elf chases a ball", "elf"),
        ("the elf tickles a cat", "elf"),
        ("the car goes downhill", "car"),
        ("a black and white dog wears a hat", "dog"),
        ("a small child quickly climbs ropes", "child"),
        ("a small boys dumps water on a baby", "boy"),
        ("the dog 's mouth opens", "mouth"),
        ("a man seated on a bench", "man"),
        ("a seagull high in the air", "seagull"),
        # Plurals.
        ("the brown dogs play", "dog"),
        ("the football players run", "player"),
        ("a woman 's hands", "hand"),
        ("a dog 's black eyes", "eye"),
        ("two dogs fetch sticks", "dog"),
        ("people transport large bags on bicycles", "person"),
        ("birds fly away with food", "bird"),
        ("cat figurines sitting on a table", "figurine"),
        ("the girls tennis team on a lawn", "team"),
        ("children play", "child"),
        ("glasses of wine on a table", "glasses"),
        ("the women 's team", "team"),
        # Several nouns.
        ("a man and woman hug", "man"),
        ("a guy and white dog on grass", "guy"),
        ("a boat and kayaks float", "boat"),
        ("the sunflowers and other plants grow", "sunflower"),
        ("a wolf and moon tattoo", "tattoo"),
        ("three dogs one black and two white", "dog"),
        # A relative clause.
        ("a patriotic wreath that hangs on a door", "wreath"),
        ("the", None),
        ("", None),
        ("a dog and", "dog"),
    ],
)
def test_the_subject(caption: str, noun: str | None) -> None:
    assert subject(caption.split()) == noun


@pytest.mark.parametrize(
    ("word", "one"),
    [
        ("dogs", "dog"), ("buses", "bus"), ("bus", "bus"), ("puppies", "puppy"), ("men", "man"),
        ("glass", "glass"), ("sheep", "sheep"), ("boxes", "box"), ("benches", "bench"),
        ("horses", "horse"), ("gas", "gas"), ("tomatoes", "tomato"), ("cookies", "cookie"),
        ("shelves", "shelf"), ("gloves", "glove"), ("tennis", "tennis"), ("ties", "tie"),
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
    assert CaptionMetrics.agree("bikes", "bicycle")
    assert CaptionMetrics.agree("dog", "dog's")
    assert not CaptionMetrics.agree("cat", "dog")


@pytest.mark.parametrize(
    ("words", "noun"),
    [
        (["two", "brown", "dogs", "play", "."], "dog"),
        (["a", "red", "car", "."], "car"),
        (["a", "man's", "hand", "on", "a", "table"], "hand"),
        (["the", "dog's", "in", "the", "snow"], "dog"),  # one token of a vocabulary, two to judge
        (["a", "man's"], "man"),
        (["the", "."], None),
    ],
)
def test_evidence_is_sought_for_the_noun_that_is_judged(words: list[str], noun: str | None) -> None:
    assert CaptionMetrics.key_words(words) == ([] if noun is None else [noun])
    assert CaptionMetrics.right(" ".join(words), [f"the {noun}"]) == (noun is not None)
