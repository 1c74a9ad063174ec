from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from heads import decode, fused
from scipy.stats import spearmanr
from sklearn.metrics import (
    mean_absolute_error,
    mean_pinball_loss,
    mean_squared_error,
    r2_score,
)

from plait.outputs.networks import NumberHead, pinball
from plait.outputs.number import (
    Interval,
    NumberMetrics,
    NumberOutput,
    as_number,
    conformal_quantile,
)
from plait.types import BadCell, PlaitError, Prediction, UsageError

HERE = Path()
CELLS = [1.0, 3.0, 5.0, 11.0]


def head(output: NumberOutput, cells: list[Any] = CELLS) -> NumberHead:
    torch.manual_seed(0)
    built = output.with_state(output.fit(cells, HERE)).head(8, ["a"], True)
    assert isinstance(built, NumberHead)
    return built.eval()


def answers(head: NumberHead, pooled: torch.Tensor, **options: Any) -> list[Prediction]:
    return decode(head.output, head, fused(pooled), **options)


def test_cells_that_are_numbers() -> None:
    assert [as_number(c) for c in (3, " -1.5 ", "2e3", 0.25, Decimal("1.5"))] == [
        3, -1.5, 2000, 0.25, 1.5,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (None, "empty"), (" ", "empty"), (math.nan, "empty"), ("nan", "not a number"),
        (math.inf, "not a number"), ("-inf", "not a number"), ("1_000", "not a number"),
        ("1,5", "not a number"), ("red", "not a number"), (True, "not a number"),
        ([1], "not a number"),
        (10**400, "not a number"), (1e101, "not a number"),
    ],
)  # fmt: skip
def test_cells_that_are_no_numbers(cell: Any, words: str) -> None:
    with pytest.raises(BadCell, match=words):
        as_number(cell)


def test_mean_and_deviation_of_the_numbers_alone() -> None:
    state = NumberOutput().fit([1, "3", None, "red", 5.0, 11], HERE)
    assert state == {"mean": 5.0, "deviation": pytest.approx(np.std(CELLS))}
    with pytest.raises(PlaitError, match="all are 2; expected at least two different"):
        NumberOutput().fit([2, "2.0", 2.0], HERE)
    with pytest.raises(PlaitError, match="none"):
        NumberOutput().fit(["red", None], HERE)


def test_losses_by_hand() -> None:
    """Scaled targets against what the linear layer gives."""
    pooled, targets = torch.randn(4, 8), [5.0, 1.0, 30.0, 3.0]
    scaled = torch.tensor([(t - 5) / float(np.std(CELLS)) for t in targets])
    huber, squared = head(NumberOutput()), head(NumberOutput(loss="squared"))
    error = huber.raw(fused(pooled))[:, 0] - scaled
    expected = torch.where(error.abs() < 1, error**2 / 2, error.abs() - 0.5).mean()
    assert float(error.abs().max().detach()) > 1
    torch.testing.assert_close(huber.loss(fused(pooled), targets), expected)
    torch.testing.assert_close(squared.loss(fused(pooled), targets), (error**2).mean())
    gaussian = head(NumberOutput(spread="gaussian"))
    mean, variance = gaussian.raw(fused(pooled)).unbind(1)
    density = torch.distributions.Normal(mean, (variance / 2).exp()).log_prob(scaled)
    constant = 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(gaussian.loss(fused(pooled), targets) + constant, -density.mean())


def test_a_wild_variance_is_clamped() -> None:
    built = head(NumberOutput(spread="gaussian"))
    with torch.no_grad():
        built.raw.out.bias[1] = -1e4
    assert bool(built.loss(fused(torch.randn(4, 8)), CELLS).isfinite())


def test_pinball_equals_sklearn() -> None:
    rng = np.random.default_rng(0)
    right, found = rng.normal(size=50), rng.normal(size=(50, 3))
    levels = (0.05, 0.5, 0.95)
    expected = np.mean(
        [mean_pinball_loss(right, found[:, k], alpha=q) for k, q in enumerate(levels)]
    )
    assert float(pinball(torch.tensor(found), torch.tensor(right), levels)) == pytest.approx(
        expected, rel=1e-6
    )


def test_the_conformal_quantile_by_hand() -> None:
    """Of 9 scores the 9th for 0.9, ⌈10 · 0.9⌉; of 8 there is none."""
    scores = np.array([3.0, 1, 2, 5, 4, 6, 9, 8, 7])
    assert conformal_quantile(scores, 0.9) == 9
    assert conformal_quantile(scores, 0.5) == 5
    assert conformal_quantile(scores[:8], 0.9) is None


