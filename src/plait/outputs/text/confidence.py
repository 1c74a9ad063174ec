"""How probable it is that a text is right, from what speaks for it: a logistic regression on
validation records (Platt 1999, "Probabilistic outputs for support vector machines").

A decoder's own probability says little: it is that of the words, not of what they say, and after
training with rewards it is near 1 for whatever the model likes to say.

Not every model has every feature: without word detectors, tags or other hypotheses some are the
same for all texts, and get no weight.

Shapes: R records, F features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from plait.types import Alternative

if TYPE_CHECKING:  # the metrics score a confidence, so they import this module
    from plait.outputs.text.metrics.base import TextMetrics

FEATURES = (
    "log-probability",  # the mean over the tokens
    "length",  # in words, or in the tokens of another unit
    "key word detected",  # log odds of the surest detected word that means the same
    "key word tagged",  # weight of the surest tag that means the same
    "agreement",  # share of the other hypotheses that say the same
    "key word detected, times log-probability",  # how much detection says depends on likelihood
)
"""With several key words, the least of them counts."""
UNDETECTED = 0.01  # words that are less probable by the detectors count as if they were so
STRENGTH = 1.0  # of the regularisation, as if so many records spoke against any effect
LEAST = 20  # records of each kind, right and wrong
STEPS, CLOSE = 50, 1e-8

Floats = NDArray[np.float64]


def evidence(
    answer: Alternative,
    words: Sequence[str],
    others: Sequence[Sequence[str]],
    metrics: type[TextMetrics],
) -> list[float]:
    """The `FEATURES` of one text.

    Args:
        answer: the text, with its score, the mean log-probability of a token, and its details: the
            words that are likely by the detectors, and the tags.
        words: of the text.
        others: words of the search's other hypotheses.
        metrics: what the text is scored by. They say which of its words decide whether it is right,
            and whether such a word and another mean the same.

    Returns:
        A number for each of the features.
    """
    key_words, agree = metrics.key_words(words), metrics.agree

    def surest(weights: Mapping[str, float], lowest: float) -> float:
        each = [
            max((p for word, p in weights.items() if agree(key, word)), default=lowest)
            for key in key_words
        ]
        return min(each, default=lowest)

    seen = min(max(surest(answer.details.likely, UNDETECTED), UNDETECTED), 1 - UNDETECTED)
    odds = float(np.log(seen / (1 - seen)))
    agreeing = [
        all(any(agree(key, word) for word in other) for key in key_words) for other in others
    ]
    return [
        answer.score,
        float(len(words)),
        odds,
        surest(answer.details.tags, 0.0),
        sum(agreeing) / len(agreeing) if agreeing else 1.0,
        answer.score * odds,
    ]


def fit_confidence(features: Floats, right: NDArray[np.bool_]) -> list[float]:
    """The weights of the standardised features, then their means, their deviations and the bias
    (3 F + 1); empty if too few records are right, or wrong.

    Newton's method on the log-loss with a small quadratic penalty.

    Args:
        features: (R, F).
        right: (R,).
    """
    if min(right.sum(), (~right).sum()) < LEAST:
        return []
    mean, deviation = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    x = np.column_stack([(features - mean) / deviation, np.ones(len(features))])
    penalty = np.append(np.full(features.shape[1], STRENGTH), 0.0)
    weights = np.zeros(x.shape[1])
    for _ in range(STEPS):
        p = _sigmoid(x @ weights)
        gradient = x.T @ (p - right) + penalty * weights
        curvature = x.T @ (x * (p * (1 - p))[:, None]) + np.diag(penalty + 1e-9)
        step = np.linalg.solve(curvature, gradient)
        weights -= step
        if np.abs(step).max() < CLOSE:
            break
    return [*weights[:-1].tolist(), *mean.tolist(), *deviation.tolist(), float(weights[-1])]


def confidence(fitted: Sequence[float], features: Sequence[float]) -> float:
    """The probability that a text is right, 0 to 1, by `fit_confidence`."""
    weights, mean, deviation = np.reshape(fitted[:-1], (3, len(features)))
    return float(_sigmoid((np.array(features) - mean) / deviation @ weights + fitted[-1]))


def calibration_error(probabilities: Floats, right: NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error: records are sorted by probability into ``bins`` of equal size;
    the mean distance of a bin's mean probability from its share of right ones, weighted by size
    (Naeini et al. 2015, AAAI; with bins of equal size as by Nguyen and O'Connor 2015)."""
    order = np.argsort(probabilities, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    gaps = [abs(probabilities[part].mean() - right[part].mean()) * len(part) for part in parts]
    return float(sum(gaps) / len(order))


def auroc(probabilities: Floats, right: NDArray[np.bool_]) -> float:
    """The probability that a right text has a higher confidence than a wrong one, ties counting
    half; NaN if all are right or all wrong."""
    if right.all() or not right.any():
        return float("nan")
    wrong = np.sort(probabilities[~right])
    below, upto = (np.searchsorted(wrong, probabilities[right], side) for side in ("left", "right"))
    return float((below + upto).mean() / (2 * len(wrong)))


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -50, 50))))
