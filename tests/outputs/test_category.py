from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from heads import decode, fused

from plait.outputs.category import CategoryMetrics, CategoryOutput, Probabilities, as_class
from plait.outputs.networks import CategoryHead
from plait.types import BadCell, PlaitError, Prediction, UsageError

HERE = Path()


def fitted(output: CategoryOutput, cells: list[Any]) -> CategoryOutput:
    return output.with_state(output.fit(cells, HERE))


def head(output: CategoryOutput, cells: list[Any]) -> CategoryHead:
    torch.manual_seed(0)
    built = fitted(output, cells).head(8, ["a"], True)
    assert isinstance(built, CategoryHead)
    return built.eval()


def answers(head: CategoryHead, pooled: torch.Tensor, **options: Any) -> list[Prediction]:
    return decode(head.output, head, fused(pooled), **options)


def answered(*rows: list[float]) -> list[Prediction]:
    found = []
    for row in rows:
        probable = dict(zip("abc", row, strict=False))
        best = max(probable, key=lambda value: probable[value])
        found.append(Prediction(best, probable[best], details=Probabilities(probable)))
    return found


def test_classes_of_any_kind() -> None:
    state = CategoryOutput().fit([3, "x ", 3.0, True, None, "", float("nan"), "x"], HERE)
    assert state == {"classes": [True, 3, "x"], "counts": [1, 2, 2]}
    with pytest.raises(BadCell, match="is not a class"):
        as_class([1])
    with pytest.raises(BadCell, match="is not a class"):
        as_class(0.5)


def test_one_class_only_is_an_error() -> None:
    with pytest.raises(PlaitError, match="only 'x'; expected at least two"):
        CategoryOutput().fit(["x", "x"], HERE)
    with pytest.raises(PlaitError, match="none"):
        CategoryOutput().fit([None], HERE)


def test_a_class_that_was_not_learned_is_a_bad_cell() -> None:
    output = fitted(CategoryOutput(), ["a", "b"])
    assert output.read("b", HERE) == 1
    with pytest.raises(BadCell, match="no training row has the class 'c'; expected 'a', 'b'"):
        output.read("c", HERE)
    with pytest.raises(BadCell, match="empty"):
        output.read(" ", HERE)


def test_scores_by_hand() -> None:
    rows = answered([0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.5, 0.4, 0.1])
    found = CategoryMetrics(rows, ["a", "a", "b", "b"]).scores()
    assert found["accuracy"] == 0.75
    # a: 2 right of 3 given and 2 wanted; b: 1 of 1 given and 2 wanted; c does not occur.
    assert found["macro_f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert found["log_loss"] == pytest.approx(-np.log([0.8, 0.6, 0.7, 0.4]).mean())
    assert found.extras["classes"] == ["a", "b", "c"]
    assert found.extras["confusion"] == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]
    # Each in a bin of its own: |0.8-1|, |0.6-1|, |0.7-1|, |0.5-0|.
    assert found["calibration_error"] == pytest.approx((0.2 + 0.4 + 0.3 + 0.5) / 4)
    low, high = found.intervals["accuracy"]
    assert low < 0.75 < high


def test_intervals_cover_what_is_true() -> None:
    """Of many samples of records with accuracy 0.7, about 95 % have it in their interval."""
    rng, hits = np.random.default_rng(0), 0
    for trial in range(60):
        right = rng.random(60) < 0.7
        rows = answered(*[[0.9, 0.1] if r else [0.1, 0.9] for r in right])
        low, high = CategoryMetrics(rows, ["a"] * 60).scores(seed=trial).intervals["accuracy"]
        hits += low <= 0.7 <= high
    assert hits >= 52


def test_calibration_finds_the_temperature() -> None:
    """Logits that are twice too large are divided by two; answers stay as they are."""
    built = head(CategoryOutput(dropout=0.0), ["a", "b", "c"])
    pooled = torch.randn(4000, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        built.raw.out.weight.mul_(6)
        logits = built.scores(fused(pooled))
    generator = torch.Generator().manual_seed(2)
    drawn = torch.multinomial((logits / 2).softmax(-1), 1, generator=generator)[:, 0].tolist()
    before = [p.value for p in answers(built, pooled[:50])]
    built.calibrate(iter([fused(pooled[:2000]), fused(pooled[2000:])]), drawn)
    assert float(built.temperature) == pytest.approx(2, rel=0.1)
    assert [p.value for p in answers(built, pooled[:50])] == before
    again = head(CategoryOutput(dropout=0.0), ["a", "b", "c"])
    again.load_state_dict(built.state_dict())
    assert float(again.temperature) == float(built.temperature)
    plain = head(CategoryOutput(calibrate=False), ["a", "b", "c"])
    plain.calibrate(iter([fused(pooled)]), drawn)
    assert float(plain.temperature) == 1


def test_balanced_weights_by_hand() -> None:
    """Of 3 a and 1 b, a weighs 4 / (2 · 3), b 4 / (2 · 1)."""
    built = head(CategoryOutput(weights="balanced", dropout=0.0), ["a", "a", "a", "b"])
    pooled = torch.randn(2, 8)
    nll = -built.raw(fused(pooled)).log_softmax(-1)
    expected = (nll[0, 0] * 2 / 3 + nll[1, 1] * 2) / (2 / 3 + 2)
    torch.testing.assert_close(built.loss(fused(pooled), [0, 1]), expected)


def test_the_likeliest_come_first() -> None:
    built = head(CategoryOutput(), ["a", "b", "c"])
    (found,) = answers(built, torch.randn(1, 8), num=2)
    assert len(found.alternatives) == 1
    assert found.score >= found.alternatives[0].score
    assert math.isclose(sum(found.details.probabilities.values()), 1, rel_tol=1e-5)
    assert found.details.probabilities[found.value] == found.score
    with pytest.raises(UsageError, match="expected one of: num"):
        answers(built, torch.randn(1, 8), beam=3)
