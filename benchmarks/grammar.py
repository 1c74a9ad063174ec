"""Counts ungrammatical captions by rules: "a orange shirt", "a blue balls", "a man is", "a dog and
a dog".

    python benchmarks/grammar.py captions.csv

The rules are English, and independent of what a model learns to avoid (`fluency` of a text output).
The CSV file is of ``plait caption PHOTOS --out captions.csv``.

Nouns may come twice: "a man in red looks at a man in blue", "a dog chases another dog", "a rock
climber on a rock". It is a fault if a whole phrase comes twice ("a dog and a dog", "in the snow in
the snow") and the first had no description of its own, as "a man in red" and "a dog with a ball"
have. "A bed or beds in a room" is clumsy but grammatical: "a" belongs to "bed" alone.
"""

from __future__ import annotations

import csv
import sys
from itertools import pairwise, takewhile

from plait.outputs.text.metrics.subject import ADJECTIVES, ENDS, SINGULAR

ARTICLES = {"a", "an", "the"}
NO_LAST = {
    *ARTICLES, "and", "or", "with", "of", "in", "on", "at", "is", "are", "to", "from", "by", "for",
    "while", "his", "their", "its", "two", "wearing", "that", "as", "into", "next", "through",
    "near", "under", "holding",
}  # fmt: skip
"""Words that end no caption."""
WORN = {
    "shirt", "sweater", "hat", "coat", "jacket", "vest", "helmet", "makeup", "glasses", "clothes",
    "uniform", "mask", "boots", "shoes", "dress", "pants", "shorts", "tie", "costume", "gloves",
}  # fmt: skip
MAY_END = {
    "on": {"look", "looks", "looking", "going", "goes", "cheer", "cheering", *WORN},
    "by": {"fly", "flies", "flying", "walk", "walks", "walking", "pass", "passes", "passing",
           "goes", "going", "passers", "drives", "stands", "standing"},
    "in": {"look", "looks", "looking", "strapped"},
}  # fmt: skip
"""... but for these words, after others: "another dog looks on", "a girl with a hat on"."""
AS_VOWEL = {
    "hour", "hourglass", "honest", "honor", "honorary", "heir", "suv", "nba", "nfl", "nhl", "mlb",
    "rv", "mri", "hd", "lcd", "led", "x", "8", "11", "18",
}  # fmt: skip
AS_CONSONANT = {
    "one", "once", "unicorn", "uniform", "uniformed", "unicycle", "unicyclist", "union", "united",
    "universal", "university", "used", "user", "useful", "usual", "utensil", "utility", "european",
    "euro", "ukulele", "urinal", "unique", "unit", "u", "us", "usa", "usb", "uk", "ufo", "ewe",
}  # fmt: skip
"""Words that sound as if they began with a vowel, or did not; so do their compounds: "one-way"."""
DESCRIBING = {"in", "with", "wearing", "dressed", "that", "who", "which"}
"""Words that begin a description of the noun before them."""
TWIN = {"pom", "tuk", "yo", "bora", "that", "had", "very", "rows", "miles"}
"""Words that may stand twice: "a pom pom", "rows and rows"."""
PLURALS = {"men", "women", "people", "children", "feet", "geese", "mice", "teeth", "wolves"}


def faults(caption: str) -> list[str]:
    """What is ungrammatical about a caption, in words."""
    words = [bare for word in caption.lower().split() if (bare := word.strip('.,;:!?"()'))]
    words = [  # "black and white" is one adjective
        word
        for at, word in enumerate(words)
        if word != "and" or not ADJECTIVES.issuperset([*words[at - 1 : at], *words[at + 1 :][:1]])
    ]
    found = []
    for first, second in pairwise(words):
        if first in ("a", "an") and _begins_with_vowel(second) != (first == "an"):
            found.append(f"{first} {second}")
        if first == second and first not in TWIN:
            found.append(f"{first} {second}")
    if not words or (
        words[-1] in NO_LAST and MAY_END.get(words[-1], set()).isdisjoint(words[-2:-1])
    ):
        found.append(f"ends with {words[-1] if words else 'nothing'}")
    for first, joined, last in zip(words, words[1:], words[2:], strict=False):
        if first == last and last not in TWIN and joined in ("and", "or", "with"):
            found.append(f"{first} {joined} {last}")
    described: dict[str, bool] = {}  # phrases so far, and whether each had a description
    for at, word in enumerate(words):
        nouns = list(takewhile(_continues, words[at + 1 :]))
        if word not in ARTICLES or ADJECTIVES.issuperset(nouns):
            continue
        before = words[max(0, at - 1) : at] if word == "the" else []
        phrase = " ".join([*before, word, *nouns])
        if described.get(phrase) is False:
            found.append(f"{phrase} twice")
        after = words[at + 1 + len(nouns) :][:2]
        follows = DESCRIBING.issuperset(after[:1]) and after not in ([], ["in", "front"])
        described[phrase] = follows and word != "the"
        if word != "the" and ADJECTIVES.issuperset(nouns[:-1]) and _is_plural(nouns[-1]):
            found.append(f"{word} ... {nouns[-1]}")
    return found


def _begins_with_vowel(word: str) -> bool:
    """Whether a word, or the first part of a compound, sounds so."""
    first = word.split("-")[0].removesuffix("'s")
    return first in AS_VOWEL or (first[:1] in tuple("aeiou") and first not in AS_CONSONANT)


def _continues(word: str) -> bool:
    """Whether a word belongs to a noun phrase that has begun."""
    return not (word in ENDS or word in ARTICLES or word in ("and", "or") or word.endswith("ing"))


def _is_plural(word: str) -> bool:
    singular = word in SINGULAR or word.endswith(("ss", "us", "'s")) or len(word) < 4
    return word in PLURALS or (word.endswith("s") and not singular)


def main(path: str) -> None:
    """Print the captions with faults, and their share."""
    with open(path, newline="", encoding="utf-8") as file:
        captions = [row["caption"] for row in csv.DictReader(file) if row["caption"]]
    wrong = [(caption, found) for caption in captions if (found := faults(caption))]
    for caption, found in wrong:
        print(f"{caption}: {', '.join(found)}")
    print(f"{len(wrong)} of {len(captions)} captions, {len(wrong) / len(captions):.1%}")


if __name__ == "__main__":
    main(sys.argv[1])
