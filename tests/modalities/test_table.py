from __future__ import annotations

import json
import logging
import math
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from tensors import as_row, pad_rows

from plait.modalities.table.columns import FARTHEST, SCALE, Columns
from plait.types import BadCell, PlaitError, UsageError


def learned(modality: Columns, **columns: list[Any]) -> Columns:
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    # The state lies in a package as JSON.
    return modality.with_state(json.loads(json.dumps(modality.fit(rows, Path()))))


def read(modality: Columns, **values: Any) -> tuple[list[int], np.ndarray]:
    """Each column's id, and its numbers."""
    item = modality.read(values, Path()).astype(float)
    return item[:, 0].astype(int).tolist(), item[:, 1:] / SCALE


def kinds(modality: Columns) -> dict[str, str]:
    return {column["name"]: column["kind"] for column in modality.state["columns"]}


def test_numbers_are_scaled_as_scikit_learn_does() -> None:
    values = np.random.default_rng(0).normal(40, 7, (50, 2)) * [1, 1e5]
    theirs = StandardScaler().fit(values)
    modality = learned(Columns(), a=values[:, 0].tolist(), b=values[:, 1].tolist())
    for a, b in [*values[:5].tolist(), [0.0, -1e6]]:
        ids, numbers = read(modality, a=a, b=b)
        assert ids == [1, 1]
        np.testing.assert_allclose(numbers[:, 0], theirs.transform([[a, b]])[0], atol=1e-6)


def test_the_kind_of_a_column_is_that_of_most_of_its_values() -> None:
    table = learned(
        Columns(min_count=1),
        whole=[1, 2, 2, None, 3],
        written=["1.5", " 2 ", "-3e2", "nan", None],
        mixed=["1", "2", "3", "4", "x"],
        truth=[True, "false", "TRUE", False, None],
        code=["007", "008", "007", "008", None],
        size=["36", "M", "L", "38", "M"],
        day=["2024-01-01", date(2024, 1, 2), "03.01.2024", datetime(2024, 1, 4), None],
        money=[Decimal("1.10"), Decimal("2.20"), None, None, None],
    )
    assert kinds(table) == {
        "whole": "number", "written": "number", "mixed": "number", "truth": "number",
        "code": "category", "size": "category", "day": "date", "money": "number",
    }  # fmt: skip
    named = learned(Columns(kinds={"whole": "category"}, min_count=1), whole=[1, 2, 2.0])
    assert named.state["columns"][0]["ids"] == {"2": 2, "1": 3}  # the commonest first


def test_categories_are_missing_unseen_or_known() -> None:
    modality = learned(
        Columns(min_count=2, categories=2), c=["a ", "b", "a", "b", "b", "rare", "c", "c", None]
    )
    found = {value: read(modality, c=value)[0] for value in ("a", " b", "c", "rare", "?")}
    assert found == {" b": [2], "a": [3], "c": [1], "rare": [1], "?": [1]}


@pytest.mark.parametrize(
    ("kept", "cell"),
    [
        ("Yes", "yes "), ("yes", "YES"), ("café", "cafe\u0301"), ("True", True), (True, "true"),
        (3, "3"), ("3", 3.0), ("3.0", 3),
    ],
)  # fmt: skip
def test_a_category_is_a_value_not_a_spelling(kept: Any, cell: Any) -> None:
    modality = learned(Columns(min_count=1), a=[kept, "other", "third"] * 2)
    known, unseen = read(modality, a=kept)[0], read(modality, a="unseen")[0]
    assert read(modality, a=cell)[0] == known != unseen


def test_a_dash_among_numbers_is_empty() -> None:
    modality = learned(Columns(min_count=1), n=[1, 2, 3, 4], c=["-", "+", "-", "+"])
    assert read(modality, n="-", c="-")[0] == read(modality, n=None, c="-")[0]
    assert read(modality, n=1, c="-")[0] != read(modality, n=1, c=None)[0]


def test_a_date_by_hand() -> None:
    modality = learned(Columns(), when=["2024-01-01", "2024-01-03", "2024-01-09"])
    ids, numbers = read(modality, when="2024-01-07 18:00")  # a Sunday
    assert ids == [1]
    turns = [6.75 / 366, 6.75 / 7, 0.75]
    waves = [f(2 * math.pi * turn) for turn in turns for f in (math.sin, math.cos)]
    np.testing.assert_allclose(numbers[0], [6.75 / 4 - 1, *waves], atol=1e-6)
    for day, place in (("2024-01-01", -1), ("2024-01-09", 1), ("2024-01-13", 2)):
        assert read(modality, when=day)[1][0, 0] == pytest.approx(place)


