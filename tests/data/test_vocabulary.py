"""Characters, and the case of texts, in every unit."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.data.vocabulary import (
    UNK,
    CharacterVocabulary,
    WordVocabulary,
    fit_vocabulary,
    load_vocabulary,
    split_words,
)
from plait.types import PlaitError

SENTENCES = ["Anna sees Bob .", "Bob  sees\tANNA's é"]


@pytest.mark.parametrize("lower", [True, False])
def test_characters_are_joined_exactly(lower: bool) -> None:
    vocabulary = fit_vocabulary(SENTENCES, "characters", 1, 100, True, lower)
    again = load_vocabulary(json.loads(json.dumps(vocabulary.to_state())))
    assert len(again) == len(vocabulary)
    for sentence in SENTENCES:
        ids = vocabulary.encode(sentence)
        assert len(ids) == len(sentence)
        assert again.encode(sentence) == ids
        assert again.decode(ids) == (sentence.lower() if lower else sentence)
        assert again.pieces(ids) == list(again.decode(ids))


def test_an_accent_typed_apart_is_the_same_character() -> None:
    vocabulary = fit_vocabulary(["é"], "characters", 1, 100, True)
    assert vocabulary.encode("E\N{COMBINING ACUTE ACCENT}") == [4]


def test_rare_and_new_characters_are_unknown() -> None:
    vocabulary = fit_vocabulary(["aab", "ab c"], "characters", 2, 100, True)
    assert isinstance(vocabulary, CharacterVocabulary)
    assert vocabulary.entries[4:] == ["a", "b"]
    assert vocabulary.encode("abc") == [4, 5, UNK]
    assert vocabulary.decode([0, 1, 4, UNK, 5, 2]) == "ab"
    assert len(fit_vocabulary(["abcdef"], "characters", 1, 6, True)) == 6
    with pytest.raises(PlaitError, match="no character occurs 9 times"):
        fit_vocabulary(["ab"], "characters", 9, 100, True)


@pytest.mark.parametrize("unit", ["words", "subwords"])
def test_case_is_kept_where_asked_for(unit: str) -> None:
    text = "Anna sees Bob."
    kept = fit_vocabulary([text] * 2, unit, 1, 400, True, lower=False)  # type: ignore[arg-type]
    again = load_vocabulary(json.loads(json.dumps(kept.to_state())))
    assert again.decode(again.encode(text)) == text
    assert again.encode("anna") != again.encode("Anna")
    lowered = fit_vocabulary([text] * 2, unit, 1, 400, True)  # type: ignore[arg-type]
    assert lowered.decode(lowered.encode(text)) == text.lower()
    assert lowered.encode("anna") == lowered.encode("Anna")


def test_a_state_from_before_there_was_a_choice_is_lower_case() -> None:
    old = {"unit": "words", "words": ["dog"], "punctuation": True}
    vocabulary = load_vocabulary(old)
    assert isinstance(vocabulary, WordVocabulary)
    assert vocabulary.encode("Dog") == [4]


HAN_KANA_THAI = st.text(
    st.sampled_from("这家餐厅太糟糕非常好カタカナを読むที่นี่ดีมาก"), min_size=1, max_size=30
).filter(lambda text: text[0].isalpha())  # no text begins with a sign for the letter before it


@given(st.lists(HAN_KANA_THAI, min_size=1, max_size=4))
def test_scripts_without_spaces_are_read_by_characters(texts: list[str]) -> None:
    text = " ".join(texts)
    words = split_words(text)
    assert "".join(words) == "".join(texts)
    letters = [word for word in words if word[0].isalpha()]
    assert all(sum(letter.isalpha() for letter in word) == 1 for word in letters)
    known = WordVocabulary(sorted(set(words)), True, True)
    assert known.decode(known.encode(text)) == "".join(known.pieces(known.encode(text)))
