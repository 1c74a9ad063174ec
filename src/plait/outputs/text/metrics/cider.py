"""CIDEr-D as a reward: thousands of captions a second against fixed references.

Self-critical training (Rennie et al., arXiv:1612.00563) scores every sampled caption in every
step. The references do not change, so their TF-IDF vectors are made once, as sorted arrays; a
batch of hypotheses is then a few sorts, searches and sums in numpy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from plait.types import PlaitError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

ORDERS = 4  # n-grams of one to four words
SIGMA = 6.0
SCALE = 10.0
_TOKEN_LIMIT = 1 << 31  # an n-gram's code is (number of its prefix) * limit + last token
_ROW_SHIFT = 32  # a (row, n-gram) pair's code is row << shift | n-gram


@dataclass(frozen=True)
class _Ragged:
    """Sentences end to end, with where each starts."""

    tokens: Ints  # (total,)
    starts: Ints  # (sentences,)
    lengths: Ints  # (sentences,)


@dataclass(frozen=True)
class _Counts:
    """How often each sentence has each n-gram of one order, sorted by sentence, then n-gram."""

    rows: Ints
    grams: Ints
    counts: Floats


@dataclass(frozen=True)
class _Order:
    """The references' n-grams of one order."""

    codes: Ints  # sorted; an n-gram's number is its place here
    idf: Floats  # by number
    keys: Ints  # sorted (photo, n-gram) pairs
    starts: Ints  # where a pair's entries start, one entry for each reference that has it
    sizes: Ints
    sentences: Ints  # the entries: which reference
    weights: Floats  # its TF-IDF
    normed: Floats  # and the same over the reference's norm


