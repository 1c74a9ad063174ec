"""`category`: one of several classes.

Shapes: N records, C classes.
"""

from __future__ import annotations

import logging
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from plait.config.registry import register
from plait.data.values import ClassIds, class_key, is_missing, mostly, same_but_for_case
from plait.outputs.base import Options, Output, RawOutputs, Steps, rounded, usable
from plait.outputs.scores import Floats, Metrics
from plait.types import (
    Alternative,
    BadCell,
    EmptyTarget,
    PlaitError,
    Prediction,
    State,
    UnseenLabel,
)

log = logging.getLogger("plait")

BINS = 15  # of confidence, for the calibration error
SHOWN = 10  # classes named in a message
UNSEEN = -1  # the target of every class that no training row has


@dataclass(frozen=True)
class Probabilities:
    """Details of an answer that is chosen from a list.

    Attributes:
        probabilities: of every class or label, the likeliest first.
    """

    probabilities: Mapping[Any, float]


class ChoiceOutput(Output, ABC):
    """What outputs that choose from a list have in common."""

    @property
    @abstractmethod
    def choices(self) -> list[Any]:
        """What it chooses from, in the order of the network's numbers."""

    @cached_property
    def ids(self) -> ClassIds:
        """The number of a class or label, however it is written."""
        return ClassIds(self.choices)

    def confidence(self, prediction: Prediction) -> float:
        """The class's probability; the geometric mean of those of a label's yes or no."""
        return prediction.score

    def probabilities(self, prediction: Prediction) -> Mapping[Any, float]:
        """Of every class or label."""
        return prediction.details.probabilities

    def details_json(self, prediction: Prediction, digits: int | None) -> dict[str, Any]:
        """Every class's or label's probability."""
        items = self.probabilities(prediction).items()
        return {"probabilities": {str(value): rounded(p, digits) for value, p in items}}

    def store(self, prediction: Prediction) -> dict[str, Any]:
        """With the probabilities as pairs: classes may be numbers, which JSON has no keys of."""
        pairs = list(self.probabilities(prediction).items())
        return super().store(prediction) | {"probabilities": pairs}

    def restore(self, raw: Mapping[str, Any]) -> Prediction:
        """With the probabilities."""
        return replace(super().restore(raw), details=Probabilities(dict(raw["probabilities"])))


