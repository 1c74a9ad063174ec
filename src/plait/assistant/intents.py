"""What a request asks for, by a trained classifier, and asking back if that is not clear."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from plait.assistant.answers import TEXT
from plait.assistant.phrases import openings, without_quotes, word_set
from plait.assistant.session import DIGITS
from plait.model import Model
from plait.package.format import read_package
from plait.pipeline.engine import build_output
from plait.types import UsageError


@dataclass(frozen=True)
class Intent:
    """How an intent is presented to the user."""

    noun: str  # what there is, or is not, a model for
    offer: str  # what the assistant offers to do, after "Shall I"
    words: frozenset[str]  # that choose it in a reply


CAPTION, QUESTION, TRANSLATION = "caption", "question", "translation"
SIMILAR, SEARCH, NONE = "similar", "search", "none"
INTENTS: Mapping[str, Intent] = {
    name: Intent(noun, offer, word_set(words))
    for name, noun, offer, words in (
        (CAPTION, "captions", "caption the photo", "caption describe description"),
        (QUESTION, "questions", "answer a question about the photo", "question answer"),
        (TRANSLATION, "translation", "translate a text", "translate translation"),
        (SIMILAR, "similar photos", "search for similar photos", "similar like alike search find"),
        (SEARCH, "photos by words", "search the photos for your words", "words word search find"),
    )
}
"""The intents of the shipped package; those of another are answered by the models so named."""
WITHOUT_MODEL = frozenset({SIMILAR, SEARCH, NONE})
"""Intents that no model under ``models`` answers."""

SURE = 0.8  # probability at which the opening of a request alone makes it a translation
NEITHER = ""
OFFERED = 3  # intents at most when asking back
LIKELY = 0.1  # probability at which a third one is offered
LONG = 4  # words of a reply that may be a new request although it has words of an offer
ORDINALS = ({"first", "1", "1st", "former"}, {"second", "2", "2nd", "two"},
            {"third", "3", "3rd", "three"})  # fmt: skip
LAST = {"last", "latter"}
YES = word_set("yes y yeah yep ok okay sure do please")
NO = word_set("no n nope none neither nothing cancel stop not")
FILLERS = word_set(
    """the a one ones it this that these them of for i mean meant want would like d take choose
    number option choice thanks thank you can could me my your"""
)


def intent(name: str) -> Intent:
    """How an intent is presented, also one that only the user's own package knows."""
    own = Intent(name, f"ask the model for {name}", word_set(name.lower()))
    return INTENTS.get(name, own)


def intents_of(package: str) -> list[str]:
    """The intents that a package distinguishes. Raises PlaitError if there is no such package, and
    UsageError if it does not classify texts."""
    read = read_package(package)
    name, spec = next(iter(read.recipe.outputs.items()))
    texts = all(spec.modality == TEXT for spec in read.recipe.inputs.values())
    if not texts or spec.component.answer_type != "category":
        raise UsageError(f"{package} does not classify requests", expected="classes of texts")
    output = build_output(spec).with_state(read.states[f"outputs.{name}"])
    return [str(label) for label in output.choices or ()]


def route(router: Model, request: str) -> dict[str, float]:
    """The probability of every intent, the most probable first.

    A text to translate may have words of any intent. So what is quoted is left out, and so is the
    rest if the opening alone clearly asks for a translation.
    """
    whole = without_quotes(request)
    texts = [*openings(whole), whole]
    records = [dict.fromkeys(router.recipe.inputs, text) for text in texts]
    *starts, prediction = (each[router.output] for each in router.predict_batch(records))
    sure = (one for one in starts if one.value == TRANSLATION and one.score >= SURE)
    probabilities = router.parts.outputs[router.output].probabilities(next(sure, prediction))
    return {str(name): round(p, DIGITS) for name, p in probabilities.items()}


def candidates(probable: Mapping[str, float], able: Collection[str]) -> list[str]:
    """The intents to offer when asking back, the most probable first; only what can be done."""
    named = [name for name in probable if name != NONE and name in able]
    third = [name for name in named[OFFERED - 1 : OFFERED] if probable[name] >= LIKELY]
    return named[: OFFERED - 1] + third


def ask_back(choices: Sequence[str]) -> str:
    """The question which of the choices the user means."""
    *others, last = [intent(name).offer for name in choices]
    return f"Shall I {', '.join(others)}{', or ' if others else ''}{last}?"


def choose(reply: str, choices: Sequence[str]) -> str | None:
    """Which of the choices a reply takes (the first for a yes), or `NEITHER`. None if it says more
    and is a new request: "is the last one red"."""
    words = set(re.findall(r"\w+", reply.lower()))
    offered = [intent(name).words | set(intent(name).offer.lower().split()) for name in choices]
    if not words <= LAST.union(*ORDINALS, YES, NO, FILLERS, *offered):
        return None
    for places, choice in zip([LAST, *ORDINALS], [*choices[-1:], *choices], strict=False):
        if words & places and words <= places | YES | NO | FILLERS:
            return choice
    hits = {name: len(words & intent(name).words) for name in choices}
    best = [name for name in choices if hits[name] == max(hits.values()) > 0]
    if len(best) == 1:
        return best[0]
    if words & NO:
        return NEITHER
    return choices[0] if choices and words & YES else None


def is_new_request(reply: str, understood: str, choices: Sequence[str]) -> bool:
    """Whether a reply whose intent is certain asks for something that was not offered."""
    return understood not in (NONE, *choices) and len(reply.split()) >= LONG
