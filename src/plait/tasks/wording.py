"""How captions are worded: as alternative texts, and which of them say the same."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from plait.outputs.text.metrics.subject import singular
from plait.types import Alternative

LONGEST = 125  # characters of an alternative text; many screen readers pause or stop after them
LITTLE = frozenset((
    "a", "an", "the", "this", "that", "these", "those", "his", "her", "its", "their", "my",
    "your", "our", "some", "of", "in", "on", "at", "by", "with", "without", "to", "from",
    "for", "as", "into", "onto", "over", "under", "near", "behind", "beside", "between",
    "through", "across", "around", "along", "against", "and", "or", "but", "while", "is",
    "are", "was", "were", "be", "being", "been", "has", "have", "very",
))  # fmt: skip
"""Words that make no difference between two captions."""
ENDING = frozenset(("behind", "across", "around", "along"))
"""Those that a sentence may end with: "a man looks around"."""
VARIETY = 0.5  # nats per word that a caption may be less likely, if all its words are other ones
ATTACHED = re.compile(r" (?=[,.;:!?]|n't\b|'(?:s|re|ll|ve|d|m)\b)")
FIRST_SENTENCE = re.compile(r".*?\w{3}[.!?](?=\s|$)")  # not up to St. or U.S.
ENDS = ".!?。！？"


def alternative_texts(captions: Iterable[Alternative]) -> list[Alternative]:
    """Captions, best first, as alternative texts: those that are complete and short enough; if none
    is, the first one, `shortened`. Each once."""
    captions, texts = list(captions), dict[str, Alternative]()
    for caption in captions:
        text = as_sentence(caption.value)
        if len(text) <= LONGEST and is_complete(text):
            texts.setdefault(text, replace(caption, value=text))
    return list(texts.values()) or [
        replace(caption, value=shortened(caption.value)) for caption in captions[:1]
    ]


def as_sentence(text: str) -> str:
    """A text's first sentence, with a capital letter and a full stop."""
    text = ATTACHED.sub("", " ".join(text.split()))
    first = FIRST_SENTENCE.match(text)
    text = (first[0] if first else text).rstrip(" ,;:-")
    text = text[:1].upper() + text[1:]
    return text if not text or text.endswith(tuple(ENDS)) else f"{text}."


def is_complete(sentence: str) -> bool:
    """Whether a sentence ends with a word that can be its last."""
    words = sentence.rstrip(ENDS).split()
    return bool(words) and words[-1].lower() not in LITTLE - ENDING


def shortened(text: str) -> str:
    """A text's first sentence without so many of its last words that it is short and complete, if
    possible up to the end of a phrase."""
    words = as_sentence(text).split()
    cuts = []
    for end in range(len(words), 0, -1):
        sentence = as_sentence(" ".join(words[:end]))
        if len(sentence) <= LONGEST and is_complete(sentence):
            if end == len(words) or words[end].lower() in LITTLE or words[end - 1][-1] in ",;:":
                return sentence
            cuts.append(sentence)
    # The last resort is for a single long word, as in writing without spaces.
    return cuts[0] if cuts else as_sentence(text)[:LONGEST]


def content_words(text: str) -> frozenset[str]:
    """The words of a text that make it differ from others."""
    return frozenset(re.findall(r"[^\W_]+", text.lower())) - LITTLE


def sensible(captions: Sequence[Alternative], expected: Collection[str] = ()) -> list[Alternative]:
    """Captions without those that break off, or say what nobody expects, unless all do; and without
    those that differ from an earlier one only in little words, or in the order of words.

    Args:
        captions: the best first.
        expected: words that may be said of the photo; none if that isn't known.
    """
    known = set(map(singular, expected))

    def is_expected(caption: Alternative) -> bool:
        return not known or known.issuperset(map(singular, content_words(caption.value)))

    whole = [caption for caption in captions if is_complete(caption.value)] or captions
    found = dict[frozenset[str], Alternative]()
    for caption in list(filter(is_expected, whole)) or whole:
        found.setdefault(content_words(caption.value) or frozenset([caption.value]), caption)
    return list(found.values())


def varied(captions: Sequence[Alternative], count: int) -> list[Alternative]:
    """At most ``count`` of the captions: the best one, then each time one that is likely and unlike
    those before (maximal marginal relevance; Carbonell and Goldstein 1998, SIGIR)."""
    left, chosen = list(captions), list[Alternative]()

    def relevance(caption: Alternative) -> float:
        return caption.score - VARIETY * max(shared(caption.value, c.value) for c in chosen)

    while left and len(chosen) < count:
        chosen.append(max(left, key=relevance) if chosen else left[0])
        left.remove(chosen[-1])
    return chosen


def shared(one: str, other: str) -> float:
    """The share of two captions' content words that both have, 0 to 1."""
    a, b = content_words(one), content_words(other)
    return len(a & b) / max(1, len(a | b))


def most_agreed(captions: Sequence[str]) -> int:
    """Which of several captions shares the most words with the others; the one in the middle if
    several do."""
    middle = len(captions) // 2

    def agreement(at: int) -> tuple[float, int]:
        return sum(shared(captions[at], other) for other in captions), -abs(at - middle)

    return max(range(len(captions)), key=agreement)