class CiderReward:
    r"""CIDEr-D (Vedantam et al., arXiv:1411.5726, section 5) of token-id captions.

    For a hypothesis c of photo i with m references s_j, and g the TF-IDF vectors of n-grams::

        CIDEr-D(c) = 10/4 * sum_n 1/m sum_j exp(-(l(c) - l(s_j))^2 / (2 * 6^2))
                     * min(g_n(c), g_n(s_j)) . g_n(s_j) / (|g_n(c)| |g_n(s_j)|)

    Document frequencies count photos among the references given here. The factor 10 is the
    paper's, and the scale on which results are published (0.6 rather than 0.06); the values equal
    pycocoevalcap's ``CiderScorer`` on the same references.

    Args:
        references: for each photo, its captions as lists of token ids. The end-of-sentence id is
            a token like any other where the caller puts it in, here and in the hypotheses alike.
    """

    def __init__(self, references: Sequence[Sequence[Sequence[int]]]) -> None:
        empty = [index for index, captions in enumerate(references) if not captions]
        if empty or not references:
            raise PlaitError(
                f"no reference captions for photo {empty[0]}" if empty else "no reference captions",
                expected="one caption or more for each photo",
            )
        sentences = _ragged(list(chain.from_iterable(references)))
        self._per_photo: Ints = np.array([len(captions) for captions in references], np.int64)
        photos = np.repeat(np.arange(len(references), dtype=np.int64), self._per_photo)
        self._lengths = _lengths(sentences)
        self._unseen = float(np.log(len(references)))  # the IDF of an n-gram of no reference
        self._orders: list[_Order] = []
        previous = sentences.tokens
        for order in range(ORDERS):
            places = _places(sentences, order)
            codes = _codes(sentences, previous, places, order)
            table, numbers = np.unique(codes, return_inverse=True)
            previous = _scatter(sentences, places, numbers)
            counts = _count(_rows(sentences, places), numbers)
            self._orders.append(_index(table, counts, photos, self._unseen))

    def __len__(self) -> int:
        return len(self._per_photo)

    def scores(self, photo_indexes: Sequence[int], hypotheses: Sequence[Sequence[int]]) -> Floats:
        """(N,) CIDEr-D of each hypothesis against the references of its photo."""
        photos: Ints = np.asarray(photo_indexes, np.int64)
        if photos.shape != (len(hypotheses),):
            raise ValueError(f"{len(hypotheses)} hypotheses want as many photos, got {photos.size}")
        if not len(hypotheses):
            return np.zeros(0)
        if photos.min() < 0 or photos.max() >= len(self):
            raise IndexError(f"photo indexes go from 0 to {len(self) - 1}")
        sentences = _ragged(hypotheses)
        lengths = _lengths(sentences)
        total = np.zeros(len(photos))
        for order, rows, grams in self._known_grams(sentences):
            total += self._similarity(order, _count(rows, grams), photos, lengths)
        return total * (SCALE / ORDERS) / self._per_photo[photos]

    def consensus(
        self, references: Sequence[Sequence[Sequence[int]]], strength: float
    ) -> list[list[float]]:
        """A weight for each reference: exp(strength · its CIDEr-D against the record's others),
        scaled so that a record's weights have mean 1 (``references`` as at the start)."""
        rows = [row for row, sentences in enumerate(references) for _ in sentences]
        flat = list(chain.from_iterable(references))
        scores, owns = iter(self.scores(rows, flat)), iter(self._with_themselves(flat))
        weights = []
        for sentences in references:
            count = len(sentences)
            # The score is the mean over all, itself among them.
            others = [
                (count * float(next(scores)) - float(next(owns))) / max(count - 1, 1)
                for _ in sentences
            ]
            found = [math.exp(strength * (value - max(others))) for value in others]
            weights.append([w * count / sum(found) for w in found])
        return weights

    def _with_themselves(self, hypotheses: Sequence[Sequence[int]]) -> Floats:
        """(N,) CIDEr-D of references against themselves: at most 10, less by each order in
        which no n-gram has weight (a sentence too short, or n-grams that every photo has)."""
        sentences = _ragged(hypotheses)
        total = np.zeros(len(hypotheses))
        for order, rows, grams in self._known_grams(sentences):
            total += np.bincount(rows, order.idf[grams] > 0, len(total)) > 0
        return total * (SCALE / ORDERS)

    def _known_grams(self, sentences: _Ragged) -> Iterator[tuple[_Order, Ints, Ints]]:
        """For each order: the references', whose sentence each n-gram is, and its number there."""
        previous = sentences.tokens
        for number, order in enumerate(self._orders):
            places = _places(sentences, number)
            grams = _look_up(order.codes, _codes(sentences, previous, places, number))
            previous = _scatter(sentences, places, grams)
            yield order, _rows(sentences, places), grams

    def _similarity(self, order: _Order, counts: _Counts, photos: Ints, lengths: Ints) -> Floats:
        """(N,) the sum over references of the clipped cosine, for n-grams of one order."""
        known = counts.grams < len(order.codes)
        weights = np.full(len(counts.grams), self._unseen)
        weights[known] = order.idf[counts.grams[known]]
        weights *= counts.counts
        norms = np.sqrt(np.bincount(counts.rows, weights**2, len(photos)))
        hits, entries = _match(order, photos[counts.rows] << _ROW_SHIFT | counts.grams, known)
        rows = counts.rows[hits]
        gap = lengths[rows] - self._lengths[order.sentences[entries]]
        values = np.minimum(weights[hits], order.weights[entries]) * order.normed[entries]
        values *= np.exp(-(gap**2) / (2 * SIGMA**2))
        sums: Floats = np.bincount(rows, values, len(photos)).astype(np.float64)
        return _ratio(sums, norms)


def _ragged(sentences: Sequence[Sequence[int]]) -> _Ragged:
    lengths: Ints = np.fromiter(map(len, sentences), np.int64, len(sentences))
    total = int(lengths.sum())
    tokens: Ints = np.fromiter(chain.from_iterable(sentences), np.int64, total)
    if total and (tokens.min() < 0 or tokens.max() >= _TOKEN_LIMIT):
        raise ValueError(f"token ids go from 0 to {_TOKEN_LIMIT - 1}")
    return _Ragged(tokens, np.cumsum(lengths) - lengths, lengths)


