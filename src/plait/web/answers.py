"""What the server answers: predictions as JSON, with where each word was looked for."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from plait.explain.attention import Attention
from plait.model import Model
from plait.types import Prediction, UsageError

HERE = Path()  # no cell is a path
DIGITS = 6  # of scores and probabilities
OF_ATTENTION = 5


class Other(BaseModel):
    """Another answer that the model considered."""

    value: Any
    score: float | None


class Looked(BaseModel):
    """Where each word of an answer was looked for in an input."""

    input: str
    words: list[str]
    maps: Annotated[
        list[list[list[float]]],
        Field(description="a word: rows of the picture's grid, from the top"),
    ]
    picture: Annotated[str, Field(description="what the model saw, as a data: URL")]


class Answer(BaseModel):
    """An output's answer; outputs may add fields of their own."""

    model_config = ConfigDict(extra="allow")

    value: Any
    score: Annotated[
        float | None, Field(description="mean log-probability of a text's words; else as a class's")
    ]
    confidence: Annotated[
        float | None, Field(description="how probable the answer is to the model, 0 to 1")
    ]
    alternatives: list[Other] = []
    probabilities: dict[str, float] = {}
    interval: tuple[float, float] | None = None
    shares: Annotated[dict[str, float], Field(description="of each input, where asked for")] = {}
    detected: Annotated[dict[str, float], Field(description="words that the inputs call for")] = {}
    looked: Annotated[Looked | None, Field(description="where asked for, and known")] = None


class Answered(BaseModel):
    """A record's answers, by output."""

    answers: dict[str, Answer]


class Problem(BaseModel):
    """What is wrong, in one line: what happened, what was expected, how to mend it."""

    error: str


class ManyAnswered(BaseModel):
    """Each record's answers, or what is wrong with it, in the order of the request."""

    results: list[Answered | Problem]


def as_answers(
    model: Model, record: Mapping[str, Any], found: Mapping[str, Prediction], explain: bool
) -> Answered:
    """A record's predictions as they are sent; ``explain``: with where they looked."""
    answers = {}
    for name, prediction in found.items():
        output = model.output_of(name)
        confidence = output.confidence(prediction)
        answer = output.to_json(prediction, DIGITS)
        for each in (answer, *answer["alternatives"]):
            each["value"], each["score"] = _plain(each["value"]), _finite(each["score"])
        answers[name] = Answer(
            **answer,
            confidence=None if confidence is None else _finite(confidence),
            looked=_looked(model, record, name, prediction) if explain else None,
        )
    return Answered(answers=answers)


def _looked(
    model: Model, record: Mapping[str, Any], output: str, prediction: Prediction
) -> Looked | None:
    try:
        attention = model.attention(record, prediction, root=HERE, output=output)
    except UsageError:  # it looks at no picture
        return None
    maps = np.round(attention.maps.astype(np.float64), OF_ATTENTION).tolist()
    return Looked(
        input=attention.input,
        words=list(attention.words),
        maps=maps,
        picture=_picture(attention),
    )


def _picture(attention: Attention) -> str:
    stream = io.BytesIO()
    Image.fromarray(attention.pixels).save(stream, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _plain(value: Any) -> Any:
    """JSON has no tuples, and no numbers that are none."""
    if isinstance(value, tuple):
        return list(value)
    return _finite(value) if isinstance(value, float) else value


def _finite(value: float) -> float | None:
    return round(value, DIGITS) if math.isfinite(value) else None
