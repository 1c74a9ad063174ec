"""How good answers to questions are: the share that is right, and how near the others come."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.outputs.scores import Scorer, check_paired, with_intervals
from plait.outputs.text.decoding import MOST, Limits
from plait.outputs.text.metrics.base import References, Scoring, Sentences, plain
from plait.outputs.text.metrics.wordnet import Nouns, find_nouns

Floats = NDArray[np.float64]

TITLES = {"accuracy": "accuracy", "wups_09": "WUPS at 0.9", "wups_00": "WUPS at 0.0"}
THRESHOLDS = {"wups_09": 0.9, "wups_00": 0.0}
BELOW = 0.1  # what a likeness below the threshold still counts
ARTICLES = {"a", "an", "the"}
_COMMA = re.compile(r",(?!\d)")  # between the parts of an answer


@dataclass(frozen=True)
class AnswerScores:
    """The scores of one answer a record, where any of the record's references is right.

    Attributes:
        records: how many were scored.
        accuracy: the share of answers that equal a right one, see `plain_answer`.
        wups_09, wups_00: mean likeness to the right answer by WordNet, see `wups`, with the
            thresholds 0.9 and 0.0; None where WordNet is not installed.
        intervals: by score, its 95 % bootstrap percentile interval over records.
    """

    records: int
    accuracy: float
    wups_09: float | None = None
    wups_00: float | None = None
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return vars(self) | {"intervals": {n: list(ends) for n, ends in self.intervals.items()}}


def answer_scores(answers: Sentences, references: References, seed: int = 0) -> AnswerScores:
    """Accuracy and, where WordNet is installed, WUPS over all records, with bootstrap intervals."""
    points, intervals = with_intervals(answer_scorer(answers, references), len(answers), seed)
    return AnswerScores(len(answers), **points, intervals=intervals)


def answer_scorer(answers: Sentences, references: References) -> Scorer:
    """The scores of any choice of the records."""
    check_paired(answers, references)
    each = {"accuracy": _mean_of(_is_right, answers, references)}
    nouns = find_nouns()
    if nouns is not None:
        for name, threshold in THRESHOLDS.items():
            each[name] = _mean_of(partial(_best_wups, nouns, threshold), answers, references)
    return lambda rows: {name: float(values[rows].mean()) for name, values in each.items()}


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


ANSWERS = Scoring(TITLES, ("accuracy",), answer_scorer, answer_scores, Limits(1, MOST, 0))


def _mean_of(
    score: Callable[[str, Sequence[str]], float], answers: Sentences, references: References
) -> Floats:
    """(records,) each answer's score against its right answers, whose mean is the score."""
    pairs = zip(answers, references, strict=True)
    return np.array([score(said, rights) for said, rights in pairs], np.float64)


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
