"""The n-gram language model: by hand, by definition, in a search, as JSON and as ARPA files."""

from __future__ import annotations

import gzip
import json
import math
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from plait.data.vocabulary import BOS, EOS, PAD, SPECIALS, UNK
from plait.outputs.text.lm.arpa import read_arpa, write_arpa
from plait.outputs.text.lm.ngram import DISCOUNTS, NGram, estimate_discounts
from plait.types import PlaitError

A, B, C = 4, 5, 6
WORDS = [*SPECIALS, "a", "b", "c"]
Sentences = list[list[int]]


def made(count: int, words: int, seed: int = 0) -> Sentences:
    """Sentences in which some words follow others more often; all lengths from 0 to 9."""
    rng = random.Random(seed)
    found: Sentences = []
    for _ in range(count):
        said = [UNK + int(rng.triangular(0, words, 0))]
        while rng.random() < 0.8 and len(said) < 9:
            said.append(UNK + (said[-1] * 7 + int(rng.triangular(0, words, 0))) % words)
        found.append(said if rng.random() < 0.95 else [])
    return found


def row(model: NGram, context: list[int]) -> np.ndarray:
    """(V,) probabilities after a sentence's first words."""
    return np.exp(model.scores(states(model, [context])).astype(np.float64))[0]


def states(model: NGram, contexts: Sentences) -> NDArray[np.int64]:
    found = []
    for context in contexts:
        state = np.array([model.start])
        for word in context:
            state = model.step(state, np.array([word]))
        found.append(state)
    return np.concatenate(found)


class ByDefinition:
    """Interpolated modified Kneser-Ney, word by word from Chen and Goodman's formulas."""

    def __init__(self, sentences: Sentences, vocabulary: int, order: int) -> None:
        self.vocabulary, self.order = vocabulary, order
        framed = [[BOS, *sentence, EOS] for sentence in sentences]
        self.counts: dict[int, Counter[tuple[int, ...]]] = {}
        for n in range(1, order + 1):
            plain = self._ngrams(framed, n)
            if n < order:
                longer = set(self._ngrams(framed, n + 1))
                before = Counter(gram[1:] for gram in longer)
                plain = Counter({g: c if g[0] == BOS else before[g] for g, c in plain.items()})
            plain.pop((BOS,), None)
            self.counts[n] = plain
        self.discounts = {n: self._discounts(list(c.values())) for n, c in self.counts.items()}

    @staticmethod
    def _ngrams(framed: Sentences, n: int) -> Counter[tuple[int, ...]]:
        return Counter(tuple(s[i : i + n]) for s in framed for i in range(len(s) - n + 1))

    @staticmethod
    def _discounts(counts: list[int]) -> tuple[float, ...]:
        n1, n2, n3, n4 = (counts.count(k) for k in (1, 2, 3, 4))
        if min(n1, n2, n3, n4) > 0:
            y = n1 / (n1 + 2 * n2)
            found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
            if min(found) > 0:
                return found
        return DISCOUNTS

    def probability(self, context: tuple[int, ...], word: int) -> float:
        context = context[max(0, len(context) - self.order + 1) :]
        n = len(context) + 1
        if context:
            shorter = self.probability(context[1:], word)
        else:
            shorter = 0.0 if word in (PAD, BOS) else 1 / (self.vocabulary - 2)
        after = {g: c for g, c in self.counts[n].items() if g[:-1] == context}
        if not after:
            return shorter
        d, total = self.discounts[n], sum(after.values())
        saved = sum(d[min(c, 3) - 1] for c in after.values())
        count = after.get((*context, word), 0)
        discounted = count - d[min(count, 3) - 1] if count else 0.0
        return discounted / total + saved / total * shorter


