"""What a split column says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.data.split_column import (
    check_flags,
    check_split_names,
    find_split_column,
    read_split_column,
    split_key,
    split_of,
)
from plait.types import UsageError

WORDS = {
    "train": ["train", "training", "trn"],
    "val": ["val", "valid", "validation", "dev", "eval"],
    "test": ["test", "testing", "holdout", "hold-out"],
}


@given(
    st.sampled_from([(split, word) for split, words in WORDS.items() for word in words]),
    st.sampled_from(["{}", "{}_set", "{} set", "{}-split", "{}Set".lower(), " {} ", "{}_data"]),
    st.sampled_from([str.lower, str.upper, str.title]),
)
def test_words_in_many_spellings(pair: tuple[str, str], form: str, case: Any) -> None:
    split, word = pair
    assert split_of(case(form.format(word))) == split


@pytest.mark.parametrize("word", ["attention", "train/val", "trainer", "a dog", "test.csv", "", 1])
def test_words_that_name_no_split(word: Any) -> None:
    assert split_of(word) is None


@pytest.mark.parametrize(
    ("name", "cells", "meant"),
    [
        ("split", [0, 0, 1, 2], {"0": "train", "1": "val", "2": "test"}),
        ("Split", ["1", "1", "2", "3"], {"1": "train", "2": "val", "3": "test"}),
        ("my_split", [0.0, 0.0, 1.0], {"0": "train", "1": "test"}),
        ("split", [1, 1, 0], {}),  # which is which?
        ("label", [0, 0, 1, 2], {}),
        ("fold", [0, 1, 2], {}),
        ("is_test", [False, False, True], {"true": "test", "false": "train"}),
        ("isTrain", [1, 1, 0], {"1": "train", "0": "test"}),
        ("is_valid", ["False", "False", "True"], {"true": "val", "false": "train"}),
        ("is_valid", [True, True, False], {}),  # most records are valid
        ("test", [True, False, False], {}),  # a medical one, say
        ("istest", [0, 0, 1], {"1": "test", "0": "train"}),
        ("Usage", ["Training", "PublicTest"], {"training": "train", "publictest": "test"}),
        ("set", ["tr", "te", None, "x"], {"tr": "train", "te": "test"}),
        ("state", ["tr", "te"], {}),
    ],
)
def test_columns(name: str, cells: list[Any], meant: dict[str, str]) -> None:
    found = read_split_column(name, cells)
    assert {key.lower(): split for key, split in found.items()} == meant


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"x": ["a"], "Partition": ["train", "other", "dev"]}, "Partition"),
        ({"x": ["train", "test"]}, "x"),
        ({"x": ["train", "bus"], "y": [1]}, None),
        ({"split": [0, 0, 1], "fold": [0, 1, 2]}, "split"),
        ({"set": ["red", "blue"]}, None),
    ],
)
def test_which_column_it_is(columns: dict[str, list[Any]], found: str | None) -> None:
    assert find_split_column(columns) == found


def test_a_split_that_says_nothing_is_not_passed_over() -> None:
    with pytest.raises(UsageError, match=r"'split' name no split: A, B.*expected words such as"):
        check_split_names({"split": ["A"] * 30 + ["B"], "x": ["A"]})
    check_split_names({"subset": ["A", "B"]})


def test_flags_of_different_splits_are_refused() -> None:
    val, test = [False, False, False, True], [False, False, True, False]
    with pytest.raises(UsageError, match="is_val and is_test put rows in different splits"):
        check_flags({"is_val": val, "is_test": test})
    check_flags({"is_train": [not flag for flag in test], "is_test": test, "is_sunny": val})
    check_flags({"is_val": val})


def test_equal_splits_have_equal_keys() -> None:
    cells = ["Dev ", "validation", "other", None]
    key = split_key("split", cells)
    assert [key(cell) for cell in cells] == ["val", "val", "other", ""]
