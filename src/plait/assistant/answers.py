"""What the models under ``models`` answer: a package by `plait.load`, or ``hub:NAME``."""

from __future__ import annotations

import textwrap
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plait.assistant.intents import DIGITS
from plait.assistant.session import Other
from plait.model import Model, load
from plait.outputs.base import Output
from plait.tasks.translate import SHOWN
from plait.types import PlaitError, Prediction, UsageError

LACKS = {
    "image": "That needs a photo: give its path",
    "text": "That needs a text: type it",
}


class Lacking(PlaitError):
    """Something was not given yet; the request waits for it.

    Attributes:
        modality: the kind of data that is lacking.
    """

    def __init__(self, modality: str) -> None:
        super().__init__(LACKS[modality])
        self.modality = modality


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
    note: str | None = None


class Answerer(ABC):
    """A model that answers."""

    @abstractmethod
    def answer(self, given: Mapping[str, str | None]) -> Reply:
        """Its answer.

        Args:
            given: kind of data (image, text, audio) -> the photo's path, the text, the
                recording's path; None where there is none, empty where none is needed.

        Raises:
            Lacking: something that can still be given is not there.
            PlaitError: it can't answer.
        """

    @abstractmethod
    def explain(self, inputs: Mapping[str, str], stem: Path) -> Path:
        """Draw what its answer goes by.

        Args:
            inputs: what it was given.
            stem: the picture's path, less its ending.

        Returns:
            The picture's path.

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
        asked = self.model.output_of(self.model.output)
        confidence = asked.confidence(found)
        return Reply(
            answer=said(found.value),
            value=found.value,
            inputs=inputs,
            probability=None if confidence is None else round(confidence, DIGITS),
            steps=len(asked.words(found)),
            alternatives=_others(asked, found)[: self.alternatives],
            interval=asked.bounds(found),
            shares={name: round(share, DIGITS) for name, share in found.shares.items()},
            note=self._note(inputs),
        )

    def explain(self, inputs: Mapping[str, str], stem: Path) -> Path:
        """The attention of each word; where the model has none, what each part of its inputs did
        for the answer (the extra ``explain``)."""
        found = self.model.predict(inputs, **self._options)
        try:
            attention = self.model.attention(inputs, found)
        except UsageError:  # it has none
            explanation = self.model.explain(inputs, **self._options)
            path = Path(f"{stem}.explanation.png")
            explanation.save(path)
        else:
            path = Path(f"{stem}.attention.png")
            attention.save(path)
        return path

    def _note(self, inputs: Mapping[str, str]) -> str | None:
        """What of an input is not read whole, as ``plait translate`` warns of it."""
        for name, why in self.model.unread(inputs).items():
            return f"{textwrap.shorten(inputs[name], SHOWN, placeholder='...')}: {why}"
        return None


def require(modality: str, given: Mapping[str, str | None]) -> str:
    """What is given of a kind of data. Raises PlaitError where there is none: `Lacking`, where the
    request waits for it."""
    value = given.get(modality)
    if value is not None:
        return value
    if modality not in given:
        raise PlaitError(f"The model takes {modality}, which can't be given here")
    if modality not in LACKS:
        raise PlaitError("That needs a recording: /hear PATH")
    raise Lacking(modality)


def _others(asked: Output, found: Prediction) -> list[Other]:
    """What else it might have answered, the likeliest first."""
    chosen = found.value if isinstance(found.value, tuple) else (found.value,)
    likely = asked.probabilities(found)
    ranked = [(value, p) for value, p in likely.items() if value not in chosen] or [
        (other.value, asked.confidence(Prediction(other.value, other.score)) or 0.0)
        for other in found.alternatives
    ]
    return [Other(value=value, probability=round(p, DIGITS)) for value, p in ranked]


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
