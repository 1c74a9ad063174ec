"""How good answers to questions are: the share that is right, and how near the others come."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.config.registry import register
from plait.outputs.text.metrics.base import CONFIDENCE, TextMetrics, plain
from plait.outputs.text.metrics.wordnet import Nouns, find_nouns
from plait.outputs.text.search import MOST, Limits

THRESHOLDS = {"wups_09": 0.9, "wups_00": 0.0}
BELOW = 0.1  # what a likeness below the threshold still counts
ARTICLES = {"a", "an", "the"}
_COMMA = re.compile(r",(?!\d)")  # between the parts of an answer


@register("metric", "answers")
class AnswerMetrics(TextMetrics):
    """Accuracy of answers and, where WordNet is installed, how close the wrong ones come.

    An answer is right if it equals any of the record's references. The closeness is the mean of
    `wups`, with the thresholds 0.9 and 0.0."""

    titles = {
        "accuracy": "accuracy",
        "wups_09": "WUPS at 0.9",
        "wups_00": "WUPS at 0.0",
        **CONFIDENCE,
    }
    best_metrics = ("accuracy",)
    limits = Limits(1, MOST, 0)

    def __init__(self, answers: Sequence[str], references: Sequence[Sequence[str]]) -> None:
        super().__init__(answers, references)
        pairs = list(zip(answers, references, strict=True))
        right = [self.right(said, rights) for said, rights in pairs]
        self._each = {"accuracy": np.array(right, np.float64)}  # (records,), whose means are scores
        nouns = find_nouns()
        if nouns is not None:
            for name, least in THRESHOLDS.items():
                best = [max(wups(said, r, nouns, least) for r in rights) for said, rights in pairs]
                self._each[name] = np.array(best)

    @classmethod
    def right(cls, answer: str, references: Sequence[str]) -> bool:
        """Whether it equals any of the references."""
        return plain_answer(answer) in map(plain_answer, references)

    def __call__(self, rows: NDArray[np.int64]) -> dict[str, float]:
        """Means over these records."""
        return {name: float(values[rows].mean()) for name, values in self._each.items()}

    def extras(self) -> dict[str, Any]:
        """None for the scores that need WordNet, where it is missing."""
        missing = {name: None for name in THRESHOLDS if name not in self._each}
        return missing | super().extras()


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

    def likeness(one: str, other: str) -> float:
        if one == other:
            return 1.0
        alike = nouns.similarity(one, other)
        return alike if alike >= threshold else BELOW * alike

    # Each part once; the empty answer has one, which is like no other.
    said, wanted = (sorted({plain_answer(p) for p in _COMMA.split(t)}) for t in (answer, right))
    alike = np.array([[likeness(a, b) for b in wanted] for a in said])
    return float(min(alike.max(axis=1).prod(), alike.max(axis=0).prod()))
