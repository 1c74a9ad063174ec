"""What is asked for, and what a reply to a question back chooses."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

import plait
from plait.assistant.intents import (
    INTENTS,
    NEITHER,
    ask_back,
    candidates,
    choose,
    intents_of,
    is_new_request,
    route,
)
from plait.types import UsageError

ROOT = Path(__file__).parents[2]
# None of these is made by a template of examples/intents.txt.
REQUESTS = {
    "could you describe what the picture is showing?": "caption",
    "please caption this one": "caption",
    "Tell me what you can see in the image": "caption",
    "and how many dogs?": "question",
    "what colour is her coat": "question",
    "What is the boy holding in his left hand?": "question",
    "is the man wearing sunglasses": "question",
    "how would you say good night in Italian?": "translation",
    "can you translate the caption to French": "translation",
    "got any pictures that look like this one?": "similar",
    "show more of this kind": "similar",
    "show me pictures with children playing football": "search",
    "do I have any photos of mountains?": "search",
    "play some jazz": "none",
    "who is the prime minister": "none",
    "can you book a hotel room": "none",
}


@pytest.fixture(scope="module")
def router() -> plait.Model:
    return plait.load("intents")


@pytest.mark.parametrize("request_", REQUESTS)
def test_phrasings_of_no_template(router: plait.Model, request_: str) -> None:
    probable = route(router, request_)
    assert next(iter(probable)) == REQUESTS[request_]
    assert sum(probable.values()) == pytest.approx(1, abs=1e-3)
    assert list(probable.values()) == sorted(probable.values(), reverse=True)


def test_the_shipped_package_is_small_and_tells_every_intent() -> None:
    assert set(intents_of("intents")) == {*INTENTS, "none"}
    folder = Path(plait.__file__).parent / "models" / "intents"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1_000_000
    assert "made for plait" in (folder / "card.md").read_text()


def test_a_package_of_another_kind_tells_no_intents(trained: Path) -> None:
    with pytest.raises(UsageError, match="does not classify requests"):
        intents_of(str(trained))


def test_meanings_are_those_that_can_be_done() -> None:
    probable = {"none": 0.3, "question": 0.28, "caption": 0.2, "similar": 0.12, "search": 0.1}
    assert candidates(probable, list(INTENTS)) == ["question", "caption", "similar"]
    assert candidates(probable, ["caption", "search"]) == ["caption", "search"]
    assert ask_back(["caption", "similar"]) == (
        "Shall I caption the photo, or search for similar photos?"
    )
    assert ask_back(["caption"]) == "Shall I caption the photo?"


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ("the first", "caption"),
        ("2", "similar"),
        ("the second one please", "similar"),
        ("caption", "caption"),
        ("Caption it!", "caption"),
        ("search for similar ones", "similar"),
        ("the last", "search"),
        ("neither", NEITHER),
        ("no, none", NEITHER),
        ("yes", "caption"),
        ("yes please", "caption"),
        ("yes, the second", "similar"),
        ("what colour is the dog that sits beside him", None),
        ("how many dogs", None),
        ("I mean the second one", "similar"),
        ("no, the first", "caption"),
        ("no thanks", NEITHER),
        ("none of these", NEITHER),
        ("caption the photo", "caption"),
        ("search the photos for my words", "search"),
        ("", None),
        # Requests of their own, which have such words too.
        ("is the last one red", None),
        ("are there two dogs", None),
        ("what is the first word", None),
        ("please describe the second dog", None),
        ("two dogs", None),
    ],
)
def test_replies(reply: str, choice: str | None) -> None:
    assert choose(reply, ["caption", "similar", "search"]) == choice


def test_of_nothing_offered_nothing_is_choose() -> None:
    assert choose("yes please", []) is None
    assert choose("the last", []) is None
    assert choose("no", []) == NEITHER


LONG_TEXTS = {
    "the same word": "dog " * 5000,
    "many sentences": "A man walks. " * 100,
    "words of another intent": "what colour is the hat of the man? " * 20,
    "one sentence": "how many dogs are there in the photo of the beach",
}


@pytest.mark.parametrize("text", LONG_TEXTS)
@pytest.mark.parametrize(
    "request_",
    ["translate: {}", "please translate this into German: {}", "can you translate this: {}",
     'translate "{}" into German', '"{}" in German please'],
)  # fmt: skip
def test_a_text_to_translate_does_not_decide(router: plait.Model, request_: str, text: str) -> None:
    probable = route(router, request_.format(LONG_TEXTS[text].strip()))
    assert next(iter(probable)) == "translation"
    assert probable["translation"] > 0.9


def test_a_long_text_after_a_mere_word(router: plait.Model) -> None:
    for text in (LONG_TEXTS["the same word"], LONG_TEXTS["many sentences"]):
        assert route(router, f"translate {text}")["translation"] > 0.8


@pytest.mark.parametrize(
    ("request_", "intent"),
    [
        ("here is my question: how many dogs are there?", "question"),
        ("tell me this: what colour is the hat of the man", "question"),
        ("please could you be so kind as to tell me what the woman is holding", "question"),
        ('is there a sign that says "how do you say that in German"', "question"),
        ('"what is in this photo"', "caption"),
    ],
)
def test_openings_that_ask_for_no_translation(
    router: plait.Model, request_: str, intent: str
) -> None:
    assert next(iter(route(router, request_))) == intent


def test_a_reply_is_a_request_of_its_own() -> None:
    assert is_new_request("find photos like this", "similar", ["question", "search"])
    assert not is_new_request("find photos like this", "similar", ["caption", "similar"])
    assert not is_new_request("the second one please", "none", ["question", "search"])
    assert not is_new_request("similar", "similar", ["question", "search"])


def test_the_table_is_split_by_template(tmp_path: Path) -> None:
    script, table = ROOT / "examples" / "intents_table.py", tmp_path / "intents.csv"
    done = subprocess.run(
        [sys.executable, script, table, "1"], capture_output=True, text=True, check=True
    )
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert f"{len(rows)} requests of" in done.stdout
    splits, texts = defaultdict(set), defaultdict(set)
    for row in rows:
        splits[row["intent"], row["template"]].add(row["split"])
        texts[row["text"].lower()].add((row["intent"], row["split"]))
        assert "{" not in row["text"]
    assert all(len(found) == 1 for found in splits.values())
    assert all(len(found) == 1 for found in texts.values())
    for intent in (*INTENTS, "none"):
        counts = [sum(k[0] == intent and s == {split} for k, s in splits.items())
                  for split in ("train", "val", "test")]  # fmt: skip
        assert counts[0] > 4 * counts[2] > 0
    templates = {row["template"] for row in rows}
    assert not templates & set(REQUESTS)
    train = {row["text"].lower() for row in rows}
    assert not train & {text.lower() for text in REQUESTS}
