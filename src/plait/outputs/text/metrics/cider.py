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
from typing import TypeAlias

import numpy as np

from plait.outputs.scores import Floats
from plait.outputs.text.lm.ngram import Ints, find
from plait.types import PlaitError

Captions: TypeAlias = Sequence[Sequence[int]]

ORDERS = 4  # n-grams of one to four words
SIGMA = 6.0
SCALE = 10.0
_TOKEN_LIMIT = 1 << 31  # an n-gram's code is (number of its prefix) * limit + last token
_ROW_SHIFT = 32  # a (row, n-gram) pair's code is row << shift | n-gram
_GRAM = (1 << _ROW_SHIFT) - 1


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

    def __init__(self, references: Sequence[Captions]) -> None:
        empty = [index for index, captions in enumerate(references) if not captions]
        if empty or not references:
            raise PlaitError(
                f"no reference captions for photo {empty[0]}" if empty else "no reference captions",
                expected="one caption or more for each photo",
            )
        sentences = list(chain.from_iterable(references))
        self._per_photo: Ints = np.array([len(captions) for captions in references], np.int64)
        photos = np.repeat(np.arange(len(references), dtype=np.int64), self._per_photo)
        self._lengths = _lengths(sentences)
        self._unseen = float(np.log(len(references)))  # the IDF of an n-gram of no reference
        self._orders = [
            _index(table, *_count(rows, grams), photos, self._unseen)
            for table, rows, grams in _ngrams(sentences)
        ]

    def __len__(self) -> int:
        return len(self._per_photo)

    def scores(self, photo_indexes: Sequence[int], hypotheses: Captions) -> Floats:
        """(N,) CIDEr-D of each hypothesis against the references of its photo."""
        photos: Ints = np.asarray(photo_indexes, np.int64)
        if photos.shape != (len(hypotheses),):
            raise ValueError(f"{len(hypotheses)} hypotheses need as many photos, got {photos.size}")
        if not len(hypotheses):
            return np.zeros(0)
        if photos.min() < 0 or photos.max() >= len(self):
            raise IndexError(f"photo indexes go from 0 to {len(self) - 1}")
        lengths = _lengths(hypotheses)
        total = np.zeros(len(photos))
        for order, rows, grams in self._known_grams(hypotheses):
            total += self._similarity(order, rows, grams, photos, lengths)
        return total * (SCALE / ORDERS) / self._per_photo[photos]

    def consensus(self, references: Sequence[Captions], strength: float) -> list[list[float]]:
        """A weight for each reference: exp(strength · its CIDEr-D against the record's others),
        scaled so that a record's weights have mean 1 (``references`` as at the start)."""
        flat = list(chain.from_iterable(references))
        scores = iter(self.scores([r for r, own in enumerate(references) for _ in own], flat))
        # A reference's score against itself: at most 10, less by each order in which no n-gram has
        # weight (a sentence too short, or n-grams that every photo has).
        alone = np.zeros(len(flat))
        for order, rows, grams in self._known_grams(flat):
            alone += np.bincount(rows, order.idf[grams] > 0, len(flat)) > 0
        owns = iter(alone * (SCALE / ORDERS))
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

    def _known_grams(self, sentences: Captions) -> Iterator[tuple[_Order, Ints, Ints]]:
        """For each order: the references', whose sentence each n-gram is, and its number there."""
        found = _ngrams(sentences, [order.codes for order in self._orders])
        for order, (_, rows, grams) in zip(self._orders, found, strict=True):
            yield order, rows, grams

    def _similarity(
        self, order: _Order, rows: Ints, grams: Ints, photos: Ints, lengths: Ints
    ) -> Floats:
        """(N,) the sum over references of the clipped cosine, for n-grams of one order."""
        rows, grams, counts = _count(rows, grams)
        known = np.flatnonzero(grams < len(order.codes))
        weights = np.full(len(grams), self._unseen)
        weights[known] = order.idf[grams[known]]
        weights *= counts
        norms = np.sqrt(np.bincount(rows, weights**2, len(photos)))
        # Pairs of an n-gram of a hypothesis and an entry of a reference of its photo that has it.
        keys, found = find(order.keys, photos[rows[known]] << _ROW_SHIFT | grams[known])
        keys, known = keys[found], known[found]
        sizes = order.sizes[keys]
        within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        hits, entries = np.repeat(known, sizes), np.repeat(order.starts[keys], sizes) + within
        gap = lengths[rows[hits]] - self._lengths[order.sentences[entries]]
        values = np.minimum(weights[hits], order.weights[entries]) * order.normed[entries]
        values *= np.exp(-(gap**2) / (2 * SIGMA**2))
        return _ratio(np.bincount(rows[hits], values, len(photos)).astype(np.float64), norms)


