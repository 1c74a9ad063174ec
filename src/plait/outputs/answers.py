"""From a head's numbers to answers: one code for the network and for its exported graphs.

Knows no torch. Shapes: B records, C classes or labels.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from plait.outputs.options import Options
from plait.types import Alternative, Prediction, State

DIGITS = 6  # of the standard deviation that are told: the network's float32 holds no more
Numbers: TypeAlias = Mapping[str, NDArray[Any]]
"""What `Head.numbers` gives, by name, a row a record."""


class Answers(ABC):
    """How answers of one kind are made of a head's numbers."""

    kind: ClassVar[str]

    @abstractmethod
    def options(self, **options: Any) -> Options:
        """How answers are found, with ``options`` changed, checked (UsageError)."""

    @abstractmethod
    def predictions(self, numbers: Numbers, **options: Any) -> list[Prediction]:
        """One a record."""

    @abstractmethod
    def cell(self, value: Any) -> Any:
        """An answer as a cell of a table, a string or a number."""


class Choice(Options):
    """How classes are answered."""

    num: Annotated[int, Field(ge=1, description="classes to name, the likeliest first")] = 1


class ClassAnswers(Answers):
    """One of several classes, of ``probable`` (B, C)."""

    kind = "category"

    def __init__(self, settings: State) -> None:
        """``settings``: the classes."""
        self.classes: list[Any] = settings["classes"]

    def options(self, **options: Any) -> Choice:
        """How many classes to name."""
        return Choice().changed(**options)

    def predictions(self, numbers: Numbers, **options: Any) -> list[Prediction]:
        """The likeliest class of each record, its probability, and the next likely."""
        num, probable = self.options(**options).num, numbers["probable"]
        order = np.argsort(-probable, axis=-1, kind="stable").tolist()
        return [
            self._prediction(row, best, num)
            for row, best in zip(probable.tolist(), order, strict=True)
        ]

    def _prediction(self, probable: list[float], order: list[int], num: int) -> Prediction:
        first, *others = (Alternative(self.classes[n], probable[n]) for n in order)
        return Prediction(
            value=first.value,
            score=first.score,
            alternatives=tuple(others[: num - 1]),
            probabilities={self.classes[n]: probable[n] for n in order},
        )

    def cell(self, value: Any) -> Any:
        """The class."""
        return value


class Naming(Options):
    """How labels are answered."""

    num: Annotated[
        int | None,
        Field(ge=1, description="this many labels, the likeliest, whatever their probability"),
    ] = None
    threshold: Annotated[
        float | None,
        Field(ge=0, le=1, description="least probability of a label, instead of what was fitted"),
    ] = None


class LabelAnswers(Answers):
    """Any number of labels, of ``logits`` (B, C)."""

    kind = "labels"

    def __init__(self, settings: State) -> None:
        """``settings``: the labels, each one's threshold, and the separator in a cell."""
        self.labels: list[str] = settings["labels"]
        self.threshold = np.array(settings["threshold"], np.float32)
        self.separator: str = settings["separator"]

    def options(self, **options: Any) -> Naming:
        """How many labels to name, or how probable they must be."""
        return Naming().changed(**options)

    def predictions(self, numbers: Numbers, **options: Any) -> list[Prediction]:
        """The labels of each record, the likeliest first, and every label's probability."""
        naming, logits = self.options(**options), numbers["logits"]
        probable = np.exp(log_sigmoid(logits))
        order = np.argsort(-probable, axis=-1, kind="stable")
        chosen = probable >= (self.threshold if naming.threshold is None else naming.threshold)
        if naming.num is not None:
            chosen = np.zeros_like(chosen)
            np.put_along_axis(chosen, order[:, : naming.num], True, axis=1)
        scores = np.exp(np.where(chosen, log_sigmoid(logits), log_sigmoid(-logits)).mean(axis=1))
        rows = zip(probable.tolist(), order.tolist(), chosen.tolist(), scores.tolist(), strict=True)
        return [self._prediction(*row) for row in rows]

    def _prediction(
        self, probable: list[float], order: list[int], chosen: list[bool], score: float
    ) -> Prediction:
        return Prediction(
            value=tuple(self.labels[n] for n in order if chosen[n]),
            score=score,
            probabilities={self.labels[n]: probable[n] for n in order},
        )

    def cell(self, value: Any) -> str:
        """The labels with separators between them; without any, a separator alone."""
        return self.separator.join(value) or self.separator


def log_sigmoid(logits: NDArray[Any]) -> NDArray[Any]:
    """log(1 / (1 + exp(-x))), without overflow."""
    return -np.logaddexp(0, -logits)


class NumberAnswers(Answers):
    """A number and its interval, of ``middle``, ``low`` and ``high`` (B,), in deviations from the
    mean."""

    kind = "number"

    def __init__(self, settings: State) -> None:
        """``settings``: mean, deviation, and whether the interval means anything (calibrated)."""
        self.mean, self.deviation = float(settings["mean"]), float(settings["deviation"])
        self.calibrated = bool(settings["calibrated"])

    def options(self, **options: Any) -> Options:
        """None: there is nothing to choose."""
        return Options().changed(**options)

    def predictions(self, numbers: Numbers, **options: Any) -> list[Prediction]:
        """Each record's number, with its interval once the head is calibrated."""
        self.options(**options)
        found = [numbers[name].tolist() for name in ("middle", "low", "high")]
        rows = [tuple(map(self._told, row)) for row in zip(*found, strict=True)]
        if not self.calibrated:
            return [Prediction(value, score=0.0) for value, _, _ in rows]
        return [
            Prediction(value, score=first - last, interval=(first, last))
            for value, first, last in rows
        ]

    def _told(self, scaled: float) -> float:
        """In its own units, without digits that mean nothing."""
        places = DIGITS - math.floor(math.log10(self.deviation))
        return round(self.mean + self.deviation * scaled, places)

    def cell(self, value: Any) -> Any:
        """The number."""
        return value


KINDS: Mapping[str, type[ClassAnswers] | type[LabelAnswers] | type[NumberAnswers]] = {
    made.kind: made for made in (ClassAnswers, LabelAnswers, NumberAnswers)
}


def make_answers(settings: State) -> Answers:
    """What makes answers as `Head.answers` says; of those that take numbers alone."""
    return KINDS[settings["kind"]](settings)
