"""What cells say, alike from every format."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.data.values import (
    MISSING,
    NUMBER,
    ClassIds,
    as_list,
    class_key,
    is_missing,
    plain,
    plain_column,
    same_but_for_case,
)

NA: Any = type("NAType", (), {"__bool__": lambda self: 1 / 0, "__ne__": lambda s, o: s})()
"""As pandas.NA: a comparison with it is neither true nor false."""


@pytest.mark.parametrize(
    "cell", [None, math.nan, Decimal("nan"), NA, "", "  ", "\t", b"", [], {}, {"a": None, "b": NA}]
)
def test_empty_cells(cell: Any) -> None:
    assert is_missing(cell)


@pytest.mark.parametrize("cell", [0, False, "0", "nan", b"\0", [None], {"a": 0}, datetime.min])
def test_cells_that_are_not_empty(cell: Any) -> None:
    assert not is_missing(cell)


@given(st.sampled_from(sorted(MISSING)), st.sampled_from(["", " ", "\t"]))
def test_a_text_that_stands_for_nothing(text: str, space: str) -> None:
    assert plain(space + text + space) is None
    assert plain(text, frozenset()) == text
    assert plain(["a", text, None, "b"]) == ["a", "b"]


def test_the_texts_that_stood_for_nothing_are_counted() -> None:
    values, gone = plain_column(["a", "NA", "", "NA ", "nan", None, "-"])
    assert values == ["a", None, None, None, None, None, "-"]
    assert gone == {"NA": 2, "nan": 1}


def test_a_dash_is_nothing_in_a_column_of_numbers() -> None:
    assert plain_column(["1", "-", "2.5", "."]) == ([1.0, None, 2.5, None], {"-": 1, ".": 1})
    assert plain_column(["+", "-", "-", "+"])[0] == ["+", "-", "-", "+"]
    assert plain_column(["1", "-", "2"], frozenset({"?"}))[0] == [1, None, 2]


@given(st.lists(st.integers(-999, 999), min_size=4, max_size=60), st.data())
def test_one_odd_cell_changes_no_other(numbers: list[int], data: Any) -> None:
    at = data.draw(st.integers(0, len(numbers)))
    odd = data.draw(st.sampled_from(["?", "unknown", "12 cm"]))
    texts = list(map(str, numbers))
    values, gone = plain_column([*texts[:at], odd, *texts[at:]])
    assert values == [*numbers[:at], odd, *numbers[at:]]
    assert not gone


@given(
    st.lists(st.one_of(st.none(), st.integers(-99, 99)), min_size=1, max_size=9).filter(any),
    st.sampled_from([str, lambda n: n, lambda n: f" {n} ", float, np.int64, lambda n: f"{n}.0"]),
    st.sampled_from([None, "", "NA", "nan", math.nan, NA]),
)
def test_numbers_are_numbers_however_written(
    numbers: list[int | None], write: Callable[[int], Any], nothing: Any
) -> None:
    values, _ = plain_column([nothing if n is None else write(n) for n in numbers])
    assert values == numbers


def test_names_of_digits_stay_texts() -> None:
    assert plain_column(["007", "8", "9", "10", "11"])[0] == ["007", "8", "9", "10", "11"]


@pytest.mark.parametrize("text", ["1", "-1.5", ".5", "+2", "1e5", "2.5E-3", "0", "-0.0"])
def test_numbers(text: str) -> None:
    assert NUMBER.fullmatch(text)
    float(text)


@pytest.mark.parametrize("text", ["", "-", ".", "1.", "e5", "1,5", "--1", "0x1", "1_0", "inf", "٣"])
def test_texts_that_are_not_numbers(text: str) -> None:
    assert not NUMBER.fullmatch(text)


def test_true_and_false_however_written() -> None:
    assert plain_column(["True", "false", "", "TRUE"])[0] == [True, False, None, True]
    assert plain_column([True, "false", np.bool_(True)])[0] == [True, False, True]


LISTS = st.lists(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1), min_size=1)


@given(LISTS.filter(lambda items: not MISSING & set(items)))
def test_lists_in_cells(items: list[str]) -> None:
    assert as_list(json.dumps(items)) == items
    assert as_list(repr(items)) == items
    if len(items) > 1:
        assert as_list(f"[{' '.join(map(repr, items))}]") == [
            repr(item)[1:-1] if "\\" in repr(item) else item for item in items
        ]
    assert plain_column([repr(items), "", json.dumps(items)])[0] == [items, None, items]


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("('a', 'b')", ["a", "b"]),
        ("{'b', 'a'}", ["b", "a"]),
        ('{"a dog","b"}', ["a dog", "b"]),
        ("['it\\'s', \"it's\"]", ["it's", "it's"]),
        ("['a', nan]", ["a"]),
        ("['a', None, '']", ["a"]),
        ("['C:\\d', 'b']", ["C:\\d", "b"]),
        ("[1, 2.5]", [1, 2.5]),
        ("[[1, 2], [3, 4]]", [[1, 2], [3, 4]]),
        ("[1. 2. -3.5e1]", [1.0, 2.0, -35.0]),
        ("[1 2\n 3]", [1, 2, 3]),
        ("[]", []),
    ],
)
def test_lists_of_other_spellings(text: str, items: list[Any]) -> None:
    assert as_list(f" {text} ") == items


def test_a_gap_in_a_list_of_numbers_stays() -> None:
    assert math.isnan(as_list("[1.0, nan, 3.0]")[1])


def test_lists_beside_single_texts() -> None:
    assert plain_column(["['a', 'b']", "c", "['d', 'e']", ""])[0] == [
        ["a", "b"], "c", ["d", "e"], None,
    ]  # fmt: skip
    assert plain_column(["[1]", "see [1]", "and [2]"])[0] == ["[1]", "see [1]", "and [2]"]


@pytest.mark.parametrize(
    "text", ["[laughs]", "[1, 2", "[a, b]", "[]]", "('a')", "(see p. 3)", "{'a': 1}", "a, b", "["]
)
def test_brackets_that_are_no_list(text: str) -> None:
    assert as_list(text) == text


@given(
    st.one_of(st.booleans(), st.integers(-99, 99), st.text(min_size=1).filter(str.strip)),
    st.sampled_from(["NFC", "NFD"]),
    st.sampled_from(["", " ", "\n"]),
)
def test_a_class_is_itself_however_written(value: Any, form: Any, space: str) -> None:
    written = space + unicodedata.normalize(form, str(value)) + space
    assert ClassIds([value]).get(written) == 0
    assert ClassIds([written]).get(value) == 0
    if isinstance(value, int):
        assert ClassIds([value]).get(str(value).upper()) == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, "1"), (1.0, "1"), ("1.0", 1), (True, "TRUE"), ("false", False), ("é", "e\u0301")],
)
def test_one_class_written_in_two_ways(one: Any, other: Any) -> None:
    assert class_key(one) == class_key(other)


@pytest.mark.parametrize(("one", "other"), [(1, True), ("01", "1"), ("a", "b"), (1, "1.5")])
def test_two_classes(one: Any, other: Any) -> None:
    assert class_key(one) != class_key(other)


def test_case_counts_only_where_classes_differ_in_nothing_else() -> None:
    ids = ClassIds(["yes", "No", "a", "A"])
    assert [ids.get(text) for text in ("YES", "no", "a", "A")] == [0, 1, 2, 3]
    assert same_but_for_case(["yes", "No", "a", "A"]) == [["a", "A"]]