def _ngrams(
    sentences: Captions, tables: Sequence[Ints] | None = None
) -> Iterator[tuple[Ints, Ints, Ints]]:
    """For each order: the sorted codes of all n-grams, whose sentence each occurrence of one is,
    and its number among the codes.

    Args:
        sentences: token ids.
        tables: the codes to number by, for each order; n-grams that are not among them get numbers
            beyond. The sentences' own by default.
    """
    lengths: Ints = np.fromiter(map(len, sentences), np.int64, len(sentences))
    tokens: Ints = np.fromiter(chain.from_iterable(sentences), np.int64, int(lengths.sum()))
    if len(tokens) and (tokens.min() < 0 or tokens.max() >= _TOKEN_LIMIT):
        raise ValueError(f"token ids go from 0 to {_TOKEN_LIMIT - 1}")
    rows = np.repeat(np.arange(len(sentences)), lengths)
    within = np.arange(len(tokens)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    numbers = np.zeros_like(tokens)  # of the n-gram one word shorter that ends at each token
    for order in range(ORDERS):
        ends = np.flatnonzero(within >= order)
        # One integer an n-gram: the number of the n-gram without its last word, and that word.
        codes, inverse = np.unique(
            numbers[ends - 1] * _TOKEN_LIMIT + tokens[ends] if order else tokens,
            return_inverse=True,
        )
        places, table = np.arange(len(codes)), codes
        if tables is not None:
            table = tables[order]
            known, found = find(table, codes)
            places = np.where(found, known, len(table) + places)
        numbers = np.zeros_like(tokens)
        numbers[ends] = places[inverse]
        yield table, rows[ends], numbers[ends]


def _lengths(sentences: Captions) -> Ints:
    """The published scorer counts a sentence's bigrams for its length; so must this."""
    return np.array([max(len(tokens) - 1, 0) for tokens in sentences], np.int64)


def _count(rows: Ints, grams: Ints) -> tuple[Ints, Ints, Floats]:
    """How often each sentence has each n-gram, sorted by sentence, then n-gram: all three."""
    pairs, counts = np.unique(rows << _ROW_SHIFT | grams, return_counts=True)
    return pairs >> _ROW_SHIFT, pairs & _GRAM, counts.astype(np.float64)


def _index(
    table: Ints, rows: Ints, grams: Ints, counts: Floats, photos: Ints, unseen: float
) -> _Order:
    """Sorts the references' n-grams by photo, so that a hypothesis finds those of its photo."""
    pairs = photos[rows] << _ROW_SHIFT | grams
    by_photo = np.argsort(pairs, kind="stable")
    keys, starts, sizes = np.unique(pairs[by_photo], return_index=True, return_counts=True)
    seen_in = np.bincount(keys & _GRAM, minlength=len(table))
    idf = unseen - np.log(np.maximum(seen_in, 1))
    weights = counts * idf[grams]
    normed = _ratio(weights, np.sqrt(np.bincount(rows, weights**2, len(photos)))[rows])
    return _Order(
        table, idf, keys, starts.astype(np.int64), sizes.astype(np.int64),
        sentences=rows[by_photo], weights=weights[by_photo], normed=normed[by_photo],
    )  # fmt: skip


def _ratio(over: Floats, under: Floats) -> Floats:
    """Zero where the divisor is: a vector without weight is like nothing."""
    return np.divide(over, under, out=np.zeros_like(over), where=under > 0)