@pytest.mark.parametrize(("spread", "share"), [("none", 0.9), ("gaussian", 0.8), ("quantile", 0.9)])
def test_the_interval_holds_as_often_as_it_says(spread: Any, share: float) -> None:
    """An untrained network, whose own spread is worth nothing: 4,000 new records of which 80 or
    90 % are to be inside; the standard error of both samples together is below 0.011."""
    built = head(NumberOutput(spread=spread, interval=share))
    generator = torch.Generator().manual_seed(1)
    pooled = torch.randn(8000, 8, generator=generator)
    noise = torch.randn(8000, generator=generator) * (0.2 + pooled[:, 1].abs())
    numbers = (5 + 3 * pooled[:, 0] + 2 * noise).tolist()
    assert answers(built, pooled[:1])[0].details.interval is None
    built.calibrate((fused(part) for part in pooled[:4000].split(1000)), numbers[:4000])
    score = NumberOutput().scorer(answers(built, pooled[4000:]), numbers[4000:])
    found = score(np.arange(4000))
    assert found["coverage"] == pytest.approx(share, abs=0.03)


def test_the_number_is_inside_and_the_score_is_the_width() -> None:
    built = head(NumberOutput(spread="quantile"))
    pooled = torch.randn(60, 8)
    built.calibrate(iter([fused(pooled)]), torch.linspace(0, 9, 60).tolist())
    with torch.no_grad():
        built.margin.fill_(-5)
    for prediction in answers(built, pooled):
        assert prediction.details.interval is not None
        low, high = prediction.details.interval
        assert low <= prediction.value <= high
        assert prediction.score == pytest.approx(low - high)


def test_too_few_rows_leave_no_interval(caplog: pytest.LogCaptureFixture) -> None:
    built = head(NumberOutput())
    built.calibrate(iter([fused(torch.randn(8, 8))]), [1.0] * 8)
    (found,) = answers(built, torch.randn(1, 8))
    assert found.details.interval is None
    assert found.score == 0
    assert "8 validation rows are too few" in caplog.text


def test_numbers_far_from_zero_keep_their_digits() -> None:
    """Milliseconds since 1970, 40 apart, of which float32 would keep one in 131,072."""
    cells = [1669759744666.0 + 40 * k for k in range(50)]
    built = head(NumberOutput(), cells)
    with torch.no_grad():
        built.raw.out.weight.zero_()
        built.raw.out.bias.zero_()
    (found,) = answers(built, torch.randn(1, 8))
    assert found.value == pytest.approx(np.mean(cells), abs=0.01)


def test_shares_of_large_numbers_keep_their_digits() -> None:
    """Seconds since 1970, a minute apart: float32 knows them by steps of 128."""
    built = head(NumberOutput(dropout=0.0), [1.7e9, 1.7e9 + 60])
    pooled = torch.randn(2, 8)
    raw = built.scores(fused(pooled))[:, 0].detach()
    with torch.no_grad():
        support = built.support(fused(pooled), [0.0, 0.0])
    expected = 30 * float(raw[1] - raw[0])
    assert float(support[1] - support[0]) == pytest.approx(expected, rel=1e-5)


def test_scores_equal_sklearn_and_scipy() -> None:
    rng = np.random.default_rng(0)
    right = np.round(rng.normal(size=200), 1)  # with ties
    answers = np.round(right + rng.normal(size=200), 1)
    rows = [Prediction(a, 0.0, details=Interval((a - 1, a + 1))) for a in answers.tolist()]
    found = NumberMetrics(rows, right.tolist()).scores()
    assert found.records == 200
    assert found["mae"] == pytest.approx(mean_absolute_error(right, answers))
    assert found["rmse"] == pytest.approx(mean_squared_error(right, answers) ** 0.5)
    assert found["r2"] == pytest.approx(r2_score(right, answers))
    assert found["spearman"] == pytest.approx(spearmanr(right, answers).statistic)
    assert found["coverage"] == np.mean((answers - 1 <= right) & (right <= answers + 1))
    assert found["width"] == pytest.approx(2)
    for name, (low, high) in found.intervals.items():
        assert low <= found[name] <= high, name
    assert set(found.to_json()["intervals"]) == set(NumberMetrics.titles)


def test_scores_where_nothing_varies() -> None:
    same = [Prediction(2.0, 0.0, details=Interval())] * 3
    found = NumberMetrics(same, [2.0, 2.0, 2.0]).scores()
    assert (found["r2"], found["spearman"]) == (1, 0)
    assert found.to_json()["coverage"] is found.to_json()["width"] is None
    assert NumberMetrics(same, [3.0, 3.0, 3.0]).scores()["r2"] == 0
    with pytest.raises(PlaitError, match="3 answers for 2 records"):
        NumberMetrics(same, [2.0, 2.0]).scores()


def test_there_are_no_options() -> None:
    with pytest.raises(UsageError, match="no decoding option 'num'; expected none"):
        answers(head(NumberOutput()), torch.randn(1, 8), num=3)
