"""Beam search and sampling in numpy, step for step as `plait.outputs.text.search` has them.

Shapes: B records, R of them still being said, K beams or samples a record, N = R·K, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.data.vocabulary import BOS, EOS, PAD
from plait.outputs.text.decoding import NEVER_SAID, Decoding, Limits

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Tensors = Mapping[str, NDArray[Any]]
WORTH_LEAVING_OUT = 8  # ended records are, once they are this part of all


class Speech:
    """A decoder in the middle of N sentences, and its state: a row a sentence."""

    def __init__(
        self, say: Callable[[Ints, Tensors, Tensors], tuple[Floats, Tensors]],
        memory: Tensors, past: Tensors, final: bool = False,
    ) -> None:  # fmt: skip
        """``say``: words (N,), memory, past -> scores (N, V) of the next word, and the next past;
        ``final`` scores are added up as they are, no softmax over them."""
        self.say, self.memory, self.past, self.final = say, memory, past, final

    def next(self, words: Ints) -> Floats:
        """Says these words; the scores (N, V) of those that may follow."""
        scores, self.past = self.say(words, self.memory, self.past)
        return scores

    def select(self, rows: Ints) -> None:
        """Go on with these sentences: repeated, or some left out."""
        self.memory, self.past = _rows(self.memory, rows), _rows(self.past, rows)

    def reorder(self, rows: Ints) -> None:
        """`select` where every record's sentences stay in its rows: the memory need not be
        copied."""
        self.past = _rows(self.past, rows)


def _rows(tensors: Tensors, rows: Ints) -> Tensors:
    return {name: value[rows] for name, value in tensors.items()}


@dataclass(frozen=True)
class Sentences:
    """K sentences a record, as of `plait.outputs.text.search`: ids (B, K, L) with the end token,
    scores and lengths (B, K)."""

    ids: Ints
    scores: Floats
    lengths: Floats


def word_scores(scores: Floats, said: Ints, limits: Limits, final: bool = False) -> Floats:
    """Log-probabilities (N, V) of the next word after ``said`` (N, L), of what is to be made so,
    or ``final`` scores; -inf: it may not be said."""
    logits, step = scores.astype(np.float32), said.shape[1]
    logits[:, list(NEVER_SAID)] = -np.inf
    if step < limits.min_words:
        logits[:, EOS] = -np.inf
    if step >= limits.max_words:
        only_end = np.full_like(logits, -np.inf)
        only_end[:, EOS] = logits[:, EOS] if final else 0.0
        return only_end
    _ban_repeats(logits, said, limits.no_repeat)
    # A narrow vocabulary may leave no word to say: then only the end.
    logits[np.isneginf(logits).all(axis=-1), EOS] = 0.0
    if final:
        return logits
    top = logits.max(axis=-1, keepdims=True)
    return logits - top - np.log(np.exp(logits - top).sum(axis=-1, keepdims=True))


def _ban_repeats(logits: Floats, said: Ints, n: int) -> None:
    """Put -inf where a word would complete an n-gram that stands in ``said`` (N, L) already."""
    length = said.shape[1]
    if n == 0 or length < n:
        return
    context = said[:, length - n + 1 :]  # (N, n-1): the last words
    windows = np.lib.stride_tricks.sliding_window_view(said, n, axis=1)  # (N, L-n+1, n)
    row, at = (windows[..., :-1] == context[:, None]).all(axis=-1).nonzero()
    logits[row, windows[row, at, -1]] = -np.inf


class _Saying:
    """The sentences so far: of all records, and of those R that are still being said."""

    def __init__(self, records: int, each: int, longest: int) -> None:
        self.found = Sentences(
            np.full((records, each, longest), PAD),
            np.zeros((records, each), np.float32),
            np.zeros((records, each), np.float32),
        )
        self.rows = np.arange(records)
        self.ids = np.empty((records, each, 0), np.int64)
        self.scores = np.zeros((records, each), np.float32)
        self.lengths = np.zeros((records, each), np.float32)
        self.done = np.zeros((records, each), bool)

    def add(self, source: Ints, words: Ints, scores: Floats, lengths: Floats) -> None:
        """Each sentence becomes ``source`` (R, K) of its record, with a word (R, K) more."""
        before = np.take_along_axis(self.ids, source[..., None], axis=1)
        self.ids = np.concatenate([before, words[..., None]], axis=2)
        self.scores, self.lengths = scores, lengths
        self.done = np.take_along_axis(self.done, source, axis=1) | (words == EOS)

    def put(self, of: NDArray[np.bool_]) -> None:
        """Nothing more will be said in these of the R records."""
        rows = self.rows[of]
        self.found.ids[rows, :, : self.ids.shape[-1]] = self.ids[of]
        self.found.scores[rows], self.found.lengths[rows] = self.scores[of], self.lengths[of]

    def flat(self) -> Ints:
        """The words so far, (R·K, L)."""
        return self.ids.reshape(self.done.size, self.ids.shape[-1])

    def leave_out(self) -> NDArray[np.bool_] | None:
        """Put the records that have ended away, once they are many: (R,) which stay; None: all."""
        ended = np.asarray(self.done.all(axis=1))
        if ended.sum() * WORTH_LEAVING_OUT < len(ended):
            return None
        self.put(ended)
        for name in ("rows", "ids", "scores", "lengths", "done"):
            setattr(self, name, getattr(self, name)[~ended])
        return ~ended

    def sentences(self) -> Sentences:
        """All, no longer than the longest."""
        self.put(np.ones(len(self.rows), bool))
        longest = int(self.found.lengths.max(initial=0))
        return Sentences(self.found.ids[..., :longest], self.found.scores, self.found.lengths)


def beam_search(
    speech: Speech, records: int, beams: int, length_penalty: float, limits: Limits
) -> Sentences:
    """The ``beams`` likeliest sentences of each record, best first; one beam is greedy search.

    ``speech``: a row a record, before the first word.
    """
    saying, words = _Saying(records, beams, limits.max_words + 1), np.full(records * beams, BOS)
    saying.scores[:, 1:] = -np.inf  # all beams are the same at first: let one speak
    speech.select(np.arange(records).repeat(beams))
    for _ in range(limits.max_words + 1):
        logp = word_scores(speech.next(words), saying.flat(), limits, speech.final)
        logp = logp.reshape(*saying.done.shape, -1)  # (R, K, V)
        # A finished sentence goes on with padding, at no cost.
        logp[saying.done] = -np.inf
        logp[saying.done, PAD] = 0.0
        longer = saying.lengths + ~saying.done  # (R, K)
        total = saying.scores[..., None] + logp  # (R, K, V)
        ranked = total / longer[..., None] ** np.float32(length_penalty)
        best = _top(ranked.reshape(len(ranked), -1), beams)  # (R, K)
        source, words = best // logp.shape[-1], best % logp.shape[-1]
        scores = np.take_along_axis(total.reshape(len(total), -1), best, axis=1)
        saying.add(source, words, scores, np.take_along_axis(longer, source, axis=1))
        index = source + np.arange(len(source))[:, None] * beams
        staying = saying.leave_out()
        if staying is None:
            speech.reorder(index.ravel())
        else:
            words = words[staying]
            speech.select(index[staying].ravel())
        words = words.ravel()
        if not len(saying.rows):
            break
    return saying.sentences()


def _top(values: Floats, count: int) -> Ints:
    """(R, X) -> (R, count): where the largest are, the largest first."""
    some = np.argpartition(-values, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(values, some, axis=1), axis=1, kind="stable")
    return np.take_along_axis(some, order, axis=1)


def sample(speech: Speech, records: int, decoding: Decoding) -> Sentences:
    """``decoding.num`` random sentences a record, the likeliest first.

    The draws are numpy's: other ones than torch's, of the same chances. Every record is given the
    same random numbers, so that its sentences do not depend on its batch.
    """
    limits, each, rng = decoding.limits, decoding.num, np.random.default_rng(decoding.seed)
    saying = _Saying(records * each, 1, limits.max_words + 1)  # each sentence ends when it likes
    speech.select(saying.rows // each)
    words = np.full((records * each, 1), BOS)
    for _ in range(limits.max_words + 1):
        logp = word_scores(speech.next(words[:, 0]), saying.ids[:, 0], limits, speech.final)
        kept = _truncate(logp / max(decoding.temperature, 1e-4), decoding.top_k, decoding.top_p)
        words = _draw(kept, rng.random(each)[saying.rows % each])[:, None]  # (R, 1)
        words = np.where(saying.done, PAD, words)
        gained = np.where(saying.done, 0.0, np.take_along_axis(logp, words, axis=1))
        scores = (saying.scores + gained).astype(np.float32)
        saying.add(np.zeros_like(words), words, scores, saying.lengths + ~saying.done)
        staying = saying.leave_out()
        if staying is not None:
            words = words[staying]
            speech.select(np.flatnonzero(staying))
        if not len(saying.rows):
            break
    found = saying.sentences()
    scores, lengths = found.scores.reshape(records, each), found.lengths.reshape(records, each)
    order = np.argsort(-scores / lengths, axis=1, kind="stable")
    ids = np.take_along_axis(found.ids.reshape(records, each, -1), order[..., None], axis=1)
    return Sentences(
        ids,
        np.take_along_axis(scores, order, axis=1),
        np.take_along_axis(lengths, order, axis=1),
    )


def _draw(logits: Floats, chance: NDArray[np.float64]) -> Ints:
    """(N, V) and (N,) in [0, 1) -> (N,): the word in whose share of the line the chance falls."""
    line = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True)).cumsum(axis=1)
    return (line <= chance[:, None] * line[:, -1:]).sum(axis=1)


def _truncate(logp: Floats, top_k: int, top_p: float) -> Floats:
    """Scores (N, V) with the words that may not be drawn at -inf."""
    if top_k:
        count = min(top_k, logp.shape[-1])
        least = -np.partition(-logp, count - 1, axis=1)[:, count - 1 : count]
        logp = np.where(logp < least, -np.inf, logp)
    if top_p < 1.0:
        order = np.argsort(-logp, axis=1, kind="stable")
        share = np.exp(logp - logp.max(axis=1, keepdims=True))
        share = np.take_along_axis(share / share.sum(axis=1, keepdims=True), order, axis=1)
        out = share.cumsum(axis=1) - share >= top_p  # the probability ahead of it
        out[:, 0] = False  # one may always be drawn
        logp = logp.copy()
        np.put_along_axis(
            logp, order, np.where(out, -np.inf, np.take_along_axis(logp, order, 1)), 1
        )
    return logp
