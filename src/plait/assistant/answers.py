"""What the models under ``models`` answer: a package by `plait.load`, or ``hub:NAME``."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plait.assistant.intents import DIGITS
from plait.assistant.session import Other
from plait.model import Model, load
from plait.types import PlaitError, Prediction

LACKS = {
    "image": "That needs a photo: give its path",
    "audio": "That needs a recording: /hear PATH",
    "text": 'That needs a text: translate "GOOD MORNING"',
}


class NeedsPhoto(PlaitError):
    """There is none yet; the request waits for it."""


@dataclass(frozen=True)
class Reply:
    """A model's answer and what it goes by, named as in `plait.assistant.session.Turn`."""

    answer: str
    value: Any
    inputs: dict[str, str]
    probability: float | None = None
    steps: int = 0
    alternatives: list[Other] = field(default_factory=list)
    interval: tuple[float, float] | None = None
    shares: dict[str, float] = field(default_factory=dict)


class Answerer(ABC):
    """A model that answers."""

    @abstractmethod
    def answer(self, given: Mapping[str, str | None]) -> Reply:
        """Its answer.

        Args:
            given: kind of data (image, text, audio) -> the photo's path, the text, the
                recording's path; None where there is none, empty where none is needed.

        Raises:
            PlaitError: something that it needs is not there.
        """

    @abstractmethod
    def explain(self, inputs: Mapping[str, str], path: Path) -> None:
        """Draw where it looked in what it was given.

        Raises:
            PlaitError: it can't be told.
        """


class PackageAnswerer(Answerer):
    """A package: each of its inputs gets what is of its kind."""

    def __init__(self, name: str, alternatives: int) -> None:
        """``alternatives``: other answers that are wanted."""
        self.model: Model = load(name)
        self.alternatives = alternatives
        choice = self.model.decoding_options()[self.model.output]
        several = "num" in type(choice).model_fields
        self._options: dict[str, Any] = {"num": 1 + alternatives} if several else {}

    def answer(self, given: Mapping[str, str | None]) -> Reply:
        """By `Model.predict`; with several inputs also each one's share."""
        kinds = {name: spec.modality for name, spec in self.model.recipe.inputs.items()}
        given_to = {name: require(kind, given) for name, kind in kinds.items()}
        inputs = {name: value for name, value in given_to.items() if value}
        found = self.model.predict(inputs, shares=len(inputs) > 1, **self._options)
        return Reply(
            answer=said(found.value),
            value=found.value,
            inputs=inputs,
            probability=_probability(found),
            steps=len(found.words),
            alternatives=_others(found, self.alternatives),
            interval=found.interval,
            shares={name: round(share, DIGITS) for name, share in found.shares.items()},
        )

    def explain(self, inputs: Mapping[str, str], path: Path) -> None:
        """The attention of each word."""
        self.model.explain(inputs, **self._options).save(path)


def require(modality: str, given: Mapping[str, str | None]) -> str:
    """What is given of a kind of data. Raises PlaitError where there is none."""
    value = given.get(modality)
    if value is not None:
        return value
    if modality not in given:
        raise PlaitError(f"The model takes {modality}, which can't be given here")
    raise (NeedsPhoto if modality == "image" else PlaitError)(LACKS[modality])


def _probability(found: Prediction) -> float | None:
    """Of a sentence the geometric mean of its words'; None for numbers."""
    if found.probabilities:
        return round(found.score, DIGITS)
    return round(math.exp(found.score), DIGITS) if found.words else None


def _others(found: Prediction, count: int) -> list[Other]:
    if not found.probabilities:
        ranked = [(other.value, math.exp(other.score)) for other in found.alternatives]
    else:
        chosen = found.value if isinstance(found.value, tuple) else (found.value,)
        ranked = [(value, p) for value, p in found.probabilities.items() if value not in chosen]
    return [Other(value=value, probability=round(p, DIGITS)) for value, p in ranked[:count]]


def said(value: Any) -> str:
    """An answer as it is said: a sentence with its capital and full stop."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (tuple, list)):
        return ", ".join(map(said, value)) or "none"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value).strip()
    if len(text.split()) < 3:
        return text
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?…" else ".")


def no_model(noun: str, name: str) -> PlaitError:
    """The error of an intent that nothing answers."""
    return PlaitError(f"I have no model for {noun}; add one under models.{name}")
