"""The classical baseline, against scikit-learn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from both import RECIPE
from heads import decode

from plait.comparison import classical
from plait.config import registry
from plait.config.recipe import check_recipe, load_recipe
from plait.data.cells import ErrorPolicy
from plait.data.tables import Table
from plait.modalities.base import Classical
from plait.outputs.category import CategoryOutput
from plait.types import Fused, Tokens


@pytest.mark.parametrize("modality", registry.modalities())
def test_every_modality_has_one_classical_representation(modality: str) -> None:
    found = [
        name
        for name in registry.names(modality)
        if issubclass(registry.find(modality, name).cls, Classical)
    ]
    assert found == [classical.classical_name(modality)]


def test_the_recipe_keeps_a_classical_representation_as_it_is() -> None:
    recipe = classical.classical_recipe(
        load_recipe("sentiment", ["inputs.text.representation={kind: bag-of-words, min_count: 7}"])
    )
    assert recipe.inputs["text"].representation["min_count"] == 7
    assert recipe.inputs["image"].representation["kind"] == "visual-words"


def fused(values: np.ndarray) -> Fused:
    pooled = torch.from_numpy(values)
    return Fused(pooled, Tokens(pooled[:, None], torch.ones(len(pooled), 1, dtype=torch.bool)), {})


def test_it_is_logistic_regression(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean loss and λ · |w|² is scikit-learn's with C = 1 / (2 λ N)."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 5)).astype(np.float32), rng.integers(0, 3, 200)
    x[np.arange(200), y] += 1.0
    monkeypatch.setattr(classical, "PENALTIES", (1e-3,))
    output = CategoryOutput(calibrate=False)
    output = output.with_state(output.fit(y.tolist(), Path()))
    head = output.head(5, ["x"], True)
    classical.fit_linear(head, fused(x), y.tolist(), fused(x), y.tolist())
    expected = LogisticRegression(C=1 / (2 * 1e-3 * 200), tol=1e-8, max_iter=1000).fit(x, y)
    found = [output.probabilities(p) for p in decode(output, head, fused(x))]
    probable = np.array([[p[value] for value in (0, 1, 2)] for p in found])
    np.testing.assert_allclose(probable, expected.predict_proba(x), atol=2e-3)


def test_it_learns_from_no_more_rows_than_the_recipe_does(tmp_path: Path) -> None:
    recipe = check_recipe({
        "name": "words", "inputs": {"words": RECIPE["inputs"]["words"]},
        "outputs": {"answer": {"kind": "category"}}, "data": {"rows": 10},
    })  # fmt: skip
    columns = {"words": ["here", "there"] * 20, "answer": ["in", "out"] * 20}
    table = Table(tmp_path / "t.csv", tmp_path, columns)
    found = classical.answer_classically(recipe, table, "val", ErrorPolicy())
    assert found.learned == 10


@pytest.mark.parametrize(("weight", "wanted"), [(0.1, "out"), (10.0, "in")])
def test_sources_count_by_their_weights(weight: float, wanted: str, tmp_path: Path) -> None:
    """The table says one thing of a word, and as many rows of a source say another."""
    source = tmp_path / "source.jsonl"
    row = json.dumps({"words": "here", "answer": "in"})
    source.write_text(f"{row}\n" * 30)
    recipe = check_recipe({
        "name": "words", "inputs": {"words": RECIPE["inputs"]["words"]},
        "outputs": {"answer": {"kind": "category"}},
        "data": {"split": "split", "sources": {"more": {"table": str(source), "weight": weight}}},
    })  # fmt: skip
    splits = ["train"] * 30 + ["val"] * 10
    columns = {"words": ["here"] * 40, "answer": ["out", "in"] * 5 + ["out"] * 30, "split": splits}
    table = Table(tmp_path / "t.csv", tmp_path, columns)
    found = classical.answer_classically(recipe, table, "val", ErrorPolicy())
    assert found.learned == 60
    assert {prediction.value for prediction in found.predictions["answer"]} == {wanted}


def test_a_table_s_rows_are_not_crowded_out_by_a_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classical, "MOST_ROWS", 20)
    source = tmp_path / "source.jsonl"
    rows = [{"words": f"here {n}", "answer": "in"} for n in range(100)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = check_recipe({
        "name": "words", "inputs": {"words": RECIPE["inputs"]["words"]},
        "outputs": {"answer": {"kind": "category"}},
        "data": {"sources": {"more": {"table": str(source)}}},
    })  # fmt: skip
    columns = {"words": ["here", "there"] * 10, "answer": ["in", "out"] * 10}
    table = Table(tmp_path / "t.csv", tmp_path, columns)
    assert classical.answer_classically(recipe, table, "val", ErrorPolicy()).learned == 16 + 20