def _lengths(sentences: _Ragged) -> Ints:
    """The published scorer counts a sentence's bigrams for its length; so must this."""
    return np.maximum(sentences.lengths - 1, 0)


def _places(sentences: _Ragged, order: int) -> Ints:
    """Where in the stream an n-gram of ``order`` + 1 words ends."""
    ends: Ints = np.arange(len(sentences.tokens), dtype=np.int64)
    return ends[ends - np.repeat(sentences.starts, sentences.lengths) >= order]


def _rows(sentences: _Ragged, places: Ints) -> Ints:
    rows: Ints = np.arange(len(sentences.lengths), dtype=np.int64)
    return np.repeat(rows, sentences.lengths)[places]


def _codes(sentences: _Ragged, previous: Ints, places: Ints, order: int) -> Ints:
    """One integer an n-gram: the number of the n-gram without its last word, and that word."""
    tokens = sentences.tokens[places]
    return tokens if order == 0 else previous[places - 1] * _TOKEN_LIMIT + tokens


def _scatter(sentences: _Ragged, places: Ints, grams: Ints) -> Ints:
    """The n-grams' numbers at the place where each ends, for the next order to build on."""
    stream = np.zeros(len(sentences.tokens), np.int64)
    stream[places] = grams
    return stream


def _look_up(table: Ints, codes: Ints) -> Ints:
    """Each n-gram's number in the table; those of no reference get numbers beyond its end."""
    unique, inverse = np.unique(codes, return_inverse=True)
    numbers, found = _find(table, unique)
    unseen = np.arange(len(table), len(table) + len(unique), dtype=np.int64)
    chosen: Ints = np.where(found, numbers, unseen)[inverse]
    return chosen


def _find(table: Ints, wanted: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    places = np.searchsorted(table, wanted)
    found = np.zeros(len(wanted), bool)
    inside = places < len(table)
    found[inside] = table[places[inside]] == wanted[inside]
    return places, found


def _count(rows: Ints, grams: Ints) -> _Counts:
    pairs, counts = np.unique(rows << _ROW_SHIFT | grams, return_counts=True)
    mask = (1 << _ROW_SHIFT) - 1
    return _Counts(pairs >> _ROW_SHIFT, pairs & mask, counts.astype(np.float64))


def _index(table: Ints, counts: _Counts, photos: Ints, unseen: float) -> _Order:
    """Sorts the references' n-grams by photo, so that a hypothesis finds those of its photo."""
    pairs = photos[counts.rows] << _ROW_SHIFT | counts.grams
    by_photo = np.argsort(pairs, kind="stable")
    keys, starts, sizes = np.unique(pairs[by_photo], return_index=True, return_counts=True)
    seen_in = np.bincount(keys & ((1 << _ROW_SHIFT) - 1), minlength=len(table))
    idf = unseen - np.log(np.maximum(seen_in, 1))
    weights = counts.counts * idf[counts.grams]
    norms = np.sqrt(np.bincount(counts.rows, weights**2, len(photos)))
    normed = _ratio(weights, norms[counts.rows])
    return _Order(
        codes=table,
        idf=idf,
        keys=keys,
        starts=starts.astype(np.int64),
        sizes=sizes.astype(np.int64),
        sentences=counts.rows[by_photo],
        weights=weights[by_photo],
        normed=normed[by_photo],
    )


def _match(order: _Order, wanted: Ints, known: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Pairs (n-gram of a hypothesis, entry of a reference of its photo that has it too)."""
    candidates = np.flatnonzero(known)
    keys, found = _find(order.keys, wanted[candidates])
    keys, candidates = keys[found], candidates[found]
    sizes = order.sizes[keys]
    within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.repeat(candidates, sizes), np.repeat(order.starts[keys], sizes) + within


def _ratio(over: Floats, under: Floats) -> Floats:
    """Zero where the divisor is: a vector without weight is like nothing."""
    return np.divide(over, under, out=np.zeros_like(over), where=under > 0)
