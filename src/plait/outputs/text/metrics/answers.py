"""How good answers to questions are: the share that is right, and how near the others come."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from plait.outputs.text.decoding import MOST, Limits
from plait.outputs.text.metrics.base import Floats, References, TextMetrics, Texts, plain
from plait.outputs.text.metrics.wordnet import Nouns, find_nouns

THRESHOLDS = {"wups_09": 0.9, "wups_00": 0.0}
BELOW = 0.1  # what a likeness below the threshold still counts
ARTICLES = {"a", "an", "the"}
_COMMA = re.compile(r",(?!\d)")  # between the parts of an answer


class AnswerMetrics(TextMetrics):
    """Accuracy of answers, of which any of the record's references is right, and, where WordNet is
    installed, their mean likeness to the right answer (see `wups`, thresholds 0.9 and 0.0)."""

    titles: ClassVar[Mapping[str, str]] = {
        "accuracy": "accuracy",
        "wups_09": "WUPS at 0.9",
        "wups_00": "WUPS at 0.0",
    }
    best_metrics = ("accuracy",)
    limits = Limits(1, MOST, 0)

    def __init__(self, predictions: Texts, references: References) -> None:
        super().__init__(predictions, references)
        self._each = {"accuracy": self._values(_is_right)}
        nouns = find_nouns()
        if nouns is not None:
            for name, threshold in THRESHOLDS.items():
                self._each[name] = self._values(partial(_best_wups, nouns, threshold))

    def _values(self, score: Callable[[str, Sequence[str]], float]) -> Floats:
        """(records,) each answer's score against its right answers, whose mean is the score."""
        pairs = zip(self.predictions, self.references, strict=True)
        return np.array([score(answer, rights) for answer, rights in pairs], np.float64)

    def __call__(self, rows: NDArray[np.int64]) -> dict[str, float]:
        """Means over these records."""
        return {name: float(values[rows].mean()) for name, values in self._each.items()}

    def extras(self) -> dict[str, Any]:
        """None for the scores that need WordNet, where it is missing."""
        return {name: None for name in THRESHOLDS if name not in self._each}


def plain_answer(text: str) -> str:
    """An answer without case, punctuation and English articles, as SQuAD compares them (Rajpurkar
    et al. 2016, arXiv:1606.05250); what is nothing else stays."""
    words = plain(text).split()
    kept = [word for word in words if word not in ARTICLES]
    return " ".join(kept or words) or text.strip().lower()


def wups(answer: str, right: str, nouns: Nouns, threshold: float) -> float:
    """How alike two answers are, 0 to 1 (WUPS; Malinowski and Fritz 2014, arXiv:1410.0210).

    An answer is a set of parts with commas between them. Each part counts with its likeness to the
    nearest part of the other answer; the product of these is taken from both sides, and the lesser
    counts. Likeness is 1 for equal parts, else Wu and Palmer's similarity of the nouns, of which
    a tenth counts where it is below the threshold.
    """
    said, wanted = _parts(answer), _parts(right)
    alike = np.array([[_likeness(a, b, nouns, threshold) for b in wanted] for a in said])
    return float(min(alike.max(axis=1).prod(), alike.max(axis=0).prod()))


def _is_right(answer: str, rights: Sequence[str]) -> float:
    return float(plain_answer(answer) in map(plain_answer, rights))


def _best_wups(nouns: Nouns, threshold: float, answer: str, rights: Sequence[str]) -> float:
    return max(wups(answer, right, nouns, threshold) for right in rights)


def _parts(answer: str) -> list[str]:
    """An answer's parts, each once; the empty answer has one, which is like no other."""
    return sorted({plain_answer(part) for part in _COMMA.split(answer)})


def _likeness(one: str, other: str, nouns: Nouns, threshold: float) -> float:
    if one == other:
        return 1.0
    alike = nouns.similarity(one, other)
    return alike if alike >= threshold else BELOW * alike
