"""What becomes of a table's columns is said."""

from __future__ import annotations

import math
from typing import Any

import pytest

from plait.data.tables import as_table
from plait.pipeline.columns import numbers_rows, plain_columns, tell_columns


@pytest.mark.parametrize(
    ("name", "cells", "why"),
    [
        ("column_0", [7, 3, 9, 1, 5], "row numbers"),
        ("Unnamed: 0", [0, 1, 2, 3, 4], "row numbers"),
        ("n", [1, 2, 3, 4, 5], "row numbers"),
        ("n", [2, 3, 4, 5, 6], ""),
        ("n", [5, 4, 3, 2, 1], "row numbers"),
        ("n", [0, 3, 2, 1, 4], ""),
        ("n", [0.0, 1.0, 2.0, 3.0, 4.0], "row numbers"),
        ("id", [7.0, 3.0, math.nan, 1.0, 5.0, 9.0], "identifiers"),
        ("pk", [52, 17, 99, 3, 4], "identifiers"),
        ("n", [0, 1, 2, 3, 3], ""),
        ("customer_id", [52, 17, 99, 3, 4], "identifiers"),
        ("userId", ["a1", "b2", "c3", "d4", "e5"], "identifiers"),
        ("id", [1, 1, 2, 2, 3], ""),
        ("price", [5, 3, 9, 1, 7], ""),
        ("id", [0.5, 1.5, 2.5, 3.5, 4.5], ""),
        ("n", [0, 1], ""),  # a table too small to tell
    ],
)
def test_columns_that_only_tell_which_row_it_is(name: str, cells: list[Any], why: str) -> None:
    assert numbers_rows(name, cells) == why


def test_they_are_not_learned_from() -> None:
    table = as_table({
        "column_0": [4, 0, 3, 1, 2], "id": list("abcde"), "price": [5, 3, 9, 1, 7],
    })  # fmt: skip
    assert plain_columns(table, []) == ["price"]


def test_what_is_not_used_and_what_is_empty_is_said(caplog: pytest.LogCaptureFixture) -> None:
    table = as_table({
        "text": ["a", "NA", "nan", "b", "NA"], "id": list("vwxyz"),
        "other": ["u", "u", "v", "v", "NA"],
        "split": ["train"] * 5, "caption_0": list("abcde"), "caption_1": list("fghij"),
    })  # fmt: skip
    tell_columns(table, {"inputs.text": "text", "outputs.caption": "caption"}, ["split", None])
    assert caplog.messages == [
        "column 'text': cells that count as empty: NA 2, nan 1",
        "not used: id (identifiers), other",
    ]
