"""Which text is translated: it comes out whole, or is asked for."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from plait.assistant.phrases import openings, to_translate, without_quotes

EXAMPLES = Path(__file__).parents[2] / "examples"
LAST = "A dog."


def templates(languages: int = 10) -> Iterator[tuple[str, str, str]]:
    """Every template of a translation, with each of its texts; the text is LAST where there is
    none."""
    spec = importlib.util.spec_from_file_location("table", EXAMPLES / "intents_table.py")
    assert spec is not None
    assert spec.loader is not None
    table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    fillers = {"{phrase}": table.FILLERS["phrase"].split("|"),
               "{thing}": table.FILLERS["thing"].split()}  # fmt: skip
    for template in table.read_templates()["translation"]:
        slot = next((slot for slot in fillers if slot in template), "")
        for text in fillers.get(slot, [LAST]):
            for language in table.FILLERS["language"].split()[:languages]:
                asked = template.replace("{language}", language)
                yield template, asked.replace(slot, text) if slot else asked, text


def test_texts_of_every_template_come_out_whole() -> None:
    seen = 0
    for template, request, text in templates():
        expected = None if template == "translate the following text" else text
        assert to_translate(request, LAST) == expected, request
        seen += text != LAST
    assert seen > 2000


@pytest.mark.parametrize("opening", ["please", "can you", "could you please", "hey", "hi,"])
@pytest.mark.parametrize("closing", ["please", "now", "if you can"])
def test_openings_and_closings_are_no_text(opening: str, closing: str) -> None:
    for template, request, text in templates(languages=1):
        bare = template.startswith(("{", "to ", "in ", "now in", "and in"))  # nothing opens these
        verbatim = ":" in template or "following" in template
        if not bare and not verbatim and "thank you" not in request:
            asked = f"{opening} {request} {closing}?"
            assert to_translate(asked, LAST) == text, asked


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ("translate good morning", "good morning"),
        ("Translate a red hat into French.", "a red hat"),
        ("translate where is the station?", "where is the station?"),
        ("can you translate good morning?", "good morning"),
        ("translate thank you", "thank you"),
        ("translate the word dog", "dog"),
        ("how would you say good night in Italian?", "good night"),
        ("how do you say please in German?", "please"),
        ("tell me how to say good bye in Dutch", "good bye"),
        ("HOW DO YOU SAY GOOD NIGHT IN ITALIAN", "GOOD NIGHT"),
        ("say good night in French", "good night"),
        ("what does good morning mean in German", "good morning"),
        ("what would good morning be in German?", "good morning"),
        ("what is the German for good morning", "good morning"),
        ("what's the word for dog in German?", "dog"),
        ("put good morning into German", "good morning"),
        ("put the book on the table in German", "put the book on the table"),
        ("how is good morning said in German", "good morning"),
        ("can I get a translation of good morning", "good morning"),
        ("good morning in German", "good morning"),
        ("hello in German", "hello"),
        ("what is your name in German", "what is your name"),
        ("I need help in German", "I need help"),
        ("turn left in German", "turn left"),
        ("I need good morning translated", "good morning"),
        ("I am hungry, how do you say that in German?", "I am hungry"),
        # Words that look like the request's own.
        ("translate a man in red", "a man in red"),
        ("translate a boat on the way to Paris", "a boat on the way to Paris"),
        ("translate a boat on the way to Paris into German", "a boat on the way to Paris"),
        ("translate at 10:30 we meet", "at 10:30 we meet"),
        ("translate this is a red dog", "this is a red dog"),
        ("translate we speak in German in the office", "we speak in German in the office"),
        ("translate he said: go home", "he said: go home"),
        # Quoted, and behind a colon.
        ('translate "a dog" and "a cat"', "a dog and a cat"),
        ("say 'good morning' in German", "good morning"),
        ("translate “the dogs' bowl” into French", "the dogs' bowl"),
        ("how do you say it's late in German", "it's late"),
        ("translate into German: see you", "see you"),
        ("translate: at 10:30 we meet", "at 10:30 we meet"),
        ("translate: good morning into German", "good morning"),
        ("how do you say in Polish: I sing in French", "I sing in French"),
    ],
)
def test_texts(request_: str, text: str) -> None:
    assert to_translate(request_, LAST) == text


@pytest.mark.parametrize(
    "request_",
    [
        "translate", "translate please", "translate this", "translate that", "in German please",
        "and now in Spanish?", "thanks, translate it please", "give me that in Polish",
        "translate the caption into German please", "how do you say this in Italian?",
        "could I have it in Japanese?", "German, please", "translate what you said",
    ],
)  # fmt: skip
def test_pronouns_point_at_the_last_answer(request_: str) -> None:
    assert to_translate(request_, LAST) == LAST
    assert to_translate(request_, None) is None


@pytest.mark.parametrize(
    "request_",
    ["what about it", "say good morning", 'translate ""', "translate the following:", "hello"],
)
def test_else_the_text_is_asked_for(request_: str) -> None:
    assert to_translate(request_, LAST) is None


@pytest.mark.parametrize(
    "text",
    ['"' * 5000, "hey " * 5000, "in German " * 1000, "' a" * 5000, "'a " * 20_000, '"a ' * 20_000],
)
def test_long_requests_do_not_hang(text: str) -> None:
    start = time.process_time()
    to_translate(f"translate {text}", LAST)
    without_quotes(f"translate {text}")
    openings(f"translate {text}")
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("request_", "left"),
    [
        ('translate "a dog" into German', 'translate "" into German'),
        ("say 'the dogs' bowl' in German", 'say "" in German'),
        ("what's in the boys' room", "what's in the boys' room"),
        ('translate ""', 'translate ""'),
        ('"how many dogs"', '"how many dogs"'),  # it is all of the request
    ],
)
def test_requests_without_what_they_quote(request_: str, left: str) -> None:
    assert without_quotes(request_) == left


def test_what_may_ask_for_the_rest() -> None:
    assert openings("translate into German: at 10:30 we meet") == [
        "translate into German:", "translate into German: at 10:30"
    ]  # fmt: skip
    assert openings("at 10:30 we meet") == []
    assert openings(": a") == []
