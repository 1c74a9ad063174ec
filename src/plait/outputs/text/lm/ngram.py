"""An n-gram language model that keeps up with a neural decoder in a beam search. Knows no torch.

Kept in back-off form, as ARPA files are: ln p of every n-gram seen, and ln g of every context. An
n-gram not seen has ln p(w | h) = ln g(h) + ln p(w | h'), where h' is h without its first word. So
a row of scores is the empty context's with few words changed: it takes microseconds, and none is
kept.

Contexts are the nodes of a trie. Node 0 is the empty context, nodes 1 to V are the single ids,
longer n-grams follow. A node's key is its context's node times V, plus its last word; keys ascend,
so that a context's words stand together and are found by bisection.

Shapes: N states, V ids of the vocabulary, M n-grams, C contexts (n-grams that could be longer).
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from plait.data.vocabulary import BOS, EOS, UNK
from plait.outputs.text.lm.kneser_ney import Ints, Level, estimate_levels
from plait.types import PlaitError, State

Singles = NDArray[np.float32]


class NGram:
    """Scores of the next word for many contexts at once; a context is an integer, its state.

    Attributes:
        vocabulary: V.
        order: length of the longest n-grams.
        start: the state at the start of a sentence.
    """

    def __init__(self, vocabulary: int, keys: Ints, scores: Singles, backoffs: Singles) -> None:
        """
        Args:
            keys: (M,) of nodes 1 to M, see the module.
            scores: (M,) theirs.
            backoffs: (C,) of nodes 0 to C - 1.
        """
        self.vocabulary = vocabulary
        self._keys, self._scores, self._backoffs = keys, scores, backoffs
        # Where a context's words begin among the keys; they end where the next one's begin.
        self._first = np.searchsorted(keys, np.arange(len(backoffs) + 1) * vocabulary)
        self._shorter = np.zeros(len(backoffs), np.int32)  # the longest context that ends as it
        self._after = np.zeros(len(keys) + 1, np.int32)  # the state once an n-gram was said
        levels = list(self._levels())
        for nodes in levels:
            self._link(nodes)
        self.order = len(levels)
        self.start = int(self._after[1 + BOS])

    def _levels(self) -> Iterator[Ints]:
        """Nodes of length 1, 2, ..."""
        start, end = 1, 1 + self.vocabulary
        while start < end:
            yield np.arange(start, end)
            known = min(end, len(self._first) - 1)
            start, end = end, 1 + int(self._first[known])

    def _link(self, nodes: Ints) -> None:
        """Find what these n-grams lead to; all shorter ones are linked already."""
        contexts, words = np.divmod(self._keys[nodes - 1], self.vocabulary)
        shorter = np.zeros(len(nodes), np.int64)
        if contexts[-1] > 0:
            shorter = self._follow(self._shorter[contexts], words)[1]
        known = nodes[nodes < len(self._shorter)]
        self._shorter[known] = shorter[: len(known)]
        # A context tells something if words are known after it, or if it has a weight.
        tells = np.zeros(len(nodes), bool)
        tells[: len(known)] = self._first[known + 1] > self._first[known]
        tells[: len(known)] |= self._backoffs[known] != 0
        self._after[nodes] = np.where(tells, nodes, shorter)

    @classmethod
    def fit(cls, sentences: Iterable[Sequence[int]], vocabulary: int, order: int) -> NGram:
        """Counts the n-grams of up to ``order`` words.

        Args:
            sentences: ids as `Vocabulary.encode` gives them: without start and end, which count as
                if they stood there.
            vocabulary: how many ids there are.

        Raises:
            PlaitError: there is no sentence.
            ValueError: an id is none of the vocabulary's, or padding, start or end.
        """
        if order < 1 or vocabulary <= UNK:
            raise ValueError(f"an order of 1 or more and 4 ids or more, not {order}, {vocabulary}")
        stream = _stream(sentences, vocabulary)
        if not len(stream):
            raise PlaitError("there is no sentence to learn a language model from")
        return cls.of_levels(vocabulary, estimate_levels(stream, vocabulary, order))

    @classmethod
    def of_levels(cls, vocabulary: int, levels: Sequence[Level]) -> NGram:
        """From the n-grams of length 1, 2, ...; what the longest have as back-offs is ignored."""
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
        """The n-grams of length 1, 2, ...: what `of_levels` makes the same model of."""
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
        # Every word as after the empty context, then those known after longer and longer ones.
        contexts, spent = [states.astype(np.int64)], [np.zeros(len(states), np.float32)]
        while contexts[-1].any():
            spent.append(spent[-1] + self._backoffs[contexts[-1]])
            contexts.append(self._shorter[contexts[-1]].astype(np.int64))
        rows: Singles = spent[-1][:, None] + self._scores[: self.vocabulary]
        for context, weight in zip(contexts[-2::-1], spent[-2::-1], strict=True):
            self._put_words(rows, context, weight)
        return rows

    def _put_words(self, rows: Singles, contexts: Ints, weights: Singles) -> None:
        """Into each row the scores of the words known after its context, plus its weight."""
        places = np.flatnonzero(contexts)  # the empty context's words are there already
        contexts = contexts[places]
        starts = self._first[contexts]
        sizes = self._first[contexts + 1] - starts
        found = np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
        found += np.arange(len(found))
        # A key is its context times V plus a word; so is a place in the rows.
        at = self._keys[found] + np.repeat((places - contexts) * self.vocabulary, sizes)
        rows.reshape(-1)[at] = self._scores[found] + np.repeat(weights[places], sizes)

    def step(self, states: Ints, words: Ints) -> Ints:
        """(N,) states and (N,) words said -> (N,) states: the longest known contexts.

        After the end or padding it is the empty context.
        """
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
            ValueError: as of `learn`.
        """
        stream = _stream(sentences, self.vocabulary)
        if not len(stream):
            raise PlaitError("there is no sentence to score")
        # After k rounds a state knows the k words before it. A start forgets all before it.
        states = np.zeros(len(stream), np.int64)
        for _ in range(self.order - 1):
            states[1:] = self._follow(states[:-1], stream[:-1])[1]
        scores = self._follow(states, stream)[0][stream != BOS]
        return float(np.exp(-scores.mean(dtype=np.float64)))

    def to_state(self) -> State:
        """Words, numbers of children and scores node by node, as bytes, packed, in base64."""
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


def find(keys: Ints, wanted: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Where each one stands among ascending keys, and whether it does."""
    places = np.searchsorted(keys, wanted)
    found = places < len(keys)
    found[found] = keys[places[found]] == wanted[found]
    return places, found


def _stream(sentences: Iterable[Sequence[int]], vocabulary: int) -> Ints:
    """(T,) one sentence after the other, each with its start and end."""
    listed = list(sentences)
    framed = chain.from_iterable(((BOS,), ids, (EOS,)) for ids in listed)
    stream: Ints = np.fromiter(chain.from_iterable(framed), np.int64)
    said = len(stream) - 2 * len(listed)
    if ((stream >= UNK) & (stream < vocabulary)).sum() != said:
        raise ValueError(f"a sentence's ids go from {UNK} to {vocabulary - 1}")
    return stream


def _packed(numbers: NDArray[np.generic]) -> str:
    return base64.b64encode(zlib.compress(numbers.tobytes())).decode("ascii")


def _unpacked(text: str, kind: str) -> NDArray[np.generic]:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), kind)