def test_by_hand() -> None:
    """Two sentences, "a b" and "a"; too little text, so discounts are 0.5, 1 and 1.5.

    Bigrams: <s> a twice, a b, b </s>, a </s> once. Before a and b stands one word, before </s> two.
    """
    model = NGram.fit([[A, B], [A]], len(WORDS), 2)
    uniform = 1 / 5  # </s>, <unk>, a, b, c
    saved = (0.5 + 0.5 + 1.0) / 4  # a and b count 1, </s> 2; together 4
    a = b = (1 - 0.5) / 4 + saved * uniform
    end = (2 - 1.0) / 4 + saved * uniform
    c = unknown = saved * uniform
    # After the start: a, twice of 2.
    g = 1.0 / 2
    expected = [0, 0, g * end, g * unknown, (2 - 1.0) / 2 + g * a, g * b, g * c]
    assert row(model, []) == pytest.approx(expected, rel=1e-6)
    # After a: b and </s>, once of 2 each.
    g = (0.5 + 0.5) / 2
    once = (1 - 0.5) / 2
    expected = [0, 0, once + g * end, g * unknown, g * a, once + g * b, g * c]
    assert row(model, [A]) == pytest.approx(expected, rel=1e-6)
    # c was never said: all that counts is how many words stand before a word.
    assert row(model, [A, C]) == pytest.approx([0, 0, end, unknown, a, b, c], rel=1e-6)
    # The sentence "b": once after the start not seen, then b </s>, once of 1.
    p = (1 / 2 * b) * ((1 - 0.5) / 1 + 0.5 / 1 * end)
    assert model.perplexity([[B]]) == pytest.approx((1 / p) ** (1 / 2), rel=1e-6)


def test_discounts_by_hand() -> None:
    counts = np.array([1] * 10 + [2] * 4 + [3] * 2 + [4] + [9] * 5 + [0] * 3)
    y = 10 / (10 + 2 * 4)
    expected = [0, 1 - 2 * y * 4 / 10, 2 - 3 * y * 2 / 4, 3 - 4 * y * 1 / 2]
    assert estimate_discounts(counts) == pytest.approx(expected)


@pytest.mark.parametrize(
    "counts",
    [[1, 1, 2, 3], [2, 3, 4], [1, 3, 4], [1, 2, 4, 4], [], [1, 2] + [3] * 9 + [4]],
    ids=["no-4", "no-1", "no-2", "no-3", "nothing", "below-0"],
)
def test_discounts_of_little_text(counts: list[int]) -> None:
    assert estimate_discounts(np.array(counts, np.int64)).tolist() == [0.0, 0.5, 1.0, 1.5]


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [8, 300])
def test_equals_the_definition(order: int, count: int) -> None:
    sentences, size = made(count, 12), 20
    model, right = NGram.fit(sentences, size, order), ByDefinition(sentences, size, order)
    if count == 300 and order in (2, 3):
        assert right.discounts[order] != DISCOUNTS  # what is estimated is tested, too
    contexts = [s[:end] for s in made(12, 14, seed=5) for end in range(len(s) + 1)]
    got = np.exp(model.scores(states(model, contexts)).astype(np.float64))
    expected = [
        [right.probability((BOS, *context), word) for word in range(size)] for context in contexts
    ]
    np.testing.assert_allclose(got, expected, rtol=1e-5)


sentence = st.lists(st.integers(UNK, 9), max_size=7)


