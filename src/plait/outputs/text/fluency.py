"""What the training texts avoid, so that generated texts avoid it too: a word before one with the
wrong first letter ("a orange"), words that don't agree ("a blue balls"), a word at the end ("a man
is"), a word twice ("a dog and a dog", "red and red").

These are counted in the texts, so they work for any language.

- First letters: "an" is hardly ever followed by a word with a "b". Frequent words go by their own
  counts: "a" stands before "uniform", and "an" before "hour".
- Agreement: "blue", "red" and "tennis" often stand after "a", and "balls" after these, so that one
  would expect "balls" there; the texts have it after "two". This shows number, gender or case. It
  ends where a phrase begins, at words such as "a" and "two", with which texts begin too.

Shapes: N texts, L tokens so far, V vocabulary, T three tokens in a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from plait.data.vocabulary import EOS, PAD, SPECIALS
from plait.types import State

Ints = NDArray[np.int64]

COMMON = 20  # occurrences of a word that say how it is used
LETTERS, LETTER_SHARE, LETTER_WORDS, SEVERAL = 100.0, 0.1, 0.8, 2
"""A first letter does not follow a word if chance would have it there so often, and the texts had
it there in a smaller share of these, and so for this many of the frequent words that begin with it.
A word that avoids letters avoids several."""
OWN_SHARE = 0.5  # of how often another such word has it, as "an" has "umbrella"
EXPECTED, APART_SHARE = 3.0, 0.1  # as the two for letters, for two words with one between
BESIDE_SHARE = 0.2  # words that agree do so as neighbours too: there they are as rare as this
OPENING = 0.15  # a word that begins texts in this share of its occurrences begins phrases
ALLOWED, ALLOWED_SHARE = 3, 0.1
"""A word between, such as "few" in "a few dogs", allows what others do not if the texts have such
words after it as often as this."""
ECHOES, ECHO_SHARE = 3, 0.002
"""A word comes again at once, or after one other, if texts do so as often, in this share of its
occurrences: "side by side"."""
LAST = 0.002  # a word that ends a smaller share of its occurrences does not end texts
AGAIN, INNER = 0.02, 0.01
"""A word may occur twice if it does so in this share of its texts, and ends fewer than that: so do
words such as "a" and "of", which say little by themselves."""


def fit_fluency(
    texts: Sequence[Sequence[int]], units: Sequence[str], max_length: int | None = None
) -> State:
    """What these texts, as token ids without the end, avoid.

    Args:
        texts: all training texts.
        units: the text of every id.
        max_length: longer texts are cut to so many tokens, and what they are cut to doesn't say how
            texts end; None: all are taken whole.

    Returns:
        ``common``: words that are not rare; ``inner``: words that end no text; ``again``: words
        that may occur twice; ``echoes``: words that may do so at once or after one other;
        ``letters``: word -> first letters of rare words that do not follow it; ``avoided``: word ->
        frequent words that do not; ``apart``: word -> words that do not follow it with one word
        between, nor at once; ``unless``: word -> words between that allow them; ``opening``: words
        between that allow any.
    """
    size = len(units)
    texts = [text for text in texts if len(text)]
    whole = np.array([max_length is None or len(text) <= max_length for text in texts], bool)
    texts = [text[:max_length] for text in texts]
    lengths = np.array([len(text) for text in texts], np.int64)
    tokens = np.concatenate([np.empty(0, np.int64), *texts])
    tokens, of_text = tokens.astype(np.int64), np.repeat(np.arange(len(lengths)), lengths)
    counts = np.bincount(tokens, minlength=size)
    last = lengths.cumsum() - 1
    ends = np.bincount(tokens[last[whole]], minlength=size)
    in_texts, times = np.unique(of_text * size + tokens, return_counts=True)
    has = np.bincount(in_texts % size, minlength=size)
    twice = np.bincount(in_texts[times > 1] % size, minlength=size)
    common = counts >= COMMON
    ending, repeating = ends / np.maximum(counts, 1), twice / np.maximum(has, 1)
    inner = common & (ending < LAST)
    again = common & (repeating >= AGAIN) & (ending < INNER)
    inside = np.setdiff1d(np.arange(len(tokens)), last)
    pairs = np.unique(tokens[inside] * size + tokens[inside + 1], return_counts=True)
    avoided, letters = _by_letter(pairs, counts, inner, units)
    near = np.flatnonzero(of_text[:-2] == of_text[2:])
    begins = np.bincount(tokens[last + 1 - lengths], minlength=size)
    opening = common & (begins >= OPENING * counts)
    triples = tokens[near + np.arange(3)[:, None]]
    apart, unless = _apart(triples, pairs, counts, inner, opening)
    echoed = np.bincount(triples[0, triples[0] == triples[2]], minlength=size)
    echoed[pairs[0][pairs[0] % (size + 1) == 0] % size] += pairs[1][pairs[0] % (size + 1) == 0]
    echoes = echoed >= np.maximum(ECHOES, ECHO_SHARE * counts)
    return {
        "common": np.flatnonzero(common).tolist(),
        "inner": np.flatnonzero(inner).tolist(),
        "again": np.flatnonzero(again).tolist(),
        "echoes": np.flatnonzero(echoes).tolist(),
        "avoided": avoided,
        "letters": letters,
        "apart": apart,
        "unless": unless,
        "opening": np.flatnonzero(opening).tolist(),
    }


def _by_letter(
    pairs: tuple[Ints, Ints], counts: Ints, inner: NDArray[np.bool_], units: Sequence[str]
) -> tuple[dict[str, list[int]], dict[str, str]]:
    """What does not follow each inner word: frequent words, and first letters of rare words.

    Args:
        pairs: those of neighbours, as first * V + second, sorted; and how often each occurs.
        counts: (V,) of each word.
        inner: (V,) the words that end no text.
        units: the text of every id.
    """
    size, share = len(units), counts / max(1, counts.sum())
    letters = np.array([unit[:1] for unit in units])
    letters[: len(SPECIALS)] = ""
    known, of_letter = np.unique(letters, return_inverse=True)
    frequent = (counts >= COMMON) & (letters != "")
    followed: dict[int, NDArray[np.float64]] = {}  # how often by each word
    rare: dict[str, str] = {}
    for word in np.flatnonzero(inner).tolist():
        own = slice(*np.searchsorted(pairs[0], [word * size, (word + 1) * size]))
        following, expected = np.zeros(size), counts[word] * share
        following[pairs[0][own] % size] = pairs[1][own]
        # Words such as "in" and "on" are so frequent that they would speak for their letters.
        tried = frequent & ~inner & (expected >= 1)
        lacking = following < LETTER_SHARE * expected
        words, lack, chance, found = (
            np.bincount(of_letter, values * tried, len(known))
            for values in (np.ones(size), lacking, expected, following)
        )
        some = (
            (chance >= LETTERS) & (found < LETTER_SHARE * chance) & (lack >= LETTER_WORDS * words)
        )
        if some.sum() >= SEVERAL:
            rare[str(word)] = "".join(known[some].tolist())
            followed[word] = following
    most = np.max([np.zeros(size), *followed.values()], axis=0)
    never = {str(word): frequent & (own < OWN_SHARE * most) for word, own in followed.items()}
    return {word: np.flatnonzero(own).tolist() for word, own in never.items()}, rare


def _apart(
    triples: Ints,
    pairs: tuple[Ints, Ints],
    counts: Ints,
    inner: NDArray[np.bool_],
    opening: NDArray[np.bool_],
) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """What does not follow each inner word with one word between, and words between that allow it.

    Args:
        triples: (3, T) all three tokens in a row.
        pairs: as those of `_avoided`.
        counts: (V,) of each word.
        inner: (V,) the words that end no text.
        opening: (V,) the words that begin phrases.
    """
    size, apart, unless = len(counts), dict[str, list[int]](), dict[str, list[int]]()
    starts, seconds = np.searchsorted(pairs[0], np.arange(size + 1) * size), pairs[0] % size
    triples = triples[:, ~opening[triples[1]]]
    triples = triples[:, np.argsort(triples[0], kind="stable")]
    bounds = np.searchsorted(triples[0], np.arange(size + 1))
    for word in (np.flatnonzero(inner[len(SPECIALS) :]) + len(SPECIALS)).tolist():
        beside = slice(*starts[word : word + 2])
        middle, third = triples[1:, slice(*bounds[word : word + 2])]
        following, chance = np.zeros(size), counts[word] * counts / counts.sum()
        following[seconds[beside]] = pairs[1][beside]
        between = np.flatnonzero(following * ~opening)
        which, at = _entries(starts, between)
        share = (following / np.maximum(counts, 1))[between][which]
        expected = np.bincount(seconds[at], share * pairs[1][at], size)
        rare = (expected >= EXPECTED) & (following < BESIDE_SHARE * chance)
        rare[: len(SPECIALS)] = False
        never = rare & (np.bincount(third, minlength=size) < APART_SHARE * expected)
        broken = np.bincount(middle, never[third], size)
        allow = broken >= np.maximum(ALLOWED, ALLOWED_SHARE * np.bincount(middle, minlength=size))
        others = third[~allow[middle]]
        never = rare & (np.bincount(others, minlength=size) < APART_SHARE * expected)
        if never.any():
            apart[str(word)] = np.flatnonzero(never).tolist()
            unless[str(word)] = np.flatnonzero(allow).tolist()
    return apart, unless


def _entries(starts: Ints, lists: Ints) -> tuple[Ints, Ints]:
    """For some of the lists that stand one after the other, and begin at ``starts``: of each of
    their entries, which of ``lists`` it is in, and where it stands."""
    counts = starts[lists + 1] - starts[lists]
    which = np.repeat(np.arange(len(lists)), counts)
    return which, np.arange(len(which)) + np.repeat(starts[lists + 1] - counts.cumsum(), counts)


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
        lists = last
        if length > 1:
            size, first = len(self.units), generated[:, -2]
            codes = first * size + last
            between = self._unless[np.searchsorted(self._unless, codes)] == codes
            allowed = self._opening[last] | between
            lists = np.concatenate([last, size + np.where(allowed, PAD, first)])  # PAD avoids none
        rows, at = _entries(starts, lists)
        rows, tokens = np.where(rows < len(last), rows, rows - len(last)), followers[at]
        unfinished = np.flatnonzero(self._inner[last])
        once = self._once[generated]
        once[:, -2:] |= self._apart_from_itself[generated[:, -2:]]
        repeated, at = np.nonzero(once)
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
        return self._words_but(self.state["again"])

    @cached_property
    def _apart_from_itself(self) -> NDArray[np.bool_]:
        return self._words_but(self.state["echoes"])

    @cached_property
    def _opening(self) -> NDArray[np.bool_]:
        return self._mask(self.state["opening"])

    @cached_property
    def _unless(self) -> Ints:
        """Two words, as first * V + second, after which any word may stand, sorted; at the end a
        number that no two words have."""
        unless, size = self.state["unless"], len(self.units)
        codes = [int(word) * size + between for word, ids in unless.items() for between in ids]
        return np.sort(np.array([*codes, size**2], np.int64))

    def _words_but(self, ids: Sequence[int]) -> NDArray[np.bool_]:
        return ~self._mask([*range(len(SPECIALS)), *ids])

    def _mask(self, ids: Sequence[int]) -> NDArray[np.bool_]:
        mask = np.zeros(len(self.units), bool)
        mask[list(ids)] = True
        return mask

    @cached_property
    def _avoided(self) -> tuple[Ints, Ints]:
        """Where the words begin that do not follow each word, and then those that do not follow
        it with one word between, (2 V + 1); and all of them."""
        letters = np.array([unit[:1] for unit in self.units])
        letters[: len(SPECIALS)] = ""
        letters[self.state["common"]] = ""  # their own counts say more
        size = len(self.units)
        never: list[Ints] = [np.empty(0, np.int64)] * (2 * size)
        for word, some in self.state["letters"].items():
            own = np.flatnonzero(np.isin(letters, list(some)))
            never[int(word)] = np.union1d(self.state["avoided"][word], own).astype(np.int64)
        for word, ids in self.state["apart"].items():
            never[size + int(word)] = np.array(ids, np.int64)
            never[int(word)] = np.union1d(never[int(word)], never[size + int(word)])
        starts = np.cumsum([0, *map(len, never)])
        return starts, np.concatenate(never)
