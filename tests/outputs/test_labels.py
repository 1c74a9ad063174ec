from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from heads import decode, fused
from sklearn.metrics import accuracy_score, average_precision_score, f1_score

from plait.outputs.category import Probabilities
from plait.outputs.labels import LabelsMetrics, LabelsOutput, best_threshold
from plait.outputs.networks import LabelsHead
from plait.types import BadCell, PlaitError, Prediction, UnseenLabel, UsageError

HERE = Path()
CELLS = [["b", "a"], ["a"], [], ["c", "a"], ["b"]]


def head(output: LabelsOutput, cells: list[Any] = CELLS) -> LabelsHead:
    torch.manual_seed(0)
    built = output.with_state(output.fit(cells, HERE)).head(8, ["a"], True)
    assert isinstance(built, LabelsHead)
    return built.eval()


def answers(head: LabelsHead, pooled: torch.Tensor, **options: Any) -> list[Prediction]:
    return decode(head.output, head, fused(pooled), **options)


def test_cells_of_any_kind() -> None:
    output = LabelsOutput()
    assert output.labels(["b", "a ", "a", ""]) == ("a", "b")
    assert output.labels("b, a,,") == ("a", "b")
    assert output.labels([]) == output.labels(" , ") == ()
    assert output.labels([3, "x"]) == ("3", "x")
    assert output.labels(3) == ("3",)
    assert LabelsOutput(separator="|").labels("a, b|c") == ("a, b", "c")
    for cell in (None, "", " ", math.nan):
        with pytest.raises(BadCell, match="missing"):
            output.labels(cell)
    for cell in (0.5, True, {"a": 1}):
        with pytest.raises(BadCell, match="holds no labels"):
            output.labels(cell)
    with pytest.raises(BadCell, match="is not a label"):
        output.labels([0.5])


def test_rare_labels_are_left_out_and_unknown_ones_are_bad() -> None:
    output = LabelsOutput(min_count=2)
    state = output.fit([*CELLS, None, 0.5], HERE)
    assert state == {"labels": ["a", "b"], "counts": [3, 2], "rare": ["c"], "rows": 5}
    output = output.with_state(state)
    assert output.read(["c", "b"], HERE) == [1]
    assert output.read([], HERE) == []
    with pytest.raises(UnseenLabel, match="no training row has the label 'd'; expected 'a', 'b'"):
        output.read("a,d", HERE)
    with pytest.raises(UnseenLabel) as caught:
        output.read("a,d", HERE)
    assert caught.value.target == [0]
    with pytest.raises(PlaitError, match="occurs 9 times; expected at least one label; lower"):
        LabelsOutput(min_count=9).fit(CELLS, HERE)


def test_answers_as_cells() -> None:
    output = LabelsOutput(separator=";")
    assert output.to_cell(("b", "a")) == "b;a"
    assert output.labels(output.to_cell(())) == ()


def test_the_loss_by_hand() -> None:
    """Of 5 rows 3 have a, 2 b, 1 c: their yeses weigh 2/3, 3/2 and 4."""
    pooled, targets = torch.randn(2, 8), [[0, 2], []]
    wanted = torch.tensor([[1.0, 0, 1], [0, 0, 0]])
    built = head(LabelsOutput(weights="balanced"))
    p = built.raw(fused(pooled)).sigmoid()
    nll = -(wanted * torch.tensor([2 / 3, 3 / 2, 4]) * p.log() + (1 - wanted) * (1 - p).log())
    torch.testing.assert_close(built.loss(fused(pooled), targets), nll.mean())
    plain = head(LabelsOutput())
    nll = -(wanted * p.log() + (1 - wanted) * (1 - p).log())
    torch.testing.assert_close(plain.loss(fused(pooled), targets), nll.mean())


