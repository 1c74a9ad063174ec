"""The classical baseline, against scikit-learn."""

from __future__ import annotations

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
