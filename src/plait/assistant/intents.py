"""What a request asks for, told by a trained package; and asking back where that is not clear."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from plait.assistant.phrases import openings, without_quotes
from plait.model import Model
from plait.network import build_output
from plait.package.format import read_package
from plait.types import UsageError


@dataclass(frozen=True)
class Intent:
    """How people are told of an intent, and what they call it when they choose it.

    Attributes:
        noun: what there is a model for.
        offer: what the assistant would do, after "Shall I".
        words: of a reply that chooses it.
    """

    noun: str
    offer: str
    words: frozenset[str]


CAPTION, QUESTION, TRANSLATION = "caption", "question", "translation"
SIMILAR, SEARCH, NONE = "similar", "search", "none"
INTENTS: Mapping[str, Intent] = {
    CAPTION: Intent(
        "captions", "caption the photo", frozenset({"caption", "describe", "description"})
    ),
    QUESTION: Intent(
        "questions", "answer a question about the photo", frozenset({"question", "answer"})
    ),
    TRANSLATION: Intent("translation", "translate a text", frozenset({"translate", "translation"})),
    SIMILAR: Intent(
        "similar photos",
        "search for similar photos",
        frozenset({"similar", "like", "alike", "search", "find"}),
    ),
    SEARCH: Intent(
        "photos by words",
        "search the photos for your words",
        frozenset({"words", "word", "search", "find"}),
    ),
}
"""Those of the shipped package; another may have its own, each answered by the model named so."""
ASIDE = frozenset({SIMILAR, SEARCH, NONE})
"""Intents that no model under ``models`` answers."""

DIGITS = 4  # of a probability that are kept
SURE = 0.8  # probability from which an opening asks for a translation
NEITHER = ""
OFFERED = 3  # meanings at the most when asking back
LIKELY = 0.1  # of a third one
LONG = 4  # words of a reply that may be a request of its own, though offers have its words too
ORDINALS = ({"first", "1", "1st", "former"}, {"second", "2", "2nd", "two"},
            {"third", "3", "3rd", "three"})  # fmt: skip
LAST = {"last", "latter"}
YES = {"yes", "y", "yeah", "yep", "ok", "okay", "sure", "do", "please"}
NO = {"no", "n", "nope", "none", "neither", "nothing", "cancel", "stop", "not"}
FILLERS = {"the", "a", "one", "ones", "it", "this", "that", "these", "them", "of", "for", "i",
           "mean", "meant", "want", "would", "like", "d", "take", "choose", "number", "option",
           "choice", "thanks", "thank", "you", "can", "could", "me", "my", "your"}  # fmt: skip


def about(name: str) -> Intent:
    """How people are told of an intent, also of a package's own."""
    own = Intent(name, f"ask the model for {name}", frozenset(name.lower().split()))
    return INTENTS.get(name, own)


def intents_of(package: str) -> list[str]:
    """The intents that a package tells apart.

    Raises:
        PlaitError: there is no such package.
        UsageError: it tells none apart.
    """
    found = read_package(package)
    first, spec = next(iter(found.recipe.outputs.items()))
    texts = all(spec.modality == "text" for spec in found.recipe.inputs.values())
    if not texts or spec.component.answer_type != "category":
        raise UsageError(f"{package} tells no intents", expected="a package: texts to a category")
    output = build_output(spec).with_state(found.states[f"outputs.{first}"])
    return [str(name) for name in output.choices or ()]


def route(router: Model, request: str) -> dict[str, float]:
    """The probability of every intent, the likeliest first.

    A text to translate has words of any intent: it is left out where it is quoted, and where the
    opening alone asks for a translation.
    """
    whole = without_quotes(request)
    *opening, all_of_it = router.predict_many(
        [dict.fromkeys(router.recipe.inputs, words) for words in (*openings(whole), whole)]
    )
    sure = (one for one in opening if one.value == TRANSLATION and one.score >= SURE)
    probabilities = router.output_of(router.output).probabilities(next(sure, all_of_it))
    return {str(name): round(p, DIGITS) for name, p in probabilities.items()}


def meanings(probable: Mapping[str, float], able: Collection[str]) -> list[str]:
    """Which intents to name when asking back, the likeliest first: those that can be done."""
    named = [name for name in probable if name != NONE and name in able]
    return [n for at, n in enumerate(named[:OFFERED]) if at < OFFERED - 1 or probable[n] >= LIKELY]


def question(choices: Sequence[str]) -> str:
    """What is asked back."""
    offers = [about(name).offer for name in choices]
    *others, last = offers
    return f"Shall I {', '.join(others)}{', or ' if others else ''}{last}?"


def chosen(reply: str, choices: Sequence[str]) -> str | None:
    """The intent that a reply chooses of those offered, a mere yes the first; `NEITHER`; None where
    it is no choice but a request of its own: it says more than which one, as in "is the last one
    red"."""
    words = set(re.findall(r"\w+", reply.lower()))
    own = {name: about(name).words | set(about(name).offer.lower().split()) for name in choices}
    if not words <= LAST.union(*ORDINALS, YES, NO, FILLERS, *own.values()):
        return None
    return _by_place(words, choices) or _by_name(words, choices)


def _by_place(words: set[str], choices: Sequence[str]) -> str | None:
    """The second one, please."""
    for names, choice in zip([LAST, *ORDINALS], [*choices[-1:], *choices], strict=False):
        if words & names and words <= names | YES | NO | FILLERS:
            return choice
    return None


def _by_name(words: set[str], choices: Sequence[str]) -> str | None:
    hits = {name: len(words & about(name).words) for name in choices}
    best = [name for name in choices if hits[name] == max(hits.values()) > 0]
    if len(best) == 1:
        return best[0]
    if words & NO:
        return NEITHER
    return choices[0] if choices and words & YES else None


def is_own(reply: str, intent: str, choices: Sequence[str]) -> bool:
    """Whether a reply that was surely understood asks for something else than was offered."""
    return intent not in (NONE, *choices) and len(reply.split()) >= LONG
