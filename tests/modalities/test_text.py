from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from tensors import as_row, pad_rows, reader

from plait.data.cells import as_text
from plait.modalities.text.bag_of_words import SCALE, BagOfWords
from plait.modalities.text.base import Text
from plait.modalities.text.word_sequence import WordSequence
from plait.types import BadCell, PlaitError

M = TypeVar("M", bound=Text)
TEXTS = ["A dog runs, a dog!", "Two dogs run", "a cat and a dog", "the cat"]


def fitted(modality: M, texts: list[str] = TEXTS) -> M:
    return modality.with_state(modality.fit(texts, Path()))


def rows_of(modality: Text, encoder: Any, *texts: str) -> list[Any]:
    items = [torch.from_numpy(modality.read(text, Path())) for text in texts]
    return [as_row(features) for features in encoder.prepare(items)]


def dense(modality: BagOfWords, text: str) -> np.ndarray:
    row = np.zeros(len(modality.state["terms"]))
    for term, weight in modality.read(text, Path()).tolist():
        row[term] = weight / SCALE
    return row


@pytest.mark.parametrize(
    ("settings", "analyzer", "spans"),
    [({}, "word", (1, 2)), ({"unit": "letters", "min_n": 2, "max_n": 3}, "char_wb", (2, 3))],
)
def test_tf_idf_is_scikit_learn_s(
    settings: dict[str, Any], analyzer: str, spans: tuple[int, int]
) -> None:
    modality = fitted(BagOfWords(min_count=1, **settings))
    words = {"token_pattern": r"(?u)\b\w+\b"} if analyzer == "word" else {}
    theirs = TfidfVectorizer(analyzer=analyzer, ngram_range=spans, sublinear_tf=True, **words)
    theirs.fit(TEXTS)
    for text in [*TEXTS, "a dog and a cat and a bird"]:
        expected = theirs.transform([text]).toarray()[0]
        np.testing.assert_allclose(dense(modality, text), expected, atol=1e-5)


def test_counts_by_hand() -> None:
    modality = fitted(BagOfWords(min_count=1, weight="counts", max_n=1), ["b a a a", "c"])
    assert modality.state["terms"] == ["a", "b", "c"]
    row = np.array([1 + np.log(3), 1, 0])
    found = dense(modality, "a b a a")
    np.testing.assert_allclose(found, row / np.linalg.norm(row), atol=1e-5)


def test_emoji_are_words() -> None:
    modality = fitted(BagOfWords(min_count=1, max_n=1), ["fine 😀", "😡!"])
    assert modality.state["terms"] == ["fine", "😀", "😡"]


def test_a_text_without_a_known_term_is_named() -> None:
    modality = fitted(BagOfWords(min_count=1), ["a dog"])
    assert modality.unread("xyz!", Path()) == "none of its words is known from training"
    assert modality.unread("xyz dog", Path()) == ""


def test_a_text_without_a_known_term_is_as_good_as_none() -> None:
    modality = fitted(BagOfWords(min_count=1))
    encoder = modality.encoder(True)
    rows = rows_of(modality, encoder, "xyz", "a dog")
    assert encoder(*pad_rows(rows, rows[1])).present.tolist() == [False, True]


def test_order_matters_to_a_sequence_only() -> None:
    cases: list[tuple[Text, bool]] = [
        (BagOfWords(min_count=1, max_n=1), True), (WordSequence(min_count=1), False)
    ]  # fmt: skip
    for unfitted, same in cases:
        modality = fitted(unfitted)
        torch.manual_seed(0)
        encoder = modality.encoder(True).eval()
        rows = rows_of(modality, encoder, "dog a cat", "cat a dog")
        values = encoder(*pad_rows(rows, rows[0])).values
        assert torch.allclose(values[0], values[1], atol=1e-6) == same


def test_long_texts_are_cut() -> None:
    modality = fitted(WordSequence(min_count=1, max_length=5))
    assert len(modality.read("a dog " * 2500, Path())) == 5


def test_characters_are_read_one_by_one_and_case_is_kept_where_asked_for() -> None:
    modality = fitted(WordSequence(unit="characters", lower=False, min_count=1))
    upper, lower = (modality.read(text, Path()) for text in ("A dog", "a dog"))
    assert len(upper) == 5
    assert (upper != lower).tolist() == [True, False, False, False, False]
    modality = fitted(WordSequence(lower=True, min_count=1))
    assert np.array_equal(*(modality.read(text, Path()) for text in ("A dog", "a dog")))


def test_the_state_of_an_older_package_is_read_as_it_was() -> None:
    old = {"unit": "words", "words": ["a", "dog"], "punctuation": True}
    modality = WordSequence().with_state(old)
    assert modality.read("A Dog", Path()).tolist() == [4, 5]
    assert '"lower"' not in modality.fingerprint()  # it loads where this is as it was made


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (" a\0b ", "a b"), (7, "7"), (["a", None, "b"], "a b"), (b"caf\xc3\xa9", "café"),
        (b"\xff broken", "\ufffd broken"),
    ],
)  # fmt: skip
def test_cells_that_are_text(cell: Any, text: str) -> None:
    assert as_text(cell) == text


@pytest.mark.parametrize(
    ("cell", "words"),
    [("", "empty"), ("  ", "empty"), ([], "empty"), (None, "not text"), ({"a": 1}, "not text"),
     ("x" * 10_000_000, "10,000,000 characters")],
    ids=["empty", "blank", "none", "nothing", "mapping", "long"],
)  # fmt: skip
def test_cells_that_are_none(cell: Any, words: str) -> None:
    with pytest.raises(BadCell, match=words) as error:
        as_text(cell)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (WordSequence(max_length=12), WordSequence(max_length=18)),
        (BagOfWords(min_count=1), BagOfWords(min_count=1, weight="counts")),
    ],
)
def test_features_that_differ_are_not_cached_as_one(one: Text, other: Text, tmp_path: Path) -> None:
    spaces = {reader("text", fitted(text), tmp_path).space().folder for text in (one, other)}
    assert len(spaces) == 2


def test_nothing_to_learn_from_is_an_error() -> None:
    with pytest.raises(PlaitError, match="all training texts are empty"):
        BagOfWords().fit(["", None], Path())
    with pytest.raises(PlaitError, match="no term occurs in 2"):
        BagOfWords().fit(["one", "two"], Path())


def test_words_are_tags() -> None:
    """Each known word by its own name: padding and unknown words are none."""
    modality = fitted(WordSequence(min_count=1, width=8))
    encoder = modality.encoder(pretrained=False).eval()
    rows = rows_of(modality, encoder, "two dogs", "a zebra runs", "zebras")
    tokens = encoder(*pad_rows(rows, rows[0]))
    assert tokens.tags is not None
    said = [
        [modality.tag_names[i] for i, weight in zip(ids, weights, strict=True) if weight == 1]
        for ids, weights in zip(tokens.tags.ids.tolist(), tokens.tags.weights.tolist(), strict=True)
    ]
    assert said == [["two", "dogs"], ["a", "runs"], []]
    assert tokens.tags.weights.sum() == 4
    assert not any("<" in name for name in modality.tag_names)


@pytest.mark.parametrize("unit", ["subwords", "characters"])
def test_letters_and_parts_of_words_are_no_tags(unit: Any) -> None:
    modality = fitted(WordSequence(unit=unit, min_count=1, vocabulary=300, width=8))
    encoder = modality.encoder(pretrained=False).eval()
    assert not modality.tag_names
    rows = rows_of(modality, encoder, "two dogs")
    assert encoder(*pad_rows(rows, rows[0])).tags is None
