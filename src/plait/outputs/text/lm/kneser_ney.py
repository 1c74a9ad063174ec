"""Interpolated modified Kneser-Ney smoothing (Chen and Goodman 1998, TR-10-98, section 3).

An n-gram's count less a discount, and what the discounts save given to the shorter context:

    p(w | h) = (c(hw) - D(c(hw))) / c(h) + g(h) p(w | h'),    h' is h without its first word

and at the end p(w) = (c(w) - D(c(w))) / c() + g() / (V - 2): ids never seen have probability too,
all but padding and start. Counts of the longest n-grams, and of those at a sentence's start, are
plain; of the others it is before how many different words they occur that counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plait.data.vocabulary import BOS, PAD

NEVER_FOLLOWS = (PAD, BOS)
DISCOUNTS = (0.5, 1.0, 1.5)
"""Of n-grams that count 1, 2, and 3 or more, where a text is too short to estimate them."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Level:
    """The n-grams of one length in back-off form, sorted by ``codes``.

    Attributes:
        codes: (n,) the number of the n-gram's context among the n-grams one word shorter, times V,
            plus its last word. Of length 1 there are all V.
        scores: (n,) ln p of its last word after the others.
        backoffs: (n,) ln g of the n-gram as a context; 0 where nothing follows it.
    """

    codes: Ints
    scores: Floats
    backoffs: Floats


@dataclass(frozen=True)
class _Counted:
    """The n-grams of one length in a stream.

    Attributes:
        codes: (n,) as in `Level`.
        counts: (n,) how often each occurs.
        ends: (n,) the place where one of its occurrences ends.
        numbers: (T,) which of them ends at a place; any where none does.
        first: (n,) bool, whether it begins with a sentence's start.
    """

    codes: Ints
    counts: Ints
    ends: Ints
    numbers: Ints
    first: NDArray[np.bool_]


def estimate_levels(stream: Ints, vocabulary: int, order: int) -> list[Level]:
    """The n-grams of length 1, 2, ... up to ``order``, or to the longest that there are.

    Args:
        stream: (T,) one sentence after the other, each with its start and end.
        vocabulary: V.
    """
    levels = _counted(stream, vocabulary, order)
    shorter = _uniform(vocabulary)
    probabilities: list[Floats] = []
    weights: list[Floats] = []  # of the contexts of each length
    for length, level in enumerate(levels):
        counts = _kneser_ney_counts(level, levels[length + 1 : length + 2])
        if length:
            shorter = probabilities[-1][levels[length - 1].numbers[level.ends]]
        contexts, size = level.codes // vocabulary, len(levels[length - 1].codes) if length else 1
        probability, weight = _interpolated(counts, contexts, size, shorter)
        probabilities.append(probability)
        weights.append(weight)
    weights.append(np.ones(len(levels[-1].codes)))
    with np.errstate(divide="ignore"):  # ln 0 of padding and start
        return [
            Level(level.codes, np.log(probability), np.log(weight))
            for level, probability, weight in zip(levels, probabilities, weights[1:], strict=True)
        ]


def _uniform(vocabulary: int) -> Floats:
    probabilities = np.full(vocabulary, 1 / (vocabulary - len(NEVER_FOLLOWS)))
    probabilities[list(NEVER_FOLLOWS)] = 0.0
    return probabilities


def _counted(stream: Ints, vocabulary: int, order: int) -> list[_Counted]:
    """The n-grams of length 1, 2, ..., numbered from those one word shorter."""
    ids = np.arange(vocabulary)
    counts = np.bincount(stream, minlength=vocabulary)
    counts[BOS] = 0  # it is never predicted
    found = [_Counted(ids, counts, np.zeros_like(ids), stream, ids == BOS)]
    places = np.arange(len(stream))
    starts = np.maximum.accumulate(np.where(stream == BOS, places, 0))
    for length in range(2, order + 1):
        ends = places[places - starts >= length - 1]
        if not len(ends):  # no sentence is as long
            break
        contexts = found[-1].numbers[ends - 1]
        codes, one, which, counts = np.unique(
            contexts * vocabulary + stream[ends],
            return_index=True,
            return_inverse=True,
            return_counts=True,
        )
        numbers = np.zeros_like(stream)
        numbers[ends] = which
        first = found[-1].first[codes // vocabulary]
        found.append(_Counted(codes, counts, ends[one], numbers, first))
    return found


def _kneser_ney_counts(level: _Counted, longer: list[_Counted]) -> Ints:
    """How many different words stand before each n-gram; nothing can before a start.

    Args:
        longer: the n-grams one word longer; none where there are no longer ones.
    """
    if not longer:
        return level.counts
    before = np.bincount(level.numbers[longer[0].ends], minlength=len(level.counts))
    return np.where(level.first, level.counts, before)


def _interpolated(
    counts: Ints, contexts: Ints, size: int, shorter: Floats
) -> tuple[Floats, Floats]:
    """(n,) p of n-grams, and (size,) g of their contexts; 1 where nothing follows.

    Args:
        counts, contexts, shorter: (n,) of each n-gram, ``shorter`` being p(w | h').
    """
    discounts = estimate_discounts(counts)[np.minimum(counts, 3)]
    totals = np.bincount(contexts, counts, size)
    saved = np.bincount(contexts, discounts, size)
    weights = np.divide(saved, totals, out=np.ones(size), where=totals > 0)
    return (counts - discounts) / totals[contexts] + weights[contexts] * shorter, weights


def estimate_discounts(counts: Ints) -> Floats:
    """What is taken from n-grams that count 0, 1, 2, and 3 or more.

    Chen and Goodman's equation 26: from how many count 1, 2, 3 and 4. Where one of these is 0,
    or a discount not above 0, the text is too short for it, and `DISCOUNTS` serve.
    """
    n = np.bincount(np.minimum(counts, 5), minlength=6).astype(np.float64)
    if n[1:5].all():
        y = n[1] / (n[1] + 2 * n[2])
        found = [k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3)]
        if min(found) > 0:
            return np.array([0.0, *found])
    return np.array([0.0, *DISCOUNTS])
