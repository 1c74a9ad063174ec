"""`category`: one of several classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from plait.config.registry import register
from plait.nn.branches import Branches
from plait.outputs.answers import ClassAnswers
from plait.outputs.base import Head, Output
from plait.outputs.pooled import PooledHead, best_temperature, check_paired, is_empty
from plait.outputs.scores import Scorer, with_intervals
from plait.types import (
    BadCell,
    Fused,
    PlaitError,
    Prediction,
    State,
    UnseenLabel,
)

Floats = NDArray[np.float64]

TITLES = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "log_loss": "log loss",
    "calibration_error": "calibration error",
}
BINS = 15  # of confidence, for the calibration error
SHOWN = 10  # classes named in a message
UNLEARNED = -1  # the number of every class that no training row has


@register("output", "category")
class CategoryOutput(Output):
    """One of several classes, with its probability."""

    titles = TITLES
    best_metrics = ("accuracy", "macro_f1")
    least = 0.0
    several = False
    linear = True

    def __init__(
        self,
        *,
        weights: Annotated[
            Literal["none", "balanced"],
            Field(description="balanced: every class counts alike in the loss, however rare"),
        ] = "none",
        smoothing: Annotated[float, Field(ge=0, lt=1, description="label smoothing")] = 0.0,
        dropout: Annotated[
            float, Field(ge=0, lt=1, description="dropout before the classes' layer")
        ] = 0.1,
        calibrate: Annotated[
            bool, Field(description="fit the probabilities' temperature on the validation rows")
        ] = True,
    ) -> None:
        self.weights, self.smoothing, self.dropout = weights, smoothing, dropout
        self.calibrate = calibrate

    def fit(self, cells: Iterable[Any]) -> State:
        """The classes, sorted, and how often each occurs; cells that are no class are named when
        they are read.

        Raises:
            PlaitError: there are no two different classes.
        """
        counts = Counter(_classes(cells))
        classes = sorted(counts, key=lambda value: (type(value).__name__, value))
        if len(classes) < 2:
            found = f"only {classes[0]!r}" if classes else "none"
            raise PlaitError(
                f"the training rows' classes: {found}", expected="two different ones at least"
            )
        return {"classes": classes, "counts": [counts[value] for value in classes]}

    def samples(self) -> list[Any]:
        """Two classes."""
        return ["one", "another"]

    def example(self, state: State) -> int:
        """The first class."""
        return 0

    def reader(self, state: State) -> Callable[[Any], int]:
        """A cell's class as a number."""
        numbers = {value: number for number, value in enumerate(state["classes"])}

        def read(cell: Any) -> int:
            if is_empty(cell):
                raise BadCell("the class is empty", expected="a class")
            value = as_class(cell)
            if value not in numbers:
                known = ", ".join(map(repr, state["classes"][:SHOWN]))
                raise UnseenLabel(
                    f"no training row has the class {value!r}", target=UNLEARNED, expected=known
                )
            return numbers[value]

        return read

    def reference(self, cell: Any) -> Any:
        """The class."""
        return as_class(cell)

    def cell(self, value: Any) -> Any:
        """The class."""
        return value

    def confidence(self, prediction: Prediction) -> float:
        """The class's probability."""
        return prediction.score

    def head(
        self, state: State, width: int, inputs: Sequence[str], pretrained: bool,
        branches: Branches | None = None,
    ) -> Head:  # fmt: skip
        """A linear layer on the pooled vector; branches' log-probabilities are blended."""
        return CategoryHead(state, width, self, branches)

    def scorer(self, predictions: Sequence[Prediction], references: Sequence[Any]) -> Scorer:
        """All of `metrics` but the intervals."""
        _, right, probable = _numbers(predictions, references)
        return lambda rows: _point_scores(right[rows], probable[rows])

    def rightness(
        self, predictions: Sequence[Prediction], references: Sequence[Any]
    ) -> tuple[str, Floats]:
        """The right class's probability."""
        pairs = zip(predictions, references, strict=True)
        values = [p.probabilities.get(right, 0.0) for p, right in pairs]
        return "probability of the right class", np.array(values)

    def metrics(
        self, predictions: Sequence[Prediction], references: Sequence[Any]
    ) -> CategoryScores:
        """Accuracy, macro F1, log loss and calibration error, and the confusion matrix."""
        return category_scores(predictions, references)


