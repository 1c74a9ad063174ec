"""`number`: a number with an interval that holds the right one as often as it says.

The interval is conformal: how far validation records lie outside of what the network says is
ranked, and the interval is widened by the value that enough of them keep to. Then a new record
like them is inside with the chance asked for, whatever the network's own spread is worth.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from plait.config.registry import register
from plait.nn.branches import Branches
from plait.outputs.answers import NumberAnswers
from plait.outputs.base import Head, Output
from plait.outputs.pooled import PooledHead, check_paired, is_empty
from plait.outputs.scores import Scorer, with_intervals
from plait.types import BadCell, Fused, PlaitError, Prediction, State

log = logging.getLogger("plait")

Floats = NDArray[np.float64]

TITLES = {
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "r2": "R²",
    "spearman": "Spearman's rank correlation",
    "coverage": "share inside the interval",
    "width": "mean width of the interval",
}
LARGEST = 1e100  # its square is still a float
LOG_VARIANCES = (-12.0, 8.0)  # of the scaled number: a spread of 0.0025 to 55 standard deviations
OUTS = {"none": 1, "gaussian": 2, "quantile": 3}


@register("output", "number")
class NumberOutput(Output):
    """A number in its own units, with an interval that holds it as often as asked."""

    titles = TITLES
    best_metrics = ("r2", "spearman")
    several = False
    linear = True
    of_several = ("r2", "spearman")

    def __init__(
        self,
        *,
        spread: Annotated[
            Literal["none", "quantile", "gaussian"],
            Field(
                description="what is learned of the error: nothing, so that all intervals are "
                "equally wide; the interval's ends; or the logarithm of its variance"
            ),
        ] = "none",
        loss: Annotated[
            Literal["huber", "squared"],
            Field(description="with spread none: huber minds single large errors less"),
        ] = "huber",
        interval: Annotated[
            float, Field(gt=0, lt=1, description="how often the interval holds the right number")
        ] = 0.9,
        dropout: Annotated[
            float, Field(ge=0, lt=1, description="dropout before the last layer")
        ] = 0.1,
    ) -> None:
        self.spread, self.loss, self.interval, self.dropout = spread, loss, interval, dropout

    def fit(self, cells: Iterable[Any]) -> State:
        """Mean and standard deviation; cells that are no number are named when they are read.

        Raises:
            PlaitError: there are no two different numbers.
        """
        values = np.array(list(_numbers(cells)), np.float64)
        if not len(values) or values.min() == values.max():
            found = f"all are {values[0]:g}" if len(values) else "none"
            raise PlaitError(
                f"the training rows' numbers: {found}", expected="two different ones at least"
            )
        return {"mean": float(values.mean()), "deviation": float(values.std())}

    def samples(self) -> list[Any]:
        """Two numbers."""
        return [0.0, 1.0]

    def example(self, state: State) -> float:
        """The mean."""
        mean: float = state["mean"]
        return mean

    def reader(self, state: State) -> Callable[[Any], float]:
        """A cell's number, in its own units."""
        return as_number

    def reference(self, cell: Any) -> float:
        """The number."""
        return as_number(cell)

    def cell(self, value: float) -> float:
        """The number."""
        return value

    def confidence(self, prediction: Prediction) -> None:
        """None: how sure a number is, its interval tells."""
        return None

    def head(
        self, state: State, width: int, inputs: Sequence[str], pretrained: bool,
        branches: Branches | None = None,
    ) -> Head:  # fmt: skip
        """A linear layer on the pooled vector."""
        return NumberHead(state, width, self, branches)

    def scorer(self, predictions: Sequence[Prediction], references: Sequence[Any]) -> Scorer:
        """All of `metrics` but the bootstrap intervals."""
        return _scorer(predictions, references)

    def rightness(
        self, predictions: Sequence[Prediction], references: Sequence[Any]
    ) -> tuple[str, NDArray[np.float64]]:
        """Minus how far off the number is."""
        pairs = zip(predictions, references, strict=True)
        return "minus the error", np.array([-abs(p.value - float(right)) for p, right in pairs])

    def metrics(self, predictions: Sequence[Prediction], references: Sequence[Any]) -> NumberScores:
        """Errors, R², rank correlation, and how often and how widely the interval holds it."""
        return number_scores(predictions, references)


