"""What the server answers: predictions as JSON, and what each word attended to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from plait.model import Model
from plait.render.html import picture_uri
from plait.types import Prediction, UsageError

ROOT = Path()  # of the cells: never used, as requests hold no paths


class Alternative(BaseModel):
    """Another answer that the model considered."""

    value: Any
    score: float | None


class Looked(BaseModel):
    """Where the model looked in an input, word by word."""

    input: str
    words: list[str]
    maps: list[list[list[float]]] = Field(description="a map for each word: its rows, top first")
    picture: str = Field(description="the picture as the model saw it, a data: URL")


class Answer(BaseModel):
    """One output's answer."""

    value: Any
    score: float | None = Field(description="mean log-probability per word; else probability")
    confidence: float | None = Field(description="how probable the model thinks it is, 0 to 1")
    alternatives: list[Alternative] = []
    probabilities: dict[str, float] = {}
    interval: tuple[float, float] | None = None
    shares: dict[str, float] = Field({}, description="contribution of each input, on request")
    detected: dict[str, float] = Field({}, description="words that the inputs suggest")
    looked: Looked | None = Field(None, description="where the model looked, on request")


class Answers(BaseModel):
    """A record's answers, by output."""

    answers: dict[str, Answer]


class Problem(BaseModel):
    """What is wrong, in one line: what happened, what was expected, what to do."""

    error: str


class BatchAnswers(BaseModel):
    """In the order of the request, each record's answers or what is wrong with it."""

    results: list[Answers | Problem]


def to_answers(
    model: Model, record: Mapping[str, Any], predictions: Mapping[str, Prediction], explain: bool
) -> Answers:
    """A record's predictions by output as they are sent; ``explain`` adds where it looked."""
    answers = {}
    for name, prediction in predictions.items():
        output = model.parts.outputs[name]
        details = output.to_json(prediction)
        looks = explain and output.attention(prediction)
        answers[name] = Answer(
            value=_plain(prediction.value),
            score=_plain(prediction.score),
            confidence=_plain(output.confidence(prediction)),
            alternatives=[
                Alternative(value=_plain(other.value), score=_plain(other.score))
                for other in prediction.alternatives
            ],
            probabilities={k: round(p, 6) for k, p in details.get("probabilities", {}).items()},
            interval=output.bounds(prediction),
            shares={name: round(share, 6) for name, share in prediction.shares.items()},
            detected={word: round(p, 4) for word, p in details.get("detected", {}).items()},
            looked=_looked(model, record, name, prediction) if looks else None,
        )
    return Answers(answers=answers)


def _looked(
    model: Model, record: Mapping[str, Any], output: str, prediction: Prediction
) -> Looked | None:
    try:
        attention = model.attention(record, prediction, root=ROOT, output=output)
    except UsageError:  # none of the inputs is a picture
        return None
    return Looked(
        input=attention.input,
        words=list(attention.words),
        maps=np.round(attention.maps.astype(np.float64), 5).tolist(),
        picture=picture_uri(attention.pixels, max(attention.pixels.shape), 85),
    )


def _plain(value: Any) -> Any:
    """A value that JSON can hold: it has no tuples, NaN or infinity."""
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return list(value) if isinstance(value, tuple) else value
