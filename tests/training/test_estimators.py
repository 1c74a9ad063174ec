"""Models that are fitted at once, against scikit-learn and against a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import LinearSVC

import plait

N = 240
WORDS = ["red", "green", "blue", "old", "new", "small", "large", "round"]


def table(kind: str) -> dict[str, list[Any]]:
    """Three classes, a number and labels, which words, numbers and a colour give away in part."""
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, N)
    texts = [" ".join([WORDS[c], *rng.choice(WORDS, 3).tolist()]) for c in classes.tolist()]
    size = classes + rng.normal(size=N)
    targets = {
        "category": [f"class {c}" for c in classes],
        "number": (2 * size + rng.normal(size=N)).tolist(),
        "labels": [[w for w in ("red", "blue") if w in t.split()] for t in texts],
    }
    split = ["train"] * 180 + ["val"] * 30 + ["test"] * 30
    return {"text": texts, "size": size.tolist(), "target": targets[kind], "split": split}


def recipe(kind: str, **fusion: Any) -> dict[str, Any]:
    return {
        "name": "linear",
        "inputs": {
            "text": {"modality": "text", "representation": {"kind": "bag-of-words"}},
            "columns": {
                "modality": "table", "column": ["size"], "representation": {"kind": "columns"},
            },
        },
        "fusion": {"kind": "linear", **fusion},
        "outputs": {"target": {"kind": kind, "settings": {}}},
        "training": {"weights": "float32"},
    }  # fmt: skip


def trained(tmp_path: Path, kind: str, **fusion: Any) -> plait.Model:
    return plait.train(recipe(kind, **fusion), table(kind), tmp_path / "model")


def features(data: dict[str, list[Any]]) -> tuple[np.ndarray, slice, slice]:
    """As plait has them: TF-IDF of words and pairs, a flag; the scaled number, a one for its being
    there, a flag."""
    train, test = slice(0, 180), slice(210, 240)
    terms = TfidfVectorizer(
        ngram_range=(1, 2), min_df=2, sublinear_tf=True, token_pattern=r"\w+"
    ).fit(data["text"][train])
    size = np.array(data["size"])
    scaled = (size - size[train].mean()) / size[train].std()
    ones = np.ones((N, 1))
    x = np.hstack([terms.transform(data["text"]).toarray(), ones, scaled[:, None], ones, ones])
    return x, train, test


@pytest.mark.parametrize("loss", ["hinge", "log"])
def test_it_is_scikit_learns_model(tmp_path: Path, loss: str) -> None:
    data = table("category")
    x, train, test = features(data)
    y = np.array(data["target"])
    model = trained(tmp_path, "category", loss=loss, penalties=[0.5])
    estimator = (
        LinearSVC(C=2, random_state=0) if loss == "hinge"
        else LogisticRegression(C=2, solver="liblinear")
    )  # fmt: skip
    wanted = [
        estimator.fit(x[train], y[train] == name).decision_function(x[test])
        for name in sorted(set(y))
    ]
    asked = [{"text": t, "columns": {"size": s}}
             for t, s in zip(data["text"][test], data["size"][test], strict=True)]  # fmt: skip
    found = [answers["target"].value for answers in model.predict_batch(asked)]
    expected = [sorted(set(y))[n] for n in np.argmax(wanted, axis=0)]
    assert np.mean([a == b for a, b in zip(found, expected, strict=True)]) >= 29 / 30


def test_numbers_are_ridge_regression(tmp_path: Path) -> None:
    data = table("number")
    x, train, test = features(data)
    y = np.array(data["target"])
    model = trained(tmp_path, "number", penalties=[0.5])
    mean, deviation = y[train].mean(), y[train].std()
    ridge = Ridge(alpha=0.5).fit(x[train], (y[train] - mean) / deviation)
    asked = [{"text": t, "columns": {"size": s}}
             for t, s in zip(data["text"][test], data["size"][test], strict=True)]  # fmt: skip
    found = [answers["target"].value for answers in model.predict_batch(asked)]
    np.testing.assert_allclose(found, mean + deviation * ridge.predict(x[test]), atol=0.02)


def test_labels_are_learned(tmp_path: Path) -> None:
    model = trained(tmp_path, "labels")
    assert model.evaluate(table("labels"), split="test").scores["target"]["micro_f1"] > 0.9


def test_the_best_penalty_on_validation_rows_is_kept(tmp_path: Path) -> None:
    model = trained(tmp_path, "category", penalties=[1e9, 0.5])
    assert model.scores["trained"]["best"] == "penalty target 0.5"


def test_it_answers_without_an_input_and_loads_again(tmp_path: Path) -> None:
    model = trained(tmp_path, "category")
    again = plait.load(tmp_path / "model")
    asked = [{"text": "old red"}, {"columns": {"size": 2.5}}]
    one, other = ([a["target"] for a in m.predict_batch(asked)] for m in (model, again))
    assert one == other
    shares = next(again.predict_batch([{"text": "old red", "columns": {"size": 0}}], shares=True))
    assert set(shares["target"].shares) == {"text", "columns"}


def test_refitting_learns_from_the_validation_rows_too(tmp_path: Path) -> None:
    plain = recipe("category", penalties=[0.5])
    plain["training"] = {"refit": True}
    model = plait.train(plain, table("category"), tmp_path / "model")
    assert model.scores["trained"]["refit"] == 210


def test_an_output_that_has_no_linear_model_is_refused() -> None:
    raw = recipe("category")
    raw["outputs"] = {"target": {"kind": "text"}}
    with pytest.raises(plait.UsageError, match=r"outputs\.target can't be fitted at once"):
        plait.load_recipe(raw)


def test_a_representation_that_must_be_trained_is_refused(tmp_path: Path) -> None:
    raw = recipe("category")
    raw["inputs"]["text"]["representation"] = {"kind": "word-sequence"}
    with pytest.raises(plait.UsageError, match="has layers to train, and this fusion trains none"):
        plait.train(raw, table("category"), tmp_path / "model")
