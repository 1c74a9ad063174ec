"""A class is a value, not a spelling: the same in every format, and read back as it was written."""

from __future__ import annotations

import csv
import json
import tempfile
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.data.tables import as_table, read_table
from plait.data.values import MISSING, class_key, is_missing
from plait.outputs.base import Output
from plait.outputs.category import CategoryOutput
from plait.outputs.labels import LabelsOutput
from plait.outputs.number import NumberOutput
from plait.types import EmptyTarget, PlaitError, UnseenLabel

HERE = Path()
FORMS = st.sampled_from(["csv", "jsonl", "frame"])
TEXT = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8)
WORDS = TEXT.filter(lambda t: t not in MISSING and not is_missing(t))
CLASSES = st.one_of(
    st.just([True, False]),
    st.lists(st.integers(-5, 99), min_size=2, max_size=5, unique=True),
    st.lists(WORDS, min_size=2, max_size=5, unique_by=lambda t: class_key(t).casefold()),
)


def column(cells: list[Any], form: str) -> list[Any]:
    """The cells as a table of that form gives them."""
    if form == "frame":
        return list(as_table({"y": cells}).column("y"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"t.{form}")
        with path.open("w", encoding="utf-8", newline="") as file:
            if form == "csv":
                csv.writer(file).writerows([["y", "n"], *([cell, 0] for cell in cells)])
            else:
                file.writelines(json.dumps({"y": cell}) + "\n" for cell in cells)
        return list(read_table(path).column("y"))


def fitted(output: Output, cells: list[Any]) -> Any:
    return output.with_state(output.fit(cells, HERE))


@given(
    CLASSES, st.sampled_from(["csv", "jsonl", "frame"]), st.sampled_from(["csv", "jsonl", "frame"])
)
def test_a_class_is_the_same_in_every_format(classes: list[Any], one: str, other: str) -> None:
    output = fitted(CategoryOutput(), column(classes * 3, one))
    assert len(output.choices) == len(classes)
    numbers = [output.read(cell, HERE) for cell in column(classes, other)]
    assert sorted(numbers) == list(range(len(classes)))
    assert numbers == [output.read(cell, HERE) for cell in classes]
    assert [output.choices[n] for n in numbers] == [
        output.reference(cell, HERE) for cell in column(classes, other)
    ]


@given(CLASSES, FORMS)
def test_what_is_written_is_read_back(classes: list[Any], form: str) -> None:
    output = fitted(CategoryOutput(), classes * 3)
    written = [output.to_cell(value) for value in output.choices]
    assert [output.read(c, HERE) for c in column(written, form)] == list(range(len(classes)))


@given(st.lists(WORDS, min_size=1, max_size=5, unique_by=class_key))
def test_labels_that_are_written_are_read_back(labels: list[str]) -> None:
    output = fitted(LabelsOutput(), [labels, labels[:1]])
    answers = [tuple(output.choices), (), tuple(output.choices[:1])]
    cells = column([output.to_cell(answer) for answer in answers], "csv")
    assert [tuple(output.labels(cell)) for cell in cells] == [tuple(sorted(a)) for a in answers]


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=6))
def test_numbers_that_are_written_are_read_back(numbers: list[float]) -> None:
    output = NumberOutput()
    for form in ("csv", "jsonl", "frame"):
        assert [output.read(c, HERE) for c in column(numbers, form)] == pytest.approx(numbers)


@pytest.mark.parametrize(
    ("learned", "cell", "found"),
    [
        (["no", "yes"], "Yes ", "yes"),
        (["no", "yes"], "YES", "yes"),
        (["no", "yes", "Yes"], "Yes", "Yes"),
        ([True, False], "true", True),
        (["True", "False"], False, "False"),
        ([0, 1, 2], "2", 2),
        ([0, 1, 2], 2.0, 2),
        (["0", "1"], 1, "1"),
        (["café", "thé"], unicodedata.normalize("NFD", "café"), "café"),
    ],
)
def test_one_class_in_two_spellings(learned: list[Any], cell: Any, found: Any) -> None:
    output = fitted(CategoryOutput(), learned)
    assert output.choices[output.read(cell, HERE)] == found == output.reference(cell, HERE)


def test_case_tells_classes_apart_if_it_must(caplog: pytest.LogCaptureFixture) -> None:
    output = fitted(CategoryOutput(), ["a", "A", "b"])
    assert "classes that differ only in case: 'A', 'a'" in caplog.text
    assert output.choices[output.read("A", HERE)] == "A"
    assert output.choices[output.read("B", HERE)] == "b"


def test_one_odd_class_among_numbers_is_not_learned() -> None:
    output = fitted(CategoryOutput(), [0, 1] * 10 + ["?"])
    assert output.choices == [0, 1]
    with pytest.raises(UnseenLabel, match=r"no training row has the class '\?'; expected 0, 1"):
        output.read("?", HERE)


def test_labels_in_other_spellings() -> None:
    output = fitted(LabelsOutput(min_count=1), [["Dog", "cat"], ["7"]])
    assert output.labels("dog, CAT") == ("Dog", "cat")
    assert output.labels(7) == output.labels(7.0) == output.labels(["7"]) == ("7",)


@pytest.mark.parametrize(
    "cell", [["b", "a"], ("a", "b"), {"a", "b"}, np.array(["a", "b"]), np.array(["b", "a"], object)]
)
def test_labels_of_a_frame(cell: Any) -> None:
    output = fitted(LabelsOutput(), [["a", "b"]])
    assert [output.labels(c) for c in as_table({"y": [cell, None]}).column("y")[:1]] == [("a", "b")]


def test_labels_that_are_numbers_in_a_frame() -> None:
    output = fitted(LabelsOutput(), [[3, 4]])
    assert output.labels(as_table({"y": [np.array([4, 3])]}).column("y")[0]) == ("3", "4")


@pytest.mark.parametrize(
    ("output", "cells", "message"),
    [
        (CategoryOutput(), [None, 0.5, 1.5], "classes: none, but 0.5; expected"),
        (CategoryOutput(), ["a", "a"], "classes: only 'a'; expected"),
        (NumberOutput(), ["", "€1", "€2"], "numbers: none, but '€1'; expected"),
        (NumberOutput(), [3, 3], "numbers: all are 3; expected"),
    ],
)
def test_a_column_that_can_not_be_learned(output: Output, cells: list[Any], message: str) -> None:
    with pytest.raises(PlaitError, match=message):
        output.fit(cells, HERE)


def test_a_dash_is_no_number_and_no_bad_cell() -> None:
    for cell in ("-", " . ", "–"):
        with pytest.raises(EmptyTarget):
            NumberOutput().read(cell, HERE)
