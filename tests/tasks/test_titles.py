"""Titles in what is written of predictions never collide."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from plait.data.tables import Table
from plait.outputs.category import CategoryOutput, Probabilities
from plait.tasks.predict import _identities, to_csv, to_json
from plait.types import Alternative, Prediction

NAMES = st.sampled_from(["row", "score", "a", "a_score", "a_2", "input_a", "share_a", "table_row",
                         "alternatives", "probabilities", "input_row", "share_score"])  # fmt: skip


@given(
    st.lists(NAMES, min_size=1, max_size=4, unique=True),
    st.lists(NAMES, min_size=1, max_size=3, unique=True),
)
def test_every_cell_has_a_title_of_its_own(columns: list[str], outputs: list[str]) -> None:
    table = Table(Path("t"), Path(), {name: [f"cell of {name}"] for name in columns})
    kinds: dict[str, Any] = {
        name: CategoryOutput().with_state({"classes": ["x", "y"], "counts": [1, 1]})
        for name in outputs
    }
    inputs = dict(zip(columns, columns, strict=True))
    answers = {
        name: Prediction(
            f"answer of {name}", 0.5, (Alternative(f"other of {name}", 0.25),),
            shares=dict.fromkeys(columns, 0.125), details=Probabilities({"x": 0.5, "y": 0.5}),
        )
        for name in outputs
    }  # fmt: skip
    rows = list(zip(_identities(table, inputs, outputs), [answers], strict=True))
    titles, cells = csv.reader(io.StringIO(to_csv(rows, kinds)))
    assert len(set(titles)) == len(titles)
    expected = ["1", *(f"cell of {name}" for name in columns)]
    for name in outputs:
        assert cells[titles.index(name)] == f"answer of {name}"
        expected += [f"answer of {name}", "0.5000", f"other of {name}", *["0.1250"] * len(columns)]
    assert sorted(cells) == sorted(expected)
    (record,) = json.loads(to_json(rows, kinds))
    assert {name: record[name] for name in outputs} == {n: f"answer of {n}" for n in outputs}
    assert {f"cell of {name}" for name in columns} <= {v for v in record.values() if type(v) is str}
