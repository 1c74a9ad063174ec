"""`number`: a number with an interval that contains the target as often as it says.

The interval is conformal: for each validation record, how far the right number lies outside of
what the network says is measured, and the interval is widened by the value that enough of them
stay below. A new record like them is then inside with the chance asked for, whatever the network's
own spread is worth.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from plait.config.registry import register
from plait.data.values import is_gap, is_missing
from plait.outputs.base import Output, RawOutputs, Steps, usable
from plait.outputs.scores import Floats, Metrics
from plait.types import BadCell, EmptyTarget, PlaitError, Prediction, State

DIGITS = 6  # of the standard deviation that are shown: the network's float32 has no more
LARGEST = 1e100  # its square is still a float


@dataclass(frozen=True)
class Interval:
    """Details of a number.

    Attributes:
        interval: (low, high) between which the right number is, as often as the recipe says; None
            where the network was not calibrated.
    """

    interval: tuple[float, float] | None = None


class NumberMetrics(Metrics):
    """Errors in the numbers' units, R² (1 is perfect, 0 no better than the mean of the scored
    numbers), rank correlation (0 where all numbers or answers are equal), and coverage and mean
    width of the intervals, where all answers have one; otherwise these two are None."""

    titles = {
        "mae": "mean absolute error",
        "rmse": "root mean squared error",
        "r2": "R²",
        "spearman": "Spearman's rank correlation",
        "coverage": "share inside the interval",
        "width": "mean width of the interval",
    }
    best_metrics = ("r2", "spearman")
    set_metrics = ("r2", "spearman")

    def __init__(self, answers: Sequence[Prediction], references: Sequence[Any]) -> None:
        super().__init__(answers, references)
        self.right = np.array(references, np.float64)  # (N,)
        self.said = np.array([answer.value for answer in answers], np.float64)
        ends = [answer.details.interval for answer in answers]
        self.ends = None if None in ends else np.array(ends, np.float64)  # (N, 2)

    def __call__(self, rows: NDArray[np.int64]) -> dict[str, float]:
        """The scores of these records."""
        right, said = self.right[rows], self.said[rows]
        error = said - right
        squared, variance = float((error**2).mean()), float(right.var())
        scores = {
            "mae": float(np.abs(error).mean()),
            "rmse": math.sqrt(squared),
            "r2": 1 - squared / variance if variance else float(squared == 0),
            "spearman": _correlation(_ranks(right), _ranks(said)),
        }
        if self.ends is not None:
            low, high = self.ends[rows].T
            scores["coverage"] = float(((low <= right) & (right <= high)).mean())
            scores["width"] = float((high - low).mean())
        return scores

    def extras(self) -> dict[str, Any]:
        """None for the metrics of intervals, without intervals."""
        return {} if self.ends is not None else {"coverage": None, "width": None}

    def rightness(self) -> tuple[str, Floats]:
        """Minus how far off the number is."""
        return "minus the error", -np.abs(self.said - self.right)


@register("output", "number")
class NumberOutput(Output):
    """A number in its own units, with an interval."""

    linear: ClassVar[bool] = True
    shows_score: ClassVar[bool] = False  # it is minus the width of the interval, which is shown
    answer_type: ClassVar[str] = "number"
    head_class = "plait.outputs.networks.NumberHead"
    scored_by = NumberMetrics

    spread: Literal["none", "quantile", "gaussian"] = Field(
        default="none",
        description="what is learned about the error; none: all intervals are equally wide; "
        "quantile: both ends of the interval; gaussian: the logarithm of the variance",
    )
    loss: Literal["huber", "squared"] = Field(
        default="huber", description="with spread none; huber is less sensitive to large errors"
    )
    interval: float = Field(
        default=0.9, gt=0, lt=1, description="share of targets that the interval contains"
    )
    dropout: float = Field(default=0.1, ge=0, lt=1, description="dropout before the last layer")

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """Mean and standard deviation.

        Raises:
            PlaitError: there are no two different numbers.
        """
        cells = [cell for cell in cells if not (is_missing(cell) or is_gap(cell))]
        values = np.array(list(usable(cells, as_number)), np.float64)
        if not len(values) or values.min() == values.max():
            only = f"all are {values[0]:g}" if len(values) else "none"
            only += f", but {cells[0]!r:.40}" if cells and not len(values) else ""
            raise PlaitError(
                f"the training rows' numbers: {only}",
                expected="at least two different ones, such as -1.5 and 2e3",
            )
        return {"mean": float(values.mean()), "deviation": float(values.std())}

    @property
    def mean(self) -> float:
        """Of the training rows."""
        return float(self.state["mean"])

    @property
    def deviation(self) -> float:
        """Standard deviation of the training rows."""
        return float(self.state["deviation"])

    def read(self, cell: Any, root: Path) -> float:
        """The number, in its own units."""
        return as_number(cell)

    def samples(self) -> list[Any]:
        """Two numbers."""
        return [0.0, 1.0]

    def example(self) -> float:
        """The mean."""
        return self.mean

    def decode(
        self, raw: RawOutputs, fitted: State, options: Any, steps: Steps | None = None
    ) -> list[Prediction]:
        """Each record's number, of ``middle``, ``low`` and ``high`` (N,), which are scaled; its
        interval where ``fitted`` says that the network is ``calibrated``."""
        # Digits that float32 does not hold mean nothing.
        places = DIGITS - math.floor(math.log10(self.deviation))
        found = []
        for row in zip(*(raw[name].tolist() for name in ("middle", "low", "high")), strict=True):
            value, low, high = (round(self.mean + self.deviation * x, places) for x in row)
            ends = (low, high) if fitted["calibrated"] else None
            found.append(Prediction(value, low - high if ends else 0.0, details=Interval(ends)))
        return found

    def extra_cells(self, prediction: Prediction) -> dict[str, Any]:
        """The interval's ends."""
        ends = self.bounds(prediction)
        return {} if ends is None else {"low": ends[0], "high": ends[1]}

    def details_json(self, prediction: Prediction, digits: int | None) -> dict[str, Any]:
        """The interval where there is one; numbers in units keep their digits."""
        ends = self.bounds(prediction)
        return {} if ends is None else {"interval": list(ends)}

    def same(self, prediction: Prediction, value: Any) -> bool:
        """Within the interval; equal without one."""
        ends = self.bounds(prediction)
        if ends is None:
            return super().same(prediction, value)
        return bool(ends[0] <= value <= ends[1])

    def bounds(self, prediction: Prediction) -> tuple[float, float] | None:
        """The interval."""
        return prediction.details.interval

    def store(self, prediction: Prediction) -> dict[str, Any]:
        """With the interval."""
        return super().store(prediction) | {"interval": self.bounds(prediction)}

    def restore(self, raw: Mapping[str, Any]) -> Prediction:
        """With the interval."""
        ends = Interval(tuple(raw["interval"]) if raw["interval"] else None)
        return Prediction(raw["value"], raw["score"], details=ends)


def conformal_quantile(scores: Floats, share: float) -> float | None:
    """The ⌈(n + 1) · share⌉-th smallest of n scores (n,), which a new one of their kind stays
    below with a chance of at least ``share``; None where n is too few for that."""
    rank = math.ceil((len(scores) + 1) * share - 1e-9)
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else None


def as_number(cell: Any) -> float:
    """A cell as a number; text is read where all of it is one.

    Raises:
        BadCell: it is empty, yes/no, no number, infinite or beyond 1e100.
    """
    if is_missing(cell) or is_gap(cell):
        raise EmptyTarget("the number is empty", expected="a number")
    if isinstance(cell, bool) or not isinstance(cell, (int, float, str, Decimal)):
        raise BadCell(f"{cell!r:.60} is not a number", expected="a number")
    try:
        value = float(cell)
    except (ValueError, OverflowError):
        value = math.nan
    if not abs(value) <= LARGEST or (isinstance(cell, str) and "_" in cell):
        raise BadCell(f"{cell!r:.60} is not a number", expected="a finite one such as -1.5 or 2e3")
    return value


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
