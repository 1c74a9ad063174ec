"""The tokeniser: hand-checked sentences, and the tokens of the Java one, kept in tests/golden."""

from __future__ import annotations

import hashlib
import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from plait.outputs.text.metrics.ptb import tokenise

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "golden" / "caption_scores.json").read_text()
)
FLICKR = Path(__file__).parents[4].parent / "shared" / "data" / "flickr8k"


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("", ""),
        ("  ...  ", ""),
        ("A Dog runs.", "a dog runs"),
        (
            "A man , a woman ; a child : all - or none -- run ...",
            "a man a woman a child all or none run",
        ),
        ("fence,and dogs;cats:birds", "fence and dogs cats birds"),
        ("They don't, can't and won't.", "they do n't ca n't and wo n't"),
        ("The dog's ball, the dogs' ball", "the dog 's ball the dogs ball"),
        ("I'm sure she'll say they've gone", "i 'm sure she 'll say they 've gone"),
        ("You cannot; he's gonna", "you can not he 's gon na"),
        ("A well-dressed 3-year-old in mid-air", "a well-dressed 3-year-old in mid-air"),
        ("a long- haired -dog", "a long haired dog"),
        ("A sign saying \"Stop!\" and 'Go'", "a sign saying stop and go"),
        ("A sign saying `` Stop '' .", "a sign saying stop"),
        ("“Stop,” it’s ‘red’", "stop it 's red"),
        ("black/white and/or grey", "black/white and/or grey"),
        ("10,000 people at 11:27 pay $2.00 or 50%", "10,000 people at 11:27 pay $ 2.00 or 50 %"),
        ("#1 & A&M plays Q&A &amp; more", "# 1 & a&m plays q&a & more"),
        ("Mr. Smith and Dr. Jones vs. St. Louis", "mr. smith and dr. jones vs. st. louis"),
        ("A T.V. in the U.S. at 5 p.m.", "a t.v. in the u.s. at 5 p.m."),
        ("Washington, Ill. is not ill.", "washington ill. is not ill"),
        ("no. 5 says no.", "no. 5 says no"),
        ("rock 'n' roll in the '80s at 5 o'clock", "rock 'n' roll in the '80s at 5 o'clock"),
        ("hook 'em horns, hors d'oeuvres, ma'am", "hook 'em horns hors d'oeuvres ma'am"),
        ("(a dog) [b]", "-lrb- a dog -rrb- -lsb- b -rsb-"),
        ("Wow!!! Really?!", "wow !!! really ?!"),
        ("a Café at www.example.com, or foo.org", "a café at www.example.com or foo.org"),
        ("5'10\" tall", "5 10 tall"),
        ("women's/men's T-shirt's", "women 's / men 's t-shirt 's"),
    ],
)
def test_hand_checked_sentences(sentence: str, expected: str) -> None:
    assert tokenise(sentence) == expected.split()


def test_lines_and_tabs_are_spaces() -> None:
    assert tokenise("a dog\n\truns\r\nfast") == ["a", "dog", "runs", "fast"]


def test_tokens_are_stable() -> None:
    words = tokenise("The U.S. team's well-known T.V. star didn't pay $5.")
    assert tokenise(" ".join(words)) == words


@pytest.mark.parametrize("name", [name for name, case in GOLDEN.items() if "photos" in case])
def test_equals_the_java_tokeniser(name: str) -> None:
    photos = GOLDEN[name]["photos"]
    texts = [text for photo in photos for text in (photo["caption"], *photo["references"])]
    assert [tokenise(text) for text in texts] == GOLDEN[name]["tokens"]


@pytest.mark.shared
@pytest.mark.skipif(not FLICKR.is_dir(), reason=f"no {FLICKR}")
def test_equals_the_java_tokeniser_on_real_captions() -> None:
    with (FLICKR / "captions.jsonl").open(encoding="utf-8") as lines:
        texts = [text for line in islice(lines, 200) for text in json.loads(line)["captions"]]
    digests = [hashlib.sha256(" ".join(tokenise(text)).encode()).hexdigest()[:8] for text in texts]
    assert digests == GOLDEN["flickr8k"]["tokens"]
