"""What the training texts avoid, so that generated texts avoid it too: a word after another ("a
orange"), a word at the end ("a man is"), a word twice ("a dog and a dog").

These are counted in the texts, so they work for any language. A pair of words is avoided if chance
would have put them side by side `EXPECTED` times or more, and the texts did so in less than `SHARE`
of these. Words that are too rare for that go by their first letter: "an" is hardly ever followed by
a word with a "b".

Shapes: N texts, L tokens so far, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from plait.data.vocabulary import EOS, SPECIALS
from plait.types import State

Ints = NDArray[np.int64]

EXPECTED, SHARE = 3.0, 0.05
COMMON = 20  # occurrences of a word that say how it is used
LETTERS, LETTER_SHARE = 100.0, 0.1  # as the two above, for the first letter of the next word
LAST = 0.002  # a word that ends a smaller share of its occurrences does not end texts
AGAIN, INNER = 0.02, 0.01
"""A word may occur twice if it does so in this share of its texts, and ends fewer than that: so do
words such as "a" and "of", which say little by themselves."""


def fit_fluency(texts: Sequence[Sequence[int]], units: Sequence[str]) -> State:
    """What these texts, as token ids without the end, avoid.

    Args:
        texts: all training texts.
        units: the text of every id.

    Returns:
        ``common``: words that are not rare; ``inner``: words that end no text; ``again``: words
        that may occur twice; ``avoided``: word -> words that do not follow it; ``letters``: word ->
        first letters of rare words that do not follow it.
    """
    size = len(units)
    lengths = np.array([len(text) for text in texts if len(text)], np.int64)
    tokens = np.concatenate([np.empty(0, np.int64), *(text for text in texts if len(text))])
    tokens, of_text = tokens.astype(np.int64), np.repeat(np.arange(len(lengths)), lengths)
    counts = np.bincount(tokens, minlength=size)
    last = lengths.cumsum() - 1
    ends = np.bincount(tokens[last], minlength=size)
    in_texts, times = np.unique(of_text * size + tokens, return_counts=True)
    has = np.bincount(in_texts % size, minlength=size)
    twice = np.bincount(in_texts[times > 1] % size, minlength=size)
    common = counts >= COMMON
    ending, repeating = ends / np.maximum(counts, 1), twice / np.maximum(has, 1)
    inner = common & (ending < LAST)
    again = common & (repeating >= AGAIN) & (ending < INNER)
    inside = np.setdiff1d(np.arange(len(tokens)), last)
    pairs = np.unique(tokens[inside] * size + tokens[inside + 1], return_counts=True)
    avoided, letters = _avoided(pairs, counts, inner, units)
    return {
        "common": np.flatnonzero(common).tolist(),
        "inner": np.flatnonzero(inner).tolist(),
        "again": np.flatnonzero(again).tolist(),
        "avoided": avoided,
        "letters": letters,
    }


def _avoided(
    pairs: tuple[Ints, Ints], counts: Ints, inner: NDArray[np.bool_], units: Sequence[str]
) -> tuple[dict[str, list[int]], dict[str, str]]:
    """What does not follow each word: words, and first letters of rare words.

    Args:
        pairs: those of neighbours, as first * V + second, sorted; and how often each occurs.
        counts: (V,) of each word.
        inner: (V,) the words that end no text.
        units: the text of every id.
    """
    size, first, words = len(units), len(SPECIALS), dict[str, list[int]]()
    rare = dict[str, str]()
    share, letters = counts / max(1, counts.sum()), [unit[:1] for unit in units[first:]]
    known, of_letter = np.unique(letters, return_inverse=True)
    for word in (np.flatnonzero(counts[first:] >= COMMON) + first).tolist():
        own = slice(*np.searchsorted(pairs[0], [word * size, (word + 1) * size]))
        following, expected = np.zeros(size), counts[word] * share
        following[pairs[0][own] % size] = pairs[1][own]
        never = (expected >= EXPECTED) & (following < SHARE * expected)
        never[:first] = False
        if never.any():
            words[str(word)] = np.flatnonzero(never).tolist()
        # Words such as "in" and "on" are so frequent that they would speak for their letters.
        chance, found = (
            np.bincount(of_letter, (values * ~inner)[first:], len(known))
            for values in (expected, following)
        )
        some = inner[word] & (chance >= LETTERS) & (found < LETTER_SHARE * chance)
        if some.any():
            rare[str(word)] = "".join(known[some].tolist())
    return words, rare


@dataclass(frozen=True)
class Fluency:
    """Which tokens may not follow.

    Attributes:
        state: of `fit_fluency`.
        units: the text of every id.
    """

    state: State
    units: Sequence[str]

    def forbidden(self, generated: Ints) -> tuple[Ints, Ints]:
        """Rows of texts (N, L), and tokens that may not follow them."""
        length = generated.shape[1]
        if not length:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        last = generated[:, -1]
        starts, followers = self._avoided
        counts = starts[last + 1] - starts[last]
        rows = np.repeat(np.arange(len(last)), counts)
        inside = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
        tokens = followers[np.repeat(starts[last], counts) + inside]
        unfinished = np.flatnonzero(self._inner[last])
        repeated, at = np.nonzero(self._once[generated])
        rows = np.concatenate([rows, unfinished, repeated])
        ends = np.full(len(unfinished), EOS)
        return rows, np.concatenate([tokens, ends, generated[repeated, at]])

    def forbidden_in(self, texts: Sequence[Sequence[int]]) -> tuple[Ints, Ints]:
        """For whole texts: places, counted through all texts one after the other, and tokens that
        may not stand there, after the tokens before."""
        lengths = np.array([len(text) for text in texts])
        starts = lengths.cumsum() - lengths
        places, tokens = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for at in range(1, int(lengths.max(initial=0))):
            longer = np.flatnonzero(lengths > at)
            begun = [texts[row][:at] for row in longer.tolist()]
            rows, own = self.forbidden(np.array(begun))
            places.append(starts[longer[rows]] + at)
            tokens.append(own)
        return np.concatenate(places), np.concatenate(tokens)

    @cached_property
    def _inner(self) -> NDArray[np.bool_]:
        return self._mask(self.state["inner"])

    @cached_property
    def _once(self) -> NDArray[np.bool_]:
        once = ~self._mask(self.state["again"])
        once[: len(SPECIALS)] = False
        return once

    def _mask(self, ids: Sequence[int]) -> NDArray[np.bool_]:
        mask = np.zeros(len(self.units), bool)
        mask[list(ids)] = True
        return mask

    @cached_property
    def _avoided(self) -> tuple[Ints, Ints]:
        """Where each word's followers begin, (V + 1), and all of them."""
        letters = np.array([unit[:1] for unit in self.units])
        letters[: len(SPECIALS)] = ""
        letters[self.state["common"]] = ""  # their own counts say more
        never: list[Ints] = [np.empty(0, np.int64)] * len(self.units)
        for word, ids in self.state["avoided"].items():
            never[int(word)] = np.array(ids, np.int64)
        for word, some in self.state["letters"].items():
            own = np.flatnonzero(np.isin(letters, list(some)))
            never[int(word)] = np.union1d(never[int(word)], own)
        starts = np.cumsum([0, *map(len, never)])
        return starts, np.concatenate(never)