@given(st.lists(sentence, min_size=1, max_size=20), sentence, st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_any_context_sums_to_one(seen: Sentences, context: list[int], order: int) -> None:
    model = NGram.fit(seen, 12, order)
    found = row(model, context)
    assert found.sum() == pytest.approx(1, abs=1e-5)
    assert found[[PAD, BOS]].tolist() == [0, 0]
    assert (np.delete(found, [PAD, BOS]) > 0).all()


def test_states_are_the_longest_known_contexts() -> None:
    model = NGram.fit([[A, B, C], [B, A]], len(WORDS), 3)
    after = states(model, [[A, B], [C, A, B], [C, B], [A, A, B], [UNK], [A, B, C, B]])
    assert after[0] == after[1] == after[3]  # "a b" is known after anything
    assert after[2] == after[5] != after[0]  # only "b"
    assert after[4] == model.step(after[:1], np.array([EOS]))[0] == 0
    assert model.step(after, np.full(6, PAD)).tolist() == [0] * 6
    assert model.step(after, np.full(6, BOS)).tolist() == [model.start] * 6


def test_a_row_ignores_its_batch() -> None:
    model = NGram.fit(made(200, 12), 20, 4)
    contexts = [s[:end] for s in made(20, 12, seed=2) for end in range(len(s) + 1)]
    at = states(model, contexts)
    together = model.scores(at)
    assert together.dtype == np.float32
    assert together.shape == (len(contexts), 20)
    np.testing.assert_allclose(together, np.concatenate([model.scores(s[None]) for s in at]))
    together[:] = 0  # what is done to one answer does not change the next
    assert model.scores(at)[:, UNK].max() < 0
    assert model.scores(at[:0]).shape == (0, 20)
    assert model.step(at[:0], at[:0]).shape == (0,)


def test_perplexity_is_that_of_the_rows() -> None:
    model, held_out = NGram.fit(made(300, 12), 20, 3), made(30, 14, seed=9)
    scores = [
        math.log(row(model, s[:end])[word]) for s in held_out for end, word in enumerate([*s, EOS])
    ]
    assert model.perplexity(held_out) == pytest.approx(math.exp(-np.mean(scores)), rel=1e-5)
    assert model.perplexity(made(30, 12, seed=9)) < NGram.fit([[]], 20, 3).perplexity(held_out)


def test_a_longer_context_helps_where_it_tells() -> None:
    """In "a b a c", what follows a is told by the two words before."""
    text = [[A, B, A, C] * 5] * 30
    by_order = [NGram.fit(text, len(WORDS), order).perplexity(text) for order in (1, 2, 3)]
    assert by_order[0] > 2.5 > by_order[1] > 1.3 > by_order[2] > 1


@pytest.mark.parametrize("order", [1, 4])
def test_it_is_kept_as_json_exactly(order: int) -> None:
    model = NGram.fit(made(200, 12), 20, order)
    again = NGram.from_state(json.loads(json.dumps(model.to_state())))
    at = states(model, made(40, 14, seed=3))
    assert (again.vocabulary, again.order, again.start) == (20, order, model.start)
    assert np.array_equal(states(again, made(40, 14, seed=3)), at)
    assert np.array_equal(again.scores(at), model.scores(at))
    assert again.to_state() == model.to_state()


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("name", ["model.arpa", "model.arpa.gz"])
def test_arpa_and_back(tmp_path: Path, name: str, order: int) -> None:
    words = [*SPECIALS, *(f"wort{i}é" for i in range(16))]
    model = NGram.fit(made(300, 12), 20, order)
    write_arpa(tmp_path / name, model, words)
    again = read_arpa(tmp_path / name, words)
    contexts = [s[:end] for s in made(20, 14, seed=4) for end in range(len(s) + 1)]
    at = states(model, contexts)
    assert np.array_equal(states(again, contexts), at)
    np.testing.assert_allclose(again.scores(at), model.scores(at), atol=1e-5, rtol=0)
    raw = (tmp_path / name).read_bytes()
    assert (raw[:2] == b"\x1f\x8b") == name.endswith(".gz")
    text = (gzip.decompress(raw) if name.endswith(".gz") else raw).decode()
    assert text.startswith("\\data\\\nngram 1=19\n")  # all but padding


ARPA = """made by hand

\\data\\
ngram 1=6
ngram 2=4

\\1-grams:
-99\t<s>\t-0.25
-0.5 </s>
-1.0\t<unk>
-0.75\ta\t-0.125
-1.5\tb\t-0.0625
-1.25\tother\t-0.5

\\2-grams:
-0.5\t<s> a
-0.875 a </s>
-0.1\tother a
-0.2\tb other

\\end\\
"""


def test_arpa_by_hand(tmp_path: Path) -> None:
    """``other`` is no word of the vocabulary; <unk> and c share one unknown word's 0.1.

    Nothing that the vocabulary has is known after b, but its weight counts.
    """
    (tmp_path / "hand.arpa").write_text(ARPA)
    model = read_arpa(tmp_path / "hand.arpa", WORDS)
    half, none = math.log10(0.1 / 2), -math.inf
    alone = np.array([none, none, -0.5, half, -0.75, -1.5, half])
    after_start, after_a, after_b = alone - 0.25, alone - 0.125, alone - 0.0625
    after_start[A], after_a[EOS] = -0.5, -0.875
    for context, expected in ([], after_start), ([A], after_a), ([A, B], after_b), ([C], alone):
        found = model.scores(states(model, [context]))[0] / math.log(10)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_arpa_without_unknown(tmp_path: Path) -> None:
    text = ARPA.replace("ngram 1=6", "ngram 1=5").replace("-1.0\t<unk>\n", "")
    (tmp_path / "hand.arpa").write_text(text)
    found = row(read_arpa(tmp_path / "hand.arpa", WORDS), [])
    assert found[[UNK, C]].tolist() == [0, 0]
    assert found[A] == pytest.approx(10**-0.5)


DAMAGED: list[tuple[str, Callable[[str], str], str]] = [
    ("cut", lambda t: t[: t.index("-0.875")], "line 17: the file ends here"),
    ("no-end", lambda t: t.replace("\\end\\", ""), "the file ends here"),
    ("empty", lambda t: "", "line 1: the file ends here"),
    ("no-number", lambda t: t.replace("-0.75\ta", "much\ta"), "line 11: 'much.*1-gram"),
    ("nan", lambda t: t.replace("-0.75\ta", "nan\ta"), "line 11: 'nan.*1-gram"),
    ("above-1", lambda t: t.replace("-0.75\ta", "0.75\ta"), "line 11: '0.75.*1-gram"),
    ("backoff", lambda t: t.replace("-0.125", "inf"), "line 11: .*1-gram"),
    ("a-word-less", lambda t: t.replace("<s> a", "a"), "line 16: .*2-gram"),
    ("a-word-more", lambda t: t.replace("<s> a", "<s> a a 1"), "line 16: .*2-gram"),
    ("too-few", lambda t: t.replace("2=4", "2=5"), r"line 21: '\\\\end.*2-gram"),
    ("too-many", lambda t: t.replace("1=6", "1=5"), "line 13: .*2-grams"),
    ("counts", lambda t: t.replace("ngram 2", "ngram 3"), "line 5: 'ngram 3=4' where"),
    ("no-counts", lambda t: t.replace("ngram", "gram"), "line 4: 'gram 1=6' where"),
    ("twice", lambda t: t.replace("</s>\n-1.0", "a\n-1.0"), "line 11: the same words again"),
    ("context", lambda t: t.replace("<s> a", "c a"), "line 16: .* no 1-gram of its first"),
    ("endless", lambda t: t.replace("-0.5 </s>", "-0.5 other2"), "have no </s>"),
]


@pytest.mark.parametrize(
    ("damage", "message"), [d[1:] for d in DAMAGED], ids=[d[0] for d in DAMAGED]
)
def test_damaged_arpa(tmp_path: Path, damage: Callable[[str], str], message: str) -> None:
    (tmp_path / "bad.arpa").write_text(damage(ARPA))
    with pytest.raises(PlaitError, match=message):
        read_arpa(tmp_path / "bad.arpa", WORDS)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(PlaitError, match=r"none.arpa can't be read"):
        read_arpa(tmp_path / "none.arpa", WORDS)
    (tmp_path / "bad.gz").write_text(ARPA)
    with pytest.raises(PlaitError, match=r"bad.gz can't be read: Not a gzipped"):
        read_arpa(tmp_path / "bad.gz", WORDS)
    (tmp_path / "cut.gz").write_bytes(gzip.compress(ARPA.encode())[:-12])
    with pytest.raises(PlaitError, match=r"cut.gz can't be read"):
        read_arpa(tmp_path / "cut.gz", WORDS)


@pytest.mark.parametrize(("word", "why"), [("\n", "white"), ("", "white"), ("a", "twice"),
                                           ("<s>", "twice"), ("b\tc", "white")])  # fmt: skip
def test_words_that_arpa_can_not_have(tmp_path: Path, word: str, why: str) -> None:
    model = NGram.fit([[A]], len(WORDS), 2)
    with pytest.raises(PlaitError, match=why):
        write_arpa(tmp_path / "model.arpa", model, [*WORDS[:-1], word])
    assert not list(tmp_path.iterdir())


def test_mistakes_are_named(tmp_path: Path) -> None:
    model = NGram.fit([[A]], len(WORDS), 2)
    with pytest.raises(PlaitError, match="no sentence to learn"):
        NGram.fit([], 7, 2)
    with pytest.raises(PlaitError, match="no sentence to score"):
        model.perplexity([])
    for wrong in (BOS, EOS, PAD, 7, -1):
        with pytest.raises(ValueError, match="ids go from 3 to 6"):
            NGram.fit([[A, wrong]], 7, 2)
    with pytest.raises(ValueError, match="order"):
        NGram.fit([[A]], 7, 0)
    with pytest.raises(ValueError, match="6 words for 7 ids"):
        write_arpa(tmp_path / "model.arpa", model, WORDS[:-1])
