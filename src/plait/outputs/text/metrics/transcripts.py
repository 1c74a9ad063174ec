"""Error rates of transcripts, by words and by characters."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from plait.config.registry import register
from plait.outputs.text.metrics.base import CONFIDENCE, TextMetrics, plain, positions
from plait.outputs.text.search import MOST, Limits
from plait.types import PlaitError

Alignment: TypeAlias = list[tuple[str, str]]
"""(right word, predicted word) in turn; an empty one if there is none."""

CONFUSIONS = 20  # shown at most


@register("metric", "transcripts")
class TranscriptMetrics(TextMetrics):
    """Errors of transcripts, each against its nearest reference.

    Both are compared in lower case and without punctuation (`metrics.base.plain`). An error is a
    word that is substituted, left out or put in, in the shortest way from the reference to the
    transcript (Levenshtein, 1966). The word error rate ``wer`` is all errors by
    all words of the references, above 1 where much is put in; ``cer`` is the same of characters,
    spaces among them; the accuracies are 1 minus these. A reference may be empty, as nothing is
    said: each word put in there is an error. Where all are empty, the rates are the numbers of
    words and characters put in. Extras are the numbers of ``words`` of the
    references, ``substitutions``, ``deletions`` and ``insertions``, and the most frequent
    ``confusions``: [right word, predicted word, how often], where an empty right word was put in
    and an empty predicted word was left out.
    """

    titles = {
        "wer": "WER",
        "cer": "CER",
        "word_accuracy": "word accuracy",
        "character_accuracy": "character accuracy",
        "substitutions": "words substituted",
        "deletions": "words left out",
        "insertions": "words put in",
        **CONFIDENCE,
    }
    best_metrics = ("word_accuracy", "character_accuracy")
    lowest = -math.inf  # more words may be wrong than there are
    limits = Limits(0, MOST, 0)  # the transcript of silence is empty

    def __init__(self, answers: Sequence[str], references: Sequence[Sequence[str]]) -> None:
        super().__init__(answers, references)
        self._alignments: list[Alignment] = []
        characters = []
        for said, rights in zip(map(plain, answers), references, strict=True):
            spoken = [plain(right) for right in rights]
            found = [align(right.split(), said.split()) for right in spoken]
            nearest = min(range(len(found)), key=lambda n: _rate(_counts(found[n])))
            self._alignments.append(found[nearest])
            characters.append(_counts(align(spoken[nearest], said)))
        # (records, 2) each: errors, words or characters
        self._words: NDArray[np.int64] = np.array([_counts(each) for each in self._alignments])
        self._characters: NDArray[np.int64] = np.array(characters)
        said_something = any(right.strip() for rights in references for right in rights)
        if said_something and not self._words[:, 1].any():
            raise PlaitError("no word in any reference", expected="transcripts of words")

    def __call__(self, rows: NDArray[np.int64]) -> dict[str, float]:
        """The rates of these records."""
        wer = _rate(self._words[rows].sum(axis=0).tolist())
        cer = _rate(self._characters[rows].sum(axis=0).tolist())
        return {"wer": wer, "cer": cer, "word_accuracy": 1 - wer, "character_accuracy": 1 - cer}

    def extras(self) -> dict[str, Any]:
        """How many words are wrong in each way, and which are confused most often."""
        wrong = Counter(pair for found in self._alignments for pair in found if pair[0] != pair[1])
        ranked = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))
        insertions = sum(count for (right, _), count in wrong.items() if not right)
        deletions = sum(count for (_, said), count in wrong.items() if not said)
        return {
            "words": int(self._words[:, 1].sum()),
            "substitutions": wrong.total() - insertions - deletions,
            "deletions": deletions,
            "insertions": insertions,
            "confusions": [[*pair, count] for pair, count in ranked[:CONFUSIONS]],
            **super().extras(),
        }

    def errors(self) -> list[tuple[int, str]]:
        """The transcripts with errors, the most errors per word first, see `aligned`."""
        rates = [_rate(counts) for counts in self._words.tolist()]
        order = sorted(range(len(rates)), key=lambda row: -rates[row])
        return [(row, _lines(self._alignments[row])) for row in order if rates[row]]


def aligned(reference: str, prediction: str) -> str:
    """Two lines, ``REF:`` and ``HYP:``, with the words that stand for each other below each other:
    errors in capitals, stars where a word is put in or left out."""
    return _lines(align(plain(reference).split(), plain(prediction).split()))


def align(right: Sequence[str], said: Sequence[str]) -> Alignment:
    """The shortest way from ``right`` to ``said`` by substitutions, deletions and insertions.

    Levenshtein's table has a bit of two bit vectors for each of its cells, whether the cell is one
    above or one below its neighbour, and a row of it takes a few operations on long integers
    (Myers 1999; Hyyrö 2003, "A bit-vector algorithm for computing Levenshtein and Damerau edit
    distances"). What is equal at both ends is set aside first. Of several shortest ways the one is
    taken that deletes, else inserts, as late as it can.
    """
    shorter = min(len(right), len(said))
    head = next((n for n in range(shorter) if right[n] != said[n]), shorter)
    shorter -= head
    tail = next((n for n in range(shorter) if right[-1 - n] != said[-1 - n]), shorter)
    end = len(right) - tail
    source, target = right[head:end], said[head : len(said) - tail]
    # For each of ``target`` the table's row: a bit of ``source`` is set in the first number where
    # the cell is one above its left neighbour's, in the second where it is one below.
    rows = []
    places = positions(source)
    every = (1 << len(source)) - 1
    above, below = every, 0
    for word in target:
        equal = places.get(word, 0)
        diagonal = ((((equal & above) + above) ^ above) | equal | below) & every
        grown = (below | ~(diagonal | above)) << 1 | 1
        shrunk = (diagonal & above) << 1
        above = (shrunk | ~(diagonal | grown)) & every
        below = grown & diagonal
        rows.append((above, below))
    pairs: Alignment = []
    column, row = len(source), len(target)
    while column and row:
        above, _ = rows[row - 1]
        if above >> (column - 1) & 1:
            column -= 1
            pairs.append((source[column], ""))
            continue
        row -= 1
        if row and rows[row - 1][1] >> (column - 1) & 1:
            pairs.append(("", target[row]))
        else:
            column -= 1
            pairs.append((source[column], target[row]))
    pairs += [(word, "") for word in reversed(source[:column])]
    pairs += [("", word) for word in reversed(target[:row])]
    same = [(word, word) for word in right]
    return [*same[:head], *reversed(pairs), *same[end:]]


def _counts(alignment: Alignment) -> tuple[int, int]:
    """Errors, and words of the reference."""
    return sum(a != b for a, b in alignment), sum(bool(right) for right, _ in alignment)


def _rate(counts: Sequence[int]) -> float:
    """Errors by what the references hold; where that is nothing, the number of errors."""
    errors, words = counts
    return errors / max(words, 1)


def _lines(alignment: Alignment) -> str:
    lines: tuple[list[str], list[str]] = ([], [])
    for right, said in alignment:
        if right != said:
            right, said = right.upper() or "*" * len(said), said.upper() or "*" * len(right)
        width = max(len(right), len(said))
        lines[0].append(right.ljust(width))
        lines[1].append(said.ljust(width))
    return f"REF: {' '.join(lines[0]).rstrip()}\nHYP: {' '.join(lines[1]).rstrip()}"