def test_scores_equal_sklearn() -> None:
    rng = np.random.default_rng(0)
    names = list("abcdef")
    right = rng.random((120, 5)) < [0.5, 0.3, 0.1, 0.05, 0.4]
    right = np.column_stack([right, np.zeros(120, bool)])  # f never occurs
    probable = np.round(np.clip(right * 0.3 + rng.random((120, 6)) * 0.7, 0, 1), 1)  # with ties
    given = probable >= 0.5
    given[:, 5] = False
    rows = [
        Prediction(
            tuple(n for n, yes in zip(names, g, strict=True) if yes),
            0.0,
            details=Probabilities(dict(zip(names, p.tolist(), strict=True))),
        )
        for g, p in zip(given, probable, strict=True)
    ]
    wanted = [tuple(n for n, yes in zip(names, r, strict=True) if yes) for r in right]
    found = LabelsMetrics(rows, wanted).scores()
    assert found["micro_f1"] == pytest.approx(f1_score(right, given, average="micro"))
    assert found["macro_f1"] == pytest.approx(f1_score(right[:, :5], given[:, :5], average="macro"))
    assert found["exact_match"] == pytest.approx(accuracy_score(right, given))
    expected = average_precision_score(right[:, :5], probable[:, :5], average="macro")
    assert found["mean_average_precision"] == pytest.approx(expected)
    assert set(found.intervals) == set(LabelsMetrics.titles)
    for name, (low, high) in found.intervals.items():
        assert low < found[name] < high, name


def test_a_label_that_was_never_learned_is_missed() -> None:
    rows = [Prediction(("a",), 0.0, details=Probabilities({"a": 0.9}))] * 2
    found = LabelsMetrics(rows, [("a",), ("a", "z")]).scores()
    assert found["micro_f1"] == pytest.approx(4 / 5)
    assert found["macro_f1"] == 0.5
    assert found["exact_match"] == 0.5
    assert found["mean_average_precision"] == pytest.approx((1 + 0.5) / 2)
    unsure = Prediction((), 0.0, details=Probabilities({"a": 0.1}))
    nothing = LabelsMetrics([unsure], [()]).scores()
    assert set(nothing.points.values()) == {1.0}
    assert {"exact_match", "micro_f1", "mean_average_precision"} <= set(nothing.points)


def test_the_best_threshold_is_that_of_an_exhaustive_search() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        right = rng.random(30) < 0.3
        right[0] = True
        probable = np.round(rng.random(30), 1)
        found = f1_score(right, probable >= best_threshold(probable, right))
        every = [f1_score(right, probable >= t) for t in np.linspace(0.05, 0.95, 19)]
        assert found == pytest.approx(max(every))
    assert best_threshold(np.array([0.2, 0.9]), np.array([False, False])) == 0.5


@pytest.mark.parametrize("thresholds", ["none", "one", "each"])
def test_calibration_fits_temperature_and_thresholds(thresholds: Any) -> None:
    """Logits that are twice too large; labels rarer than one half want a lower threshold."""
    built = head(LabelsOutput(thresholds=thresholds))
    pooled = torch.randn(3000, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        built.raw.out.weight.mul_(4)
        built.raw.out.bias.copy_(torch.tensor([-4.0, 0.0, 2.0]))
        drawn = torch.bernoulli(
            (built.raw(fused(pooled)) / 2).sigmoid(), generator=torch.Generator().manual_seed(2)
        )
    targets = [row.nonzero()[:, 0].tolist() for row in drawn]
    built.calibrate((fused(part) for part in pooled.split(1000)), targets)
    assert float(built.temperature) == pytest.approx(2, rel=0.1)
    first, second, third = built.threshold.tolist()
    if thresholds == "none":
        assert (first, second, third) == (0.5, 0.5, 0.5)
    else:
        assert first < 0.5
    assert (first == second == third) == (thresholds != "each")
    plain = head(LabelsOutput(calibrate=False))
    plain.calibrate(iter([fused(pooled)]), targets)
    assert float(plain.temperature) == 1


def test_the_likeliest_come_first_and_options() -> None:
    built = head(LabelsOutput())
    pooled = torch.randn(5, 8)
    for found in answers(built, pooled, threshold=0.0):
        assert list(found.value) == list(found.details.probabilities)
        falling = list(found.details.probabilities.values())
        assert falling == sorted(falling, reverse=True)
        assert found.score == pytest.approx(math.prod(falling) ** (1 / 3))
    assert [p.value for p in answers(built, pooled, threshold=1.0)] == [()] * 5
    for found in answers(built, pooled, num=2):
        assert list(found.value) == list(found.details.probabilities)[:2]
        yes, also, no = found.details.probabilities.values()
        assert found.score == pytest.approx((yes * also * (1 - no)) ** (1 / 3))
    assert all(len(p.value) == 3 for p in answers(built, pooled, num=9))
    with pytest.raises(UsageError, match="threshold is 2"):
        answers(built, pooled, threshold=2)
    with pytest.raises(UsageError, match="did you mean 'threshold'"):
        answers(built, pooled, treshold=0.5)