class CategoryMetrics(Metrics):
    """Accuracy, macro F1, log loss and calibration error of predicted classes.

    The calibration error is how far probabilities are from the share that is right, 0 to 1
    (expected calibration error with 15 bins; Guo et al. 2017, arXiv:1706.04599). A right class that
    the model doesn't know has the probability 0. Extras are the ``classes`` and the ``confusion``
    matrix in their order: counts, a row for a right class, a column for an answered one.
    """

    titles = {
        "accuracy": "accuracy",
        "macro_f1": "macro F1",
        "log_loss": "log loss",
        "calibration_error": "calibration error",
    }
    best_metrics = ("accuracy", "macro_f1")
    lowest = 0.0

    def __init__(self, answers: Sequence[Prediction], references: Sequence[Any]) -> None:
        super().__init__(answers, references)
        each = [answer.details.probabilities for answer in answers]
        self.classes = sorted({*each[0], *references}, key=_order)
        number = {value: n for n, value in enumerate(self.classes)}
        self.right = np.array([number[value] for value in references], np.int64)  # (N,), as below
        probable = np.array([[p.get(value, 0.0) for value in self.classes] for p in each])
        self.of_right = probable[np.arange(len(answers)), self.right]
        self.answered, self.sure = probable.argmax(axis=1), probable.max(axis=1)

    def __call__(self, rows: NDArray[np.int64]) -> dict[str, float]:
        """The scores of these records."""
        confusion = self._confusion(rows)
        # F1 is over the classes that occur, as right answers or as given ones.
        both = confusion.sum(axis=0) + confusion.sum(axis=1)
        f1 = 2 * np.diag(confusion)[both > 0] / both[both > 0]
        sure, hit = self.sure[rows], (self.answered == self.right)[rows]
        bins = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
        off = np.abs(np.bincount(bins, sure - hit, BINS)).sum()
        return {
            "accuracy": float(np.trace(confusion) / len(rows)),
            "macro_f1": float(f1.mean()),
            "log_loss": float(-np.log(np.maximum(self.of_right[rows], 1e-15)).mean()),
            "calibration_error": float(off / len(rows)),
        }

    def _confusion(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        count = len(self.classes)
        pairs = self.right[rows] * count + self.answered[rows]
        return np.bincount(pairs, minlength=count * count).reshape(count, count)

    def extras(self) -> dict[str, Any]:
        """The classes and the confusion matrix."""
        confusion = self._confusion(np.arange(len(self.right)))
        return {"classes": self.classes, "confusion": confusion.tolist()}

    def rightness(self) -> tuple[str, Floats]:
        """The right class's probability."""
        return "probability of the right class", self.of_right


class CategoryOptions(Options):
    """How classes are answered."""

    num: int = Field(default=1, ge=1, description="classes to name, the likeliest first")


@register("output", "category")
class CategoryOutput(ChoiceOutput):
    """One of several classes, with its probability."""

    linear: ClassVar[bool] = True
    answer_type: ClassVar[str] = "category"
    options_type = CategoryOptions
    head_class = "plait.outputs.networks.CategoryHead"
    scored_by = CategoryMetrics

    weights: Literal["none", "balanced"] = Field(
        default="none", description="balanced: rare classes count as much as common ones"
    )
    smoothing: float = Field(default=0.0, ge=0, lt=1, description="label smoothing")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="dropout before the last layer")
    calibrate: bool = Field(
        default=True, description="fit the probabilities' temperature on the validation rows"
    )

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """The classes, sorted, and how often each occurs.

        Raises:
            PlaitError: there are no two different classes.
        """
        cells = [cell for cell in cells if not is_missing(cell)]
        spellings: dict[str, list[Any]] = {}
        for value in usable(cells, as_class):
            spellings.setdefault(class_key(value), []).append(value)
        whole = {key for key in spellings if key.lstrip("-").isdigit()}
        counts = {key: len(values) for key, values in spellings.items()}
        if mostly(sum(counts[key] for key in whole), sum(counts.values())):
            spellings = {key: spellings[key] for key in whole}  # the others are bad cells
        classes = sorted((values[0] for values in spellings.values()), key=_order)
        if len(classes) < 2:
            only = f"only {classes[0]!r}" if classes else "none"
            odd = next((cell for cell in cells if class_key(cell) not in spellings), None)
            only += "" if odd is None else f", but {odd!r:.40}"
            raise PlaitError(
                f"the training rows' classes: {only}",
                expected="at least two different ones: text, whole numbers or yes/no",
            )
        for group in same_but_for_case(classes):
            log.warning("classes that differ only in case: %s", ", ".join(map(repr, group)))
        return {"classes": classes, "counts": [counts[class_key(value)] for value in classes]}

    @property
    def choices(self) -> list[Any]:
        """The classes."""
        return self.state["classes"]

    def read(self, cell: Any, root: Path) -> int:
        """The class's number."""
        value = as_class(cell)
        number = self.ids.get(value)
        if number is None:
            known = ", ".join(map(repr, self.choices[:SHOWN]))
            raise UnseenLabel(
                f"no training row has the class {value!r}", target=UNSEEN, expected=known
            )
        return number

    def samples(self) -> list[Any]:
        """Two classes."""
        return ["one", "another"]

    def example(self) -> int:
        """The first class."""
        return 0

    def reference(self, cell: Any, root: Path) -> Any:
        """The class, as the model calls it where it knows it."""
        value = as_class(cell)
        number = self.ids.get(value) if self.state else None
        return value if number is None else self.choices[number]

    def decode(
        self, raw: RawOutputs, fitted: State, options: Any, steps: Steps | None = None
    ) -> list[Prediction]:
        """The likeliest class of each record, of ``probable`` (N, C)."""
        found = []
        order = np.argsort(-raw["probable"], axis=-1, kind="stable").tolist()
        for row, best in zip(raw["probable"].tolist(), order, strict=True):
            ranked = {self.choices[n]: row[n] for n in best}
            first, *others = (Alternative(value, p) for value, p in ranked.items())
            named = tuple(others[: options.num - 1])
            found.append(Prediction(first.value, first.score, named, details=Probabilities(ranked)))
        return found


def as_class(cell: Any) -> Any:
    """A cell as a class: text without spaces around it, a whole number or yes/no as they are.

    Raises:
        BadCell: it is empty, or holds something else.
    """
    if is_missing(cell):
        raise EmptyTarget("the class is empty", expected="a class")
    if isinstance(cell, str):
        return unicodedata.normalize("NFC", cell).strip()
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    if isinstance(cell, (bool, int)):
        return cell
    raise BadCell(f"{cell!r:.60} is not a class", expected="text, a whole number or yes/no")


def _order(value: Any) -> tuple[str, Any]:
    """Classes of one type stand together."""
    return type(value).__name__, value
