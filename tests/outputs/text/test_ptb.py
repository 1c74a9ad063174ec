"""The tokeniser: hand-checked sentences, and the Java one on real captions where both are there."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import pytest

from plait.outputs.text.metrics.ptb import PUNCTUATION, tokenise

FLICKR = Path(__file__).parents[3].parent / "shared" / "data" / "flickr8k"


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


@pytest.mark.shared
@pytest.mark.skipif(shutil.which("java") is None, reason="no java on the PATH")
@pytest.mark.skipif(not FLICKR.is_dir(), reason=f"no {FLICKR}")
def test_equals_the_java_tokeniser_on_real_captions(tmp_path: Path) -> None:
    with (FLICKR / "captions.jsonl").open(encoding="utf-8") as lines:
        captions = [json.loads(line)["captions"][0] for line in islice(lines, 200)]
    assert len(captions) == 200
    assert [tokenise(caption) for caption in captions] == _java(captions, tmp_path)


def _java(captions: list[str], folder: Path) -> list[list[str]]:
    spec = find_spec("pycocoevalcap.tokenizer")
    assert spec is not None
    assert spec.submodule_search_locations
    jar = Path(next(iter(spec.submodule_search_locations))) / "stanford-corenlp-3.4.1.jar"
    source = folder / "captions.txt"
    source.write_text("\n".join(captions), encoding="utf-8")
    command = ["java", "-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer"]
    run = subprocess.run(
        [*command, "-preserveLines", "-lowerCase", str(source)],
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    lines = run.stdout.splitlines()
    return [[word for word in line.split() if word not in PUNCTUATION] for line in lines]