def test_missing_values_have_an_id_and_no_numbers() -> None:
    modality = learned(
        Columns(min_count=1), a=[1.0, 3.0], c=["x", "y"], d=["2024-01-01", "2024-02-01"]
    )
    for values in ({"c": "x"}, {"a": None, "c": "x", "d": math.nan}, {"a": "NaN", "c": "x"}):
        ids, numbers = read(modality, **values)
        assert ids == [0, 2, 0]
        assert not numbers.any()
    for empty in ({}, {"a": math.nan, "c": " "}):
        assert modality.read(empty, Path()).shape == (0, 8)  # the input is absent


def test_a_missing_value_is_not_a_mean_one_and_columns_see_each_other() -> None:
    modality = learned(Columns(min_count=1, layers=1, dropout=0.0), a=[1.0, 3.0], c=["x", "y"])
    torch.manual_seed(0)
    encoder = modality.encoder(True).eval()

    def tokens(*cells: dict[str, Any]) -> torch.Tensor:
        rows = [
            as_row(f)
            for f in encoder.prepare([torch.from_numpy(modality.read(c, Path())) for c in cells])
        ]
        return encoder(*pad_rows(rows, rows[0])).values

    mean, missing, other = tokens({"a": 2.0, "c": "x"}, {"c": "x"}, {"a": 2.0, "c": "y"})
    assert not torch.allclose(mean[0], missing[0], atol=1e-3)
    assert not torch.allclose(mean[0], other[0], atol=1e-5)  # through attention


def test_categories_are_words_that_an_output_may_repeat() -> None:
    modality = learned(
        Columns(min_count=1), n=[1.0, 3.0, 4.0], c=["x", "y", "x"], d=["p", "q", "q"]
    )
    assert modality.tag_names == ["x", "y", "q", "p"]
    encoder = modality.encoder(True).eval()
    cells: list[dict[str, Any]] = [{"n": 2.0, "c": "y", "d": "p"}, {"n": 2.0, "d": "new"}, {}]
    rows = [
        as_row(f)
        for f in encoder.prepare([torch.from_numpy(modality.read(c, Path())) for c in cells])
    ]
    tags = encoder(*pad_rows(rows, rows[0])).tags
    assert tags.weights.tolist() == [[1, 1], [0, 0], [0, 0]]
    assert [modality.tag_names[number] for number in tags.ids[0]] == ["y", "p"]
    assert not learned(Columns(), n=[1.0, 3.0, 4.0]).tag_names


def test_a_constant_column_is_told_and_read(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "plait"):
        modality = learned(Columns(), a=[0.1, 0.1, 0.1], d=["2024-01-01"] * 3)
    assert "column 'a' is 0.1 in all training rows, so it is of no use" in caplog.text
    _, numbers = read(modality, a=0.1, d="2024-01-01")
    assert numbers[:, 0].tolist() == [0, 0]
    _, numbers = read(modality, a=1.1, d="2024-01-03")
    assert numbers[:, 0].tolist() == [1, 2]  # a deviation of 1, and days


def test_far_away_is_cut_and_finite() -> None:
    modality = learned(Columns(), a=[0.0, 1e-200], b=[-1e100, 1e100], c=[0.0, 1.0])
    _, numbers = read(modality, a=1e100, b=1e100, c=-1e99)
    np.testing.assert_allclose(numbers[:, 0], [FARTHEST, 1, -FARTHEST])


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("speed", "abc", "column 'speed': 'abc' is not a number; expected a finite number"),
        ("speed", [1], r"column 'speed': \[1\] is not a number"),
        ("speed", date(2024, 1, 1), "column 'speed': .* is not a number"),
        ("speed", math.inf, "column 'speed': inf is infinite"),
        ("speed", "-inf", "column 'speed': '-inf' is infinite"),
        ("speed", 10**400, "column 'speed': 1000.* is infinite"),
        ("colour", math.inf, "column 'colour': inf is infinite"),
        ("colour", b"x", "column 'colour': b'x' is not a category; expected a text"),
        ("colour", "x" * 300, "column 'colour': .* has 300 letters"),
        ("day", "31/12/2024", "column 'day': '31/12/2024' is not a date; expected a date such as"),
        ("day", "2024-02-30", "column 'day': '2024-02-30' is not a date"),
        ("day", 7, "column 'day': 7 is not a date"),
        ("sped", 7, "no column 'sped' .*; expected speed, colour, day; did you mean 'speed'"),
    ],
)
def test_values_of_a_wrong_kind(column: str, value: Any, words: str) -> None:
    modality = learned(
        Columns(min_count=1), speed=[1, 2], colour=["a", "b"], day=["2024-01-01", "2024-01-02"]
    )
    with pytest.raises(BadCell, match=words) as error:
        modality.read({"speed": 1, column: value}, Path())
    assert len(str(error.value)) < 250
    assert "\n" not in str(error.value)