class NumberHead(PooledHead):
    """Fused -> a number and its interval, from the pooled vector.

    Within, numbers are scaled to mean 0 and standard deviation 1 of the training rows. Each spread
    gives a middle, a band (low, high) round it and a scale: ``none`` a band of no width and the
    scale 1; ``gaussian`` a band of no width and the standard deviation as its scale; ``quantile``
    two quantiles and the scale 1. The interval is [low - margin · scale, high + margin · scale].
    """

    def __init__(
        self, state: State, width: int, output: NumberOutput, branches: Branches | None
    ) -> None:
        super().__init__(width, OUTS[output.spread], output.dropout, branches)
        self.mean, self.deviation = float(state["mean"]), float(state["deviation"])
        self.spread, self.kind, self.share = output.spread, output.loss, output.interval
        self.margin: Tensor
        self.register_buffer("margin", torch.zeros(()))
        self.calibrated: Tensor
        self.register_buffer("calibrated", torch.zeros((), dtype=torch.bool))

    def loss(self, fused: Fused, targets: Sequence[float], branch: str | None = None) -> Tensor:
        """Mean loss of the scaled number: Huber or squared; the Gaussian's negative
        log-likelihood without its constant; or the pinball loss of three quantiles."""
        raw = self.scores(fused, branch)  # (B, outs)
        wanted = self._scaled(targets, raw.device)  # (B,)
        if self.spread == "gaussian":
            variance = raw[:, 1].clamp(*LOG_VARIANCES)  # its logarithm
            return 0.5 * (variance + (wanted - raw[:, 0]) ** 2 * (-variance).exp()).mean()
        if self.spread == "quantile":
            return pinball(raw, wanted, self.quantiles)
        if self.kind == "huber":
            return F.huber_loss(raw[:, 0], wanted)
        return F.mse_loss(raw[:, 0], wanted)

    @property
    def quantiles(self) -> tuple[float, float, float]:
        """Lower end, median and upper end."""
        return (1 - self.share) / 2, 0.5, (1 + self.share) / 2

    def _scaled(self, targets: Sequence[float], device: torch.device) -> Tensor:
        scaled = (np.asarray(targets, np.float64) - self.mean) / self.deviation
        return torch.tensor(scaled, dtype=torch.float32, device=device)

    def _bands(self, fused: Fused) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Middle, low, high and scale of each record, (B,) each."""
        raw = self.scores(fused)
        if self.spread == "quantile":
            low, middle, high = raw.unbind(dim=1)
            return middle, low, high, torch.ones_like(middle)
        middle, scale = raw[:, 0], torch.ones_like(raw[:, 0])
        if self.spread == "gaussian":
            scale = (raw[:, 1].clamp(*LOG_VARIANCES) / 2).exp()
        return middle, middle, middle, scale

    @torch.no_grad()
    def calibrate(self, fused: Iterable[Fused], targets: Sequence[float]) -> None:
        """The margin that the chosen share of the validation records keeps to.

        Split conformal regression (Lei et al. 2018, arXiv:1604.04173), with ``quantile`` its
        conformalised quantile regression (Romano et al. 2019, arXiv:1905.03222). Too few records
        for the share (fewer than 9 for 0.9) leave the head without intervals.
        """
        bands = [torch.stack(self._bands(part)) for part in fused]  # (4, B) each
        _, low, high, scale = torch.cat(bands, dim=1)
        wanted = self._scaled(targets, low.device)
        outside = torch.maximum(low - wanted, wanted - high) / scale  # (N,), below 0 inside
        margin = conformal_quantile(outside.cpu().numpy().astype(np.float64), self.share)
        if margin is None:
            log.warning(
                "%d validation rows are too few for an interval that holds %g of the numbers",
                len(targets), self.share,
            )  # fmt: skip
            return
        self.margin.fill_(margin)
        self.calibrated.fill_(True)

    def support(self, fused: Fused, answers: Sequence[Any]) -> Tensor:
        """(B,) the number that the model says, whatever the answers: an input's share is how far
        it moves the number, in its units. In double: a time in seconds has ten digits."""
        return self.mean + self.deviation * self._bands(fused)[0].cpu().double()

    def numbers(self, fused: Fused) -> dict[str, Tensor]:
        """``middle``, ``low`` and ``high``, (B,) each, scaled."""
        middle, low, high, scale = self._bands(fused)
        # A negative margin narrows the band, and quantiles may cross: the number stays inside.
        low = torch.minimum(low - self.margin * scale, middle)
        high = torch.maximum(high + self.margin * scale, middle)
        return {"middle": middle, "low": low, "high": high}

    def answers(self) -> State:
        """What scales the number, and whether its interval means anything."""
        return {
            "kind": NumberAnswers.kind, "mean": self.mean, "deviation": self.deviation,
            "calibrated": bool(self.calibrated),
        }  # fmt: skip


def pinball(found: Tensor, wanted: Tensor, quantiles: Sequence[float]) -> Tensor:
    """Mean pinball loss of quantiles (Koenker and Bassett 1978).

    Args:
        found: (B, Q), a quantile a column.
        wanted: (B,) the right numbers.
        quantiles: the Q shares of the numbers that are to lie below.
    """
    levels = torch.tensor(quantiles, device=found.device)
    over = wanted[:, None] - found  # (B, Q)
    return torch.maximum(levels * over, (levels - 1) * over).mean()


def conformal_quantile(scores: Floats, share: float) -> float | None:
    """The ⌈(n + 1) · share⌉-th smallest of n scores (n,), which a new one of their kind stays
    below with a chance of ``share`` at least; None where n is too few for that."""
    rank = math.ceil((len(scores) + 1) * share - 1e-9)
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else None


def as_number(cell: Any) -> float:
    """A cell as a number; text is read where all of it is one.

    Raises:
        BadCell: it is empty, yes/no, no number, infinite or beyond 1e100.
    """
    if is_empty(cell):
        raise BadCell("the number is empty", expected="a number")
    if isinstance(cell, bool) or not isinstance(cell, (int, float, str, Decimal)):
        raise BadCell(f"{cell!r:.60} is no number", expected="a number")
    try:
        value = float(cell)
    except (ValueError, OverflowError):
        value = math.nan
    if not abs(value) <= LARGEST or (isinstance(cell, str) and "_" in cell):
        raise BadCell(f"{cell!r:.60} is no number", expected="a finite one such as -1.5 or 2e3")
    return value


def _numbers(cells: Iterable[Any]) -> Iterable[float]:
    for cell in cells:
        try:
            yield as_number(cell)
        except BadCell:
            continue


@dataclass(frozen=True)
class NumberScores:
    """How good the numbers are.

    Attributes:
        records: how many were scored.
        mae: mean of |answer - right number|, in their units.
        rmse: root of the mean squared error, in their units.
        r2: coefficient of determination: 1 is perfect, 0 is no better than the mean of the scored
            numbers, below 0 is worse.
        spearman: Spearman's rank correlation, -1 to 1; 0 where all numbers or answers are equal.
        coverage: the share of the right numbers inside their interval; None without intervals.
        width: the intervals' mean width, in the numbers' units; None without intervals.
        intervals: by score, its 95 % bootstrap percentile interval over records.
    """

    records: int
    mae: float
    rmse: float
    r2: float
    spearman: float
    coverage: float | None = None
    width: float | None = None
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return vars(self) | {"intervals": {n: list(ends) for n, ends in self.intervals.items()}}


def number_scores(
    predictions: Sequence[Prediction], references: Sequence[float], seed: int = 0
) -> NumberScores:
    """Scores of predicted numbers against the right ones, with bootstrap intervals."""
    points, intervals = with_intervals(_scorer(predictions, references), len(references), seed)
    return NumberScores(len(references), **points, intervals=intervals)


def _scorer(predictions: Sequence[Prediction], references: Sequence[float]) -> Scorer:
    right, found, ends = _arrays(predictions, references)
    return lambda rows: _point_scores(
        right[rows], found[rows], None if ends is None else ends[rows]
    )


def _arrays(
    predictions: Sequence[Prediction], references: Sequence[float]
) -> tuple[Floats, Floats, Floats | None]:
    """The right numbers (N,), the answers (N,) and, if all have one, their intervals (N, 2)."""
    check_paired(predictions, references)
    found = np.array([p.value for p in predictions], np.float64)
    ends = [p.interval for p in predictions if p.interval is not None]
    each = np.array(ends, np.float64) if len(ends) == len(predictions) else None
    return np.array(references, np.float64), found, each


def _point_scores(right: Floats, found: Floats, ends: Floats | None) -> dict[str, float]:
    error = found - right
    squared = float((error**2).mean())
    scores = {
        "mae": float(np.abs(error).mean()),
        "rmse": math.sqrt(squared),
        "r2": _r2(squared, float(right.var())),
        "spearman": _correlation(_ranks(right), _ranks(found)),
    }
    if ends is not None:
        inside = (ends[:, 0] <= right) & (right <= ends[:, 1])
        scores |= {
            "coverage": float(inside.mean()),
            "width": float((ends[:, 1] - ends[:, 0]).mean()),
        }
    return scores


def _r2(squared: float, variance: float) -> float:
    if variance == 0:
        return float(squared == 0)
    return 1 - squared / variance


def _ranks(values: Floats) -> Floats:
    """(N,) ranks from 0; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts) - 1
    ranks: Floats = (last - (counts - 1) / 2)[inverse]
    return ranks


def _correlation(first: Floats, second: Floats) -> float:
    first, second = first - first.mean(), second - second.mean()
    scale = math.sqrt(float((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / scale if scale else 0.0