class CategoryHead(PooledHead):
    """Fused -> probabilities of the classes, from the pooled vector."""

    def __init__(
        self, state: State, width: int, output: CategoryOutput, branches: Branches | None
    ) -> None:
        super().__init__(
            width, len(state["classes"]), output.dropout, branches, partial(F.log_softmax, dim=-1)
        )
        self.classes: list[Any] = state["classes"]
        self.smoothing, self.calibrated = output.smoothing, output.calibrate
        counts = torch.tensor(state["counts"], dtype=torch.float32)
        balanced = counts.sum() / (len(counts) * counts)
        self.weights: Tensor | None
        self.register_buffer(
            "weights", balanced if output.weights == "balanced" else None, persistent=False
        )
        self.temperature: Tensor
        self.register_buffer("temperature", torch.ones(()))

    def loss(self, fused: Fused, targets: Sequence[int], branch: str | None = None) -> Tensor:
        """Mean cross-entropy over the records whose class was learned."""
        logits = self.scores(fused, branch)
        wanted = torch.tensor(targets, device=logits.device)
        return F.cross_entropy(
            logits, wanted, self.weights, ignore_index=UNLEARNED, label_smoothing=self.smoothing
        )

    @torch.no_grad()
    def calibrate(self, fused: Iterable[Fused], targets: Sequence[int]) -> None:
        """The temperature with the least log loss."""
        if not self.calibrated:
            return
        logits = torch.cat([self.scores(part) for part in fused])
        wanted = torch.tensor(targets, device=logits.device)
        learned = wanted != UNLEARNED
        if not learned.any():
            return
        logits, wanted = logits[learned], wanted[learned]
        self.temperature.fill_(best_temperature(lambda t: F.cross_entropy(logits / t, wanted)))

    def support(self, fused: Fused, answers: Sequence[Any]) -> Tensor:
        """(B,) the classes' probabilities."""
        numbers = torch.tensor([self.classes.index(answer) for answer in answers])
        return self.numbers(fused)["probable"].cpu().gather(1, numbers[:, None])[:, 0]

    def numbers(self, fused: Fused) -> dict[str, Tensor]:
        """``probable``, (B, classes)."""
        return {"probable": (self.scores(fused) / self.temperature).softmax(dim=-1)}

    def answers(self) -> State:
        """The classes."""
        return {"kind": ClassAnswers.kind, "classes": self.classes}


def as_class(cell: Any) -> Any:
    """A cell as a class: text without spaces around it, a whole number or yes/no as they are."""
    if isinstance(cell, str):
        return cell.strip()
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    if isinstance(cell, (bool, int)):
        return cell
    raise BadCell(f"{cell!r:.60} is no class", expected="text, a whole number or yes/no")


def _classes(cells: Iterable[Any]) -> Iterable[Any]:
    for cell in cells:
        try:
            if not is_empty(cell):
                yield as_class(cell)
        except BadCell:
            continue


@dataclass(frozen=True)
class CategoryScores:
    """How good the classes are. A right class that the model doesn't know has the probability 0.

    Attributes:
        records: how many were scored.
        accuracy: the share that is right.
        macro_f1: the mean over the classes of F1, rare classes counting as much as others.
        log_loss: mean of - log p(right class), in nats.
        calibration_error: how far probabilities are from the share that is right, 0 to 1
            (expected calibration error with 15 bins; Guo et al. 2017, arXiv:1706.04599).
        classes: in the order of the confusion matrix.
        confusion: (classes, classes) counts; a row a right class, a column an answered one.
        intervals: by score, its 95 % bootstrap percentile interval over records.
    """

    records: int
    accuracy: float
    macro_f1: float
    log_loss: float
    calibration_error: float
    classes: tuple[Any, ...]
    confusion: NDArray[np.int64]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return vars(self) | {
            "classes": list(self.classes),
            "confusion": self.confusion.tolist(),
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
        }


def category_scores(
    predictions: Sequence[Prediction], references: Sequence[Any], seed: int = 0
) -> CategoryScores:
    """Scores of predicted classes against the right ones, with bootstrap intervals."""
    classes, right, probable = _numbers(predictions, references)
    points, intervals = with_intervals(
        lambda rows: _point_scores(right[rows], probable[rows]), len(right), seed
    )
    return CategoryScores(
        records=len(right),
        **points,
        classes=tuple(classes),
        confusion=_confusion(right, probable),
        intervals=intervals,
    )


def _numbers(
    predictions: Sequence[Prediction], references: Sequence[Any]
) -> tuple[list[Any], NDArray[np.int64], Floats]:
    """The classes (C), each record's right one (N,), and its probabilities (N, C); right classes
    that the model doesn't know are among them."""
    check_paired(predictions, references)
    known = predictions[0].probabilities
    classes = sorted({*known, *references}, key=lambda v: (type(v).__name__, v))
    number = {value: n for n, value in enumerate(classes)}
    right = np.array([number[value] for value in references], np.int64)
    probable = np.array(
        [[p.probabilities.get(value, 0.0) for value in classes] for p in predictions]
    )
    return classes, right, probable


def _point_scores(right: NDArray[np.int64], probable: Floats) -> dict[str, float]:
    confusion = _confusion(right, probable)
    chosen = probable[np.arange(len(right)), right]
    return {
        "accuracy": float(np.trace(confusion) / len(right)),
        "macro_f1": _macro_f1(confusion),
        "log_loss": float(-np.log(np.maximum(chosen, 1e-15)).mean()),
        "calibration_error": _calibration_error(right, probable),
    }


def _confusion(right: NDArray[np.int64], probable: Floats) -> NDArray[np.int64]:
    count = probable.shape[1]
    pairs = right * count + probable.argmax(axis=1)
    return np.bincount(pairs, minlength=count * count).reshape(count, count)


def _macro_f1(confusion: NDArray[np.int64]) -> float:
    """Over the classes that occur, as right answers or as given ones."""
    both = confusion.sum(axis=0) + confusion.sum(axis=1)
    there = both > 0
    return float((2 * np.diag(confusion)[there] / both[there]).mean())


def _calibration_error(right: NDArray[np.int64], probable: Floats) -> float:
    sure, hit = probable.max(axis=1), probable.argmax(axis=1) == right
    bins = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(bins, sure - hit, BINS)
    return float(np.abs(gaps).sum() / len(right))
