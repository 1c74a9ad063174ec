"""Counts ungrammatical captions by rules: "a orange shirt", "a man is", "a dog and a dog".

    python benchmarks/grammar.py captions.csv

The rules are English, and independent of what a model learns to avoid (`fluency` of a text output).
The CSV file is of ``plait caption PHOTOS --out captions.csv``.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from itertools import pairwise

from plait.outputs.text.metrics.subject import ENDS, singular

NO_LAST = {
    "a", "an", "the", "and", "or", "with", "of", "in", "on", "at", "is", "are", "to", "from", "by",
    "for", "while", "his", "her", "their", "its", "two", "wearing", "that", "as", "into", "next",
    "through", "near", "behind", "under", "over", "front", "holding",
}  # fmt: skip
"""Words that end no caption."""
AS_VOWEL, AS_CONSONANT = {"hour", "honest", "heir", "x-ray"}, {
    "one", "once", "unicorn", "uniform", "unicycle", "union", "united", "universal", "university",
    "used", "user", "usual", "utensil", "european", "ukulele", "urinal", "unique", "unit", "u",
}  # fmt: skip
PLAIN = {
    "a", "an", "the", "and", "or", "with", "of", "in", "on", "at", "is", "are", "to", "from", "by",
    "for", "his", "her", "their", "its", "it", "up", "down", "out", "off", "over", "one", "two",
    "black", "white", "red", "blue", "green", "yellow", "brown", "orange", "pink", "grey", "gray",
    "tan", "purple", "other", "another", "each", "side", "next", "while", "as", "standing",
    "sitting", "wearing", "holding", "playing", "large", "small", "young", "little",
}  # fmt: skip
"""Words that may well occur twice."""
SINGULAR = {"bus", "glass", "grass", "dress", "cross", "tennis", "lens", "gas", "mess", "class",
            "canvas", "moss", "compass", "mattress", "christmas", "less", "fitness", "wilderness",
            "business", "princess", "goddess", "boss", "kiss", "octopus", "cactus", "circus",
            "campus", "hibiscus", "this", "its", "his", "across", "plus", "is", "was", "has",
            "series", "species", "headquarters", "brass", "harness", "fortress"}  # fmt: skip
PLURALS = {"men", "women", "people", "children", "feet", "geese", "mice", "teeth"}


def faults(caption: str) -> list[str]:
    """What is ungrammatical about a caption, in words."""
    words = caption.lower().strip(" .!?").split()
    found = []
    for first, second in pairwise(words):
        vowel = second in AS_VOWEL or (second[0] in "aeiou" and second not in AS_CONSONANT)
        if first in ("a", "an") and vowel != (first == "an"):
            found.append(f"{first} {second}")
        if first == second:
            found.append(f"{first} {second}")
    if not words or words[-1] in NO_LAST:
        found.append(f"ends with {words[-1] if words else 'nothing'}")
    counts = Counter(singular(word) for word in words if word not in PLAIN)
    found += [f"{word} twice" for word, count in counts.items() if count > 1]
    for at, word in enumerate(words):
        if word in ("a", "an") and (head := _head(words[at + 1 :])) and _is_plural(head):
            found.append(f"{word} ... {head}")
    return found


def _head(words: list[str]) -> str | None:
    """The last word of the phrase that begins here; None where it may not be a noun."""
    phrase: list[str] = []
    for word in words:
        if word in ENDS or word in PLAIN - {"one"} or word.endswith("ing"):
            if word in {"black", "white", "red", "blue", "green", "large", "small", "young"}:
                continue
            break
        phrase.append(word)
    return phrase[0] if len(phrase) == 1 else None


def _is_plural(word: str) -> bool:
    return word in PLURALS or (
        word.endswith("s") and not word.endswith("ss") and word not in SINGULAR and len(word) > 3
    )


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
