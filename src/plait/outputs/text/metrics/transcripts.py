"""How good transcripts are: error rates of words and characters, counted by jiwer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import jiwer
import numpy as np
from numpy.typing import NDArray

from plait.outputs.scores import Scorer, check_paired, with_intervals
from plait.outputs.text.decoding import MOST, Limits
from plait.outputs.text.metrics.base import References, Scoring, Sentences, plain
from plait.types import PlaitError

Counts = NDArray[np.int64]
Alignment = Sequence[jiwer.AlignmentChunk]

TITLES = {
    "wer": "WER",
    "cer": "CER",
    "word_accuracy": "word accuracy",
    "character_accuracy": "character accuracy",
    "substitutions": "words substituted",
    "deletions": "words left out",
    "insertions": "words put in",
}
KINDS = ("equal", "substitute", "delete", "insert")
CONFUSIONS = 20  # told at the most


@dataclass(frozen=True)
class TranscriptScores:
    """The errors of one transcript a record, against the reference that it is nearest to.

    Both are compared in lower case and without punctuation (`metrics.base.plain`).
    An error is a word that is substituted, left out or put in, in the shortest way from the
    reference to the transcript (Levenshtein, 1966).

    Attributes:
        records: how many were scored.
        wer: word error rate, all errors by all words of the references; above 1 where much is
            put in.
        cer: the same of characters, spaces among them.
        word_accuracy: 1 - ``wer``.
        character_accuracy: 1 - ``cer``.
        words: of the references.
        substitutions, deletions, insertions: numbers of words.
        confusions: (right word, said word, how often), the most frequent first; an empty right
            word was put in, an empty said word was left out.
        intervals: by rate, its 95 % bootstrap percentile interval over records.
    """

    records: int
    wer: float
    cer: float
    word_accuracy: float
    character_accuracy: float
    words: int
    substitutions: int
    deletions: int
    insertions: int
    confusions: Sequence[tuple[str, str, int]]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return vars(self) | {
            "confusions": [list(confusion) for confusion in self.confusions],
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
        }


def transcript_scores(
    answers: Sentences, references: References, seed: int = 0
) -> TranscriptScores:
    """Error rates over all records, with bootstrap intervals from each record's counts."""
    single = _Transcripts(answers, references)
    points, intervals = with_intervals(single, len(answers), seed)
    right, substituted, left_out, put_in = map(int, single.words.sum(axis=0))
    confusions = Counter(pair for found in single.aligned for pair in _errors(found))
    ranked = sorted(confusions.items(), key=lambda item: (-item[1], item[0]))
    return TranscriptScores(
        records=len(answers),
        **points,
        words=right + substituted + left_out,
        substitutions=substituted,
        deletions=left_out,
        insertions=put_in,
        confusions=[(*pair, count) for pair, count in ranked[:CONFUSIONS]],
        intervals=intervals,
    )


def transcript_scorer(answers: Sentences, references: References) -> Scorer:
    """The rates of any choice of the records."""
    return _Transcripts(answers, references)


def aligned_errors(reference: str, answer: str) -> str:
    """Two lines, ``REF:`` and ``HYP:``, with the words that stand for each other below each other:
    errors in capitals, stars where a word is put in or left out."""
    (pair,) = _aligned([plain(reference)], [plain(answer)])
    return _lines(pair)


def most_wrong(answers: Sentences, references: References) -> list[tuple[int, str]]:
    """The records whose transcripts have errors, with their lines as of `aligned_errors`; those
    with the most errors a word first."""
    pairs = _Transcripts(answers, references).aligned
    rates = [_rate(np.array(pair.counts())) for pair in pairs]
    order = sorted(range(len(pairs)), key=lambda row: -rates[row])
    return [(row, _lines(pairs[row])) for row in order if rates[row]]


def _lines(pair: _Aligned) -> str:
    columns = [_column(right, said) for right, said in pair.words()]
    lines = [" ".join(words).rstrip() for words in zip(*columns, strict=True)] or ["", ""]
    return f"REF: {lines[0]}\nHYP: {lines[1]}"


TRANSCRIPTS = Scoring(
    TITLES,
    ("word_accuracy", "character_accuracy"),
    transcript_scorer,
    transcript_scores,
    Limits(0, MOST, 0),  # silence says nothing
    least=-math.inf,  # more words may be wrong than there are
)


class _Transcripts:
    """Each record's counts of errors, from which the rates of any choice of records are made."""

    def __init__(self, answers: Sentences, references: References) -> None:
        check_paired(answers, references)
        pairs = [
            _nearest([plain(right) for right in rights], plain(said))
            for said, rights in zip(answers, references, strict=True)
        ]
        self.aligned = pairs
        self.words = np.array([pair.counts() for pair in pairs], np.int64)
        if not self.words[:, :3].any():
            raise PlaitError("no word in any reference", expected="transcripts of words")
        letters = jiwer.process_characters([p.reference for p in pairs], [p.answer for p in pairs])
        self.characters = np.array([_counts(found) for found in letters.alignments], np.int64)

    def __call__(self, rows: NDArray[np.int64]) -> dict[str, float]:
        """The rates of these records, some of which may be several times among them."""
        wer, cer = (_rate(counts[rows].sum(axis=0)) for counts in (self.words, self.characters))
        return {
            "wer": wer,
            "cer": cer,
            "word_accuracy": 1 - wer,
            "character_accuracy": 1 - cer,
        }


@dataclass(frozen=True)
class _Aligned:
    """A plain reference and a plain answer, and how their words stand for each other."""

    reference: str
    answer: str
    alignment: Alignment

    def counts(self) -> list[int]:
        return _counts(self.alignment)

    def words(self) -> Iterator[tuple[str, str]]:
        """(right word, said word) in turn; an empty one where there is none."""
        right, said = self.reference.split(), self.answer.split()
        for chunk in self.alignment:
            first = right[chunk.ref_start_idx : chunk.ref_end_idx]
            second = said[chunk.hyp_start_idx : chunk.hyp_end_idx]
            yield from zip_longest(first, second, fillvalue="")


def _aligned(references: Sequence[str], answers: Sequence[str]) -> list[_Aligned]:
    found = jiwer.process_words(list(references), list(answers)).alignments
    return [_Aligned(*pair) for pair in zip(references, answers, found, strict=True)]


def _nearest(references: Sequence[str], answer: str) -> _Aligned:
    """The answer beside the reference with the least error rate, the first of several."""
    found = _aligned(references, [answer] * len(references))
    return min(found, key=lambda pair: _rate(np.array(pair.counts())))


def _counts(alignment: Alignment) -> list[int]:
    """How much is right, substituted, left out and put in."""
    sizes = Counter[str]()
    for chunk in alignment:
        right = chunk.ref_end_idx - chunk.ref_start_idx
        said = chunk.hyp_end_idx - chunk.hyp_start_idx
        sizes[chunk.type] += max(right, said)
    return [sizes[kind] for kind in KINDS]


def _rate(counts: Counts) -> float:
    """Errors by what the references hold; where that is nothing, the number of errors."""
    right, substituted, left_out, put_in = counts.tolist()
    return (substituted + left_out + put_in) / max(right + substituted + left_out, 1)


def _errors(pair: _Aligned) -> Iterator[tuple[str, str]]:
    return ((right, said) for right, said in pair.words() if right != said)


def _column(right: str, said: str) -> tuple[str, str]:
    """A word of each, equally wide."""
    if right != said:
        right, said = right.upper() or "*" * len(said), said.upper() or "*" * len(right)
    width = max(len(right), len(said))
    return right.ljust(width), said.ljust(width)
