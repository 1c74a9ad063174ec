"""The contract of a metric of texts, and the plain spelling that several of them compare."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from plait.outputs.scores import Metrics
from plait.outputs.text.confidence import auroc, calibration_error
from plait.outputs.text.search import Limits

# An apostrophe inside a word, a separator inside a number, a number's minus.
_INSIDE = re.compile(r"(?<=\w)'(?=\w)|(?<=\d)[.,](?=\d)|(?<!\S)-(?=\d)")


CONFIDENCE = {
    "right": "right",
    "calibration_error": "calibration error of the confidence",
    "auroc": "AUROC of the confidence",
}
"""Titles of the scores that only calibrated models have; part of every metric's."""


class TextMetrics(Metrics):
    """Scores texts, one per record, against the right texts of each record, of which there is at
    least one. Registered as a ``metric``, it is what a recipe's ``metrics`` names."""

    lowest: ClassVar[float] = 0.0
    limits: ClassVar[Limits]
    """What such texts look like, where a recipe does not say."""
    library: ClassVar[tuple[str, str] | None] = None
    """The optional library that the metric needs, and the extra that installs it. A missing one is
    noticed before training, not at the first validation."""
    confidences: Sequence[float] | None = None
    """How probable the model thinks that each text is `right`, of calibrated models."""

    @classmethod
    def right(cls, answer: str, references: Sequence[str]) -> bool:
        """Whether a text is right: here, whether it is one of the right texts, as it is spoken."""
        return plain(answer) in map(plain, references)

    @classmethod
    def key_words(cls, words: Sequence[str]) -> Sequence[str]:
        """The words that decide whether a text is right, given all its words; here all of them."""
        return words

    @classmethod
    def agree(cls, key_word: str, word: str) -> bool:
        """Whether a key word of a text and another word mean the same."""
        return key_word == word

    def extras(self) -> dict[str, Any]:
        """Of a calibrated model, else None: the share of right texts, and how well its confidence
        tells them from wrong ones."""
        if self.confidences is None:
            return dict.fromkeys(CONFIDENCE)
        pairs = zip(self.answers, self.references, strict=True)
        right = np.array([self.right(answer, texts) for answer, texts in pairs])
        sure = np.array(self.confidences)
        error, area = calibration_error(sure, right), auroc(sure, right)
        found = {"right": float(right.mean()), "calibration_error": error}
        return found | {"auroc": None if math.isnan(area) else area}


def plain(text: str) -> str:
    """A text as it is spoken: lower case, no punctuation and no signs, one space between words.

    Apostrophes inside a word, points and commas inside a number and its minus stay; any other
    punctuation or sign (the Unicode categories P and S) stands for a space.
    """
    text = unicodedata.normalize("NFC", text).lower().replace("’", "'")
    inside = {match.start() for match in _INSIDE.finditer(text)}
    marks = {at for at, sign in enumerate(text) if unicodedata.category(sign)[0] in "PS"} - inside
    return " ".join("".join(" " if at in marks else s for at, s in enumerate(text)).split())


def positions(words: Sequence[str]) -> dict[str, int]:
    """Each word -> a number with a bit set for each place where it stands; for algorithms that
    compare texts by a few operations on long integers."""
    places: dict[str, int] = {}
    for place, word in enumerate(words):
        places[word] = places.get(word, 0) | 1 << place
    return places
