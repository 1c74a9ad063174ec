"""The confidence of a text: its fit, its two measures, and how it gets from training to answers."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from heads import decode, fused
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from plait.outputs.text.confidence import (
    FEATURES,
    STRENGTH,
    auroc,
    calibration_error,
    confidence,
    evidence,
    fit_confidence,
)
from plait.outputs.text.metrics.base import TextMetrics
from plait.outputs.text.metrics.captions import CaptionMetrics
from plait.outputs.text.output import TextDetails, TextOutput, TextTarget
from plait.types import Alternative


def made_up(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, the probability that they stand for, and what came of it."""
    rng = np.random.default_rng(0)
    features = rng.normal(3.0, 2.0, (count, len(FEATURES)))
    probable = 1 / (1 + np.exp(-(features[:, 0] - features[:, 1] + 0.5)))
    return features, probable, rng.random(count) < probable


def test_the_fit_is_the_regularised_logistic_regression() -> None:
    features, _, right = made_up(500)
    fitted = fit_confidence(features, right)
    scaled = (features - features.mean(0)) / features.std(0)
    other = LogisticRegression(C=1 / STRENGTH, tol=1e-10).fit(scaled, right)
    ours = [confidence(fitted, row) for row in features.tolist()]
    np.testing.assert_allclose(ours, other.predict_proba(scaled)[:, 1], atol=1e-4)


def test_it_finds_the_probabilities_and_orders_them() -> None:
    features, probable, right = made_up(4000)
    fitted = fit_confidence(features[:2000], right[:2000])
    ours = np.array([confidence(fitted, row) for row in features[2000:].tolist()])
    assert np.abs(ours - probable[2000:]).mean() < 0.02
    assert calibration_error(ours, right[2000:]) < 0.04
    assert auroc(ours, right[2000:]) > 0.8


def test_too_few_of_a_kind_can_not_be_fitted() -> None:
    features, _, right = made_up(100)
    right[:] = True
    right[:19] = False
    assert fit_confidence(features, right) == []
    right[19] = False
    assert len(fit_confidence(features, right)) == 3 * len(FEATURES) + 1


def test_the_calibration_error_by_hand() -> None:
    sure = np.array([0.9, 0.1, 0.8, 0.2])
    right = np.array([True, False, False, False])
    # Two bins: 0.1 and 0.2 with none right, 0.8 and 0.9 with half of them.
    assert calibration_error(sure, right, bins=2) == pytest.approx((0.15 + 0.35) / 2)


def test_the_area_under_the_curve() -> None:
    rng = np.random.default_rng(1)
    sure, right = rng.random(200).round(1), rng.random(200) < 0.4
    assert auroc(sure, right) == pytest.approx(roc_auc_score(right, sure))
    assert math.isnan(auroc(sure, np.ones(200, bool)))


def test_what_speaks_for_a_text() -> None:
    details = TextDetails(
        likely={"cat": 0.8, "kitten": 0.9, "mat": 0.3, "tree": 0.95},
        tags={"cats": 0.6, "dog": 0.7},
    )
    cat = Alternative("A cat on a mat.", -0.5, details)
    others = [["a", "kitten"], ["a", "dog"]]
    found = evidence(cat, ["a", "cat", "on", "a", "mat"], others, CaptionMetrics)
    assert found == pytest.approx([-0.5, 5, math.log(9), 0.6, 0.5, -0.5 * math.log(9)])
    empty = evidence(Alternative("", -1.0, TextDetails()), [], [], CaptionMetrics)
    assert empty == pytest.approx([-1.0, 0, math.log(0.01 / 0.99), 0, 1, math.log(99)])
    answer = Alternative("a b", -1.0, TextDetails(likely={"a": 0.5, "b": 0.2}))
    two = evidence(answer, ["a", "b"], [], TextMetrics)
    assert two[2] == pytest.approx(math.log(0.25))  # the least of them


def test_a_head_is_calibrated_and_its_answers_say_so(caplog: pytest.LogCaptureFixture) -> None:
    output = TextOutput(
        min_count=1,
        calibrate=True,
        detected_words=3,
        decoder={"kind": "transformer", "layers": 1, "heads": 2, "dropout": 0.0},
    )
    texts = ["a dog runs", "a cat sleeps", "a bird sings"]
    output = output.with_state(output.fit(texts, Path()))
    torch.manual_seed(0)
    head = output.head(16, ["a"], True)
    targets = [output.read(text, Path()) for text in texts]
    photos = torch.randn(3, 16)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    head.begin(targets)
    for _ in range(60):
        optimizer.zero_grad()
        head.loss(fused(photos), targets).backward()
        optimizer.step()
    head.eval()
    [unknown] = decode(output, head, fused(photos[:1]))
    assert unknown.details.confidence is None
    assert not output.is_doubtful(unknown)
    # Photos far from those that it knows: half of them are said to show something else.
    many = photos.repeat(30, 1) + torch.randn(90, 16) * torch.linspace(0, 4, 90)[:, None]
    wanted: list[TextTarget] = [targets[row % 3] for row in range(90)]
    head.calibrate([fused(many[:50]), fused(many[50:])], wanted)
    known = head.sure.clone()
    with caplog.at_level("WARNING", logger="plait"):
        head.calibrate([fused(many[:9])], wanted[:9])
    assert "it takes 20 of each" in caplog.text
    assert head.fitted() == {}  # an old confidence is not kept
    assert not output.is_calibrated(head.fitted())
    head.sure.copy_(known)
    assert output.is_calibrated(head.fitted())
    answers = decode(output, head, fused(many))
    sure = np.array([output.confidence(answer) for answer in answers])
    judge = output.scored_by.right
    right = np.array([judge(a.value, [texts[row % 3]]) for row, a in enumerate(answers)])
    assert 20 <= right.sum() <= 70
    assert ((sure > 0) & (sure < 1)).all()
    assert [output.is_doubtful(answer) for answer in answers] == (sure < 0.4).tolist()
    assert [output.is_doubtful(answer, 0.7) for answer in answers] == (sure < 0.7).tolist()
    assert auroc(sure, right) > 0.7
    assert calibration_error(sure, right, bins=3) < 0.1
    stored = [output.restore(json.loads(json.dumps(output.store(a)))) for a in answers]
    assert [output.confidence(prediction) for prediction in stored] == sure.tolist()
    scores = output.scorer(answers, [[texts[row % 3]] for row in range(90)]).scores()
    assert scores.extras["right"] == pytest.approx(right.mean())
    assert scores.extras["auroc"] == pytest.approx(auroc(sure, right))
