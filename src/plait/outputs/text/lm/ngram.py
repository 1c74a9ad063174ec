"""`ngram`: an n-gram language model, fast enough for a beam search.

It is estimated by interpolated modified Kneser-Ney smoothing (Chen and Goodman 1998, TR-10-98,
section 3): an n-gram's count less a discount, and what the discounts save given to the shorter
context:

    p(w | h) = (c(hw) - D(c(hw))) / c(h) + g(h) p(w | h'),    h' is h without its first word

and at the end p(w) = (c(w) - D(c(w))) / c() + g() / (V - 2): ids never seen have probability too,
all but padding and start. Counts of the longest n-grams, and of those at a sentence's start, are
plain; of the others, what counts is before how many different words they occur.

It is kept in back-off form, like ARPA files: ln p of every n-gram seen, and ln g of every context.
An n-gram not seen has ln p(w | h) = ln g(h) + ln p(w | h'). So a row of scores is that of the empty
context with few words changed: it takes microseconds, and none is kept.

Contexts are the nodes of a trie. Node 0 is the empty context, nodes 1 to V are the single ids,
longer n-grams follow. A node's key is its context's node times V, plus its last word; keys ascend,
so that the words after a context are adjacent and found by bisection.

Shapes: N states, T places of a text, V ids of the vocabulary, M n-grams, C contexts (n-grams that
could be longer), n n-grams of one length.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Annotated, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from plait.config.registry import UserFile, register
from plait.data.readers import read_text
from plait.data.vocabulary import BOS, EOS, PAD, UNK, Vocabulary
from plait.outputs.text.lm.base import LanguageModel
from plait.types import PlaitError, State

NEVER_FOLLOWS = (PAD, BOS)
DISCOUNTS = (0.5, 1.0, 1.5)
"""Of n-grams that count 1, 2, and 3 or more, where a text is too short to estimate them."""

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Singles: TypeAlias = NDArray[np.float32]


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


class NGram:
    """Scores of the next word for many contexts at once; a context is an integer, its state.

    Attributes:
        vocabulary: V.
        order: length of the longest n-grams.
        start: the state at the start of a sentence.
    """

    def __init__(self, vocabulary: int, keys: Ints, scores: Singles, backoffs: Singles) -> None:
        """``keys`` and ``scores`` (M,) of nodes 1 to M, ``backoffs`` (C,) of nodes 0 to C - 1."""
        self.vocabulary = vocabulary
        self._keys, self._scores, self._backoffs = keys, scores, backoffs
        # Where a context's words begin among the keys; they end where the next one's begin.
        self._first = np.searchsorted(keys, np.arange(len(backoffs) + 1) * vocabulary)
        self._shorter = np.zeros(len(backoffs), np.int32)  # the longest proper suffix of a context
        self._after = np.zeros(len(keys) + 1, np.int32)  # the state after an n-gram
        levels = list(self._levels())
        self.order = len(levels)
        for nodes in levels:  # all shorter ones have theirs
            contexts, words = np.divmod(keys[nodes - 1], vocabulary)
            shorter = np.zeros(len(nodes), np.int64)
            if contexts[-1] > 0:
                shorter = self._follow(self._shorter[contexts], words)[1]
            known = nodes[nodes < len(self._shorter)]
            self._shorter[known] = shorter[: len(known)]
            # A context matters if words are known after it, or if it has a back-off weight.
            matters = np.zeros(len(nodes), bool)
            matters[: len(known)] = self._first[known + 1] > self._first[known]
            matters[: len(known)] |= backoffs[known] != 0
            self._after[nodes] = np.where(matters, nodes, shorter)
        self.start = int(self._after[1 + BOS])

    def _levels(self) -> Iterator[Ints]:
        """Nodes of length 1, 2, ..."""
        start, end = 1, 1 + self.vocabulary
        while start < end:
            yield np.arange(start, end)
            known = min(end, len(self._first) - 1)
            start, end = end, 1 + int(self._first[known])

    @classmethod
    def fit(cls, sentences: Iterable[Sequence[int]], vocabulary: int, order: int) -> NGram:
        """Count the n-grams of up to ``order`` words, in sentences of ids as `Vocabulary.encode`
        gives them, to which start and end tokens are added; ``vocabulary`` is the number of ids.

        Raises:
            PlaitError: there is no sentence.
            ValueError: an id is not in the vocabulary, or is padding, start or end.
        """
        if order < 1 or vocabulary <= UNK:
            raise ValueError(f"an order of 1 or more and 4 ids or more, not {order}, {vocabulary}")
        stream = _stream(sentences, vocabulary)
        if not len(stream):
            raise PlaitError("there is no sentence to learn a language model from")
        return cls.of_levels(vocabulary, estimate_levels(stream, vocabulary, order))

    @classmethod
    def of_levels(cls, vocabulary: int, levels: Sequence[Level]) -> NGram:
        """From the n-grams of length 1, 2, ...; back-off weights of the longest are ignored."""
        keys, contexts, nodes = [], 0, 1  # the first node of the contexts, and of the n-grams
        for level in levels:
            keys.append(level.codes + contexts * vocabulary)
            contexts, nodes = nodes, nodes + len(level.codes)
        return cls(
            vocabulary,
            np.concatenate(keys),
            np.concatenate([level.scores for level in levels]).astype(np.float32),
            np.concatenate([[0.0], *(level.backoffs for level in levels[:-1])]).astype(np.float32),
        )

    def levels(self) -> Iterator[Level]:
        """The n-grams of length 1, 2, ..., from which `of_levels` makes the same model."""
        contexts = 0
        for nodes in self._levels():
            backoffs = np.zeros(len(nodes))
            known = nodes[nodes < len(self._backoffs)]
            backoffs[: len(known)] = self._backoffs[known]
            codes = self._keys[nodes - 1] - contexts * self.vocabulary
            yield Level(codes, self._scores[nodes - 1].astype(np.float64), backoffs)
            contexts = int(nodes[0])

    def scores(self, states: Ints) -> Singles:
        """(N,) states -> (N, V) ln p of each next word; padding and start at -inf."""
        # Every word after the empty context, then those known after longer and longer contexts.
        contexts, spent = [states.astype(np.int64)], [np.zeros(len(states), np.float32)]
        while contexts[-1].any():
            spent.append(spent[-1] + self._backoffs[contexts[-1]])
            contexts.append(self._shorter[contexts[-1]].astype(np.int64))
        rows: Singles = spent[-1][:, None] + self._scores[: self.vocabulary]
        for every, weights in zip(contexts[-2::-1], spent[-2::-1], strict=True):
            places = np.flatnonzero(every)  # words after the empty context are set
            context = every[places]
            starts = self._first[context]
            sizes = self._first[context + 1] - starts
            found = np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
            found += np.arange(len(found))
            # A key is its context times V plus a word; so is a place in the rows.
            at = self._keys[found] + np.repeat((places - context) * self.vocabulary, sizes)
            rows.reshape(-1)[at] = self._scores[found] + np.repeat(weights[places], sizes)
        return rows

    def step(self, states: Ints, words: Ints) -> Ints:
        """(N,) states and (N,) next words -> (N,) states: the longest known contexts; after the end
        or padding, the empty one."""
        return self._follow(states, words)[1]

    def _follow(self, states: NDArray[np.integer], words: Ints) -> tuple[Singles, Ints]:
        """(N,) ln p of the words, and the next states."""
        scores, after = np.zeros(len(words), np.float32), np.zeros(len(words), np.int64)
        left, states = np.arange(len(words)), states.astype(np.int64)
        while len(left):
            places, found = find(self._keys, states * self.vocabulary + words[left])
            scores[left[found]] += self._scores[places[found]]
            after[left[found]] = self._after[places[found] + 1]
            left, states = left[~found], states[~found]
            scores[left] += self._backoffs[states]
            states = self._shorter[states].astype(np.int64)
        return scores, after

    def perplexity(self, sentences: Iterable[Sequence[int]]) -> float:
        """exp of the mean of -ln p over all words and ends.

        Raises:
            PlaitError: there is no sentence.
            ValueError: see `fit`.
        """
        stream = _stream(sentences, self.vocabulary)
        if not len(stream):
            raise PlaitError("there is no sentence to score")
        # After k rounds a state depends on the k words before it, not beyond a start.
        states = np.zeros(len(stream), np.int64)
        for _ in range(self.order - 1):
            states[1:] = self.step(states[:-1], stream[:-1])
        scores = self._follow(states, stream)[0][stream != BOS]
        return float(np.exp(-scores.mean(dtype=np.float64)))

    def to_state(self) -> State:
        """Words, numbers of children and scores by node, as compressed bytes in base64."""
        return {
            "vocabulary": self.vocabulary,
            "words": _packed((self._keys % self.vocabulary).astype("<u4")),
            "children": _packed(np.diff(self._first).astype("<u4")),
            "scores": _packed(self._scores.astype("<f4")),
            "backoffs": _packed(self._backoffs.astype("<f4")),
        }

    @classmethod
    def from_state(cls, state: State) -> NGram:
        """The same model, to the last bit."""
        children = _unpacked(state["children"], "<u4").astype(np.int64)
        keys = np.repeat(np.arange(len(children)) * state["vocabulary"], children)
        keys += _unpacked(state["words"], "<u4")
        scores, backoffs = (_unpacked(state[name], "<f4") for name in ("scores", "backoffs"))
        return cls(
            state["vocabulary"], keys, scores.astype(np.float32), backoffs.astype(np.float32)
        )


@register("language-model", "ngram")
class NGramLanguageModel(LanguageModel):
    """An n-gram model of the training texts, with modified Kneser-Ney smoothing."""

    order: int = Field(default=4, ge=1, le=20, description="length of the longest n-grams")
    texts: Annotated[str | None, UserFile()] = Field(
        default=None, description="file of further sentences, one per line, also .gz; null: none"
    )

    def fit(self, texts: Iterable[Sequence[int]], vocabulary: Vocabulary) -> State:
        """The n-grams of the training texts and the file, see `NGram.fit`."""
        lines = [] if self.texts is None else read_text(Path(self.texts)).splitlines()
        more = [vocabulary.encode(line) for line in lines if line.strip()]
        return NGram.fit([*texts, *more], len(vocabulary), self.order).to_state()

    @cached_property
    def ngram(self) -> NGram:
        """The model of the state."""
        return NGram.from_state(self.state)


@dataclass(frozen=True)
class _Counted:
    """The n-grams of one length in a text.

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
    """The n-grams of length 1, 2, ... up to ``order``, or to the longest that there are, in a
    stream (T,) of one sentence after the other, each with its start and end."""
    levels = _counted(stream, vocabulary, order)
    shorter = np.full(vocabulary, 1 / (vocabulary - len(NEVER_FOLLOWS)))  # p(w | h') of n-grams
    shorter[list(NEVER_FOLLOWS)] = 0.0
    probabilities: list[Floats] = []
    weights: list[Floats] = []  # of the contexts of each length
    for length, level in enumerate(levels):
        counts = level.counts
        if level is not levels[-1]:  # before how many different words; nothing is before a start
            before = np.bincount(level.numbers[levels[length + 1].ends], minlength=len(counts))
            counts = np.where(level.first, counts, before)
        size = 1
        if length:
            size = len(levels[length - 1].codes)
            shorter = probabilities[-1][levels[length - 1].numbers[level.ends]]
        contexts = level.codes // vocabulary
        discounts = estimate_discounts(counts)[np.minimum(counts, 3)]
        totals = np.bincount(contexts, counts, size)
        saved = np.bincount(contexts, discounts, size)
        weight = np.divide(saved, totals, out=np.ones(size), where=totals > 0)
        probabilities.append((counts - discounts) / totals[contexts] + weight[contexts] * shorter)
        weights.append(weight)
    weights.append(np.ones(len(levels[-1].codes)))
    with np.errstate(divide="ignore"):  # ln 0 of padding and start
        return [
            Level(level.codes, np.log(probability), np.log(weight))
            for level, probability, weight in zip(levels, probabilities, weights[1:], strict=True)
        ]


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


def find(keys: Ints, wanted: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """The position of each one among ascending keys, and whether it is there."""
    places = np.searchsorted(keys, wanted)
    found = places < len(keys)
    found[found] = keys[places[found]] == wanted[found]
    return places, found


def _stream(sentences: Iterable[Sequence[int]], vocabulary: int) -> Ints:
    """(T,) one sentence after the other, each with its start and end."""
    listed = list(sentences)
    framed = chain.from_iterable(((BOS,), ids, (EOS,)) for ids in listed)
    stream: Ints = np.fromiter(chain.from_iterable(framed), np.int64)
    words = len(stream) - 2 * len(listed)
    if ((stream >= UNK) & (stream < vocabulary)).sum() != words:
        raise ValueError(f"token ids go from {UNK} to {vocabulary - 1}")
    return stream


def _packed(numbers: NDArray[np.generic]) -> str:
    return base64.b64encode(zlib.compress(numbers.tobytes())).decode("ascii")


def _unpacked(text: str, kind: str) -> NDArray[np.generic]:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), kind)