def test_a_cell_that_is_no_mapping() -> None:
    modality = learned(Columns(), a=[1, 2])
    with pytest.raises(BadCell, match="3 is not a mapping of columns; expected a mapping"):
        modality.read(3, Path())
    with pytest.raises(BadCell, match="not a mapping of columns"):
        modality.content("x", Path())


def test_columns_that_can_t_be_learned() -> None:
    with pytest.raises(PlaitError, match=r"column 'b' is empty in all .*leave it out"):
        learned(Columns(), a=[1, 2], b=[None, math.nan])
    with pytest.raises(PlaitError, match="all training cells are empty"):
        Columns().fit([], Path())
    names = [f"name {n}" for n in range(30)]
    with pytest.raises(PlaitError, match="'c': 30 different values and none of them 2 times"):
        learned(Columns(), c=names)
    with pytest.raises(PlaitError, match="column 'a' has no date in any training row"):
        learned(Columns(kinds={"a": "date"}), a=[1, 2])
    with pytest.raises(UsageError, match=r"no column 'sped'.*expected speed.*did you mean"):
        learned(Columns(kinds={"sped": "number"}), speed=[1, 2])


def test_the_cache_sees_what_differs_and_only_that() -> None:
    modality = Columns()
    cells = [{"a": 1, "b": None}, {"a": 1}, {"b": 1}, {"a": "1"}, {"a": date(2024, 1, 1)}]
    found = [modality.content(cell, Path()) for cell in cells]
    assert found[0] == found[1]
    assert len(set(found)) == 4
    assert modality.content({"a": 1, "b": 2}, Path()) == modality.content({"b": 2, "a": 1}, Path())


def test_augmented_views_lose_some_columns_but_never_all() -> None:
    modality = learned(Columns(min_count=1), a=[1.0, 3.0], b=[5.0, 9.0], c=["x", "y"])
    item = modality.read({"a": 1.5, "b": 6.0, "c": "x"}, Path())
    views = np.stack([modality.augment(item, view, 7) for view in range(1, 400)])
    lost = views[..., 0] == 0
    assert lost.mean() == pytest.approx(0.1, abs=0.03)
    assert not lost.all(axis=1).any()
    assert not views[lost].any()  # its numbers are gone too
    assert set(views[:, 2, 0].tolist()) == {0, 2}  # a category becomes no other
    noise = (views[:, 0, 1] - item[0, 1])[~lost[:, 0]] / SCALE
    assert noise.std() == pytest.approx(0.05, rel=0.15)
    lonely = modality.read({"c": "x"}, Path())
    assert all(np.array_equal(modality.augment(lonely, view, 7), lonely) for view in range(1, 50))


def test_periodic_numbers_by_hand() -> None:
    modality = learned(
        Columns(numbers="periodic", layers=0, dropout=0.0, min_count=1), a=[1.0, 3.0], c=["x", "y"]
    )
    encoder: Any = modality.encoder(True)
    rows = [as_row(torch.from_numpy(modality.read({"a": 2.5, "c": "y"}, Path())))]
    values = encoder(*pad_rows(rows, rows[0])).values[0]
    turns = 2 * torch.pi * 0.5 * encoder.numbers.frequency[0, 0]
    waves = torch.cat([turns.sin(), turns.cos()])
    expected = encoder.vector.weight[1] + waves @ encoder.numbers.linear.weight[0]
    torch.testing.assert_close(values[0], expected)
    torch.testing.assert_close(values[1], encoder.vector.weight[2 + 3])  # no waves of a category
