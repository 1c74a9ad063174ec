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
from pydantic import BaseModel, Field

from plait.explain.attention import Attention
from plait.model import Model
from plait.types import Prediction, UsageError

HERE = Path()  # no cell is a path
DIGITS = 5  # of attention


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
    """An output's answer."""

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
    return Answered(
        answers={
            name: _answer(model, name, prediction, _looked(model, record, prediction, explain))
            for name, prediction in found.items()
        }
    )


def _answer(model: Model, output: str, prediction: Prediction, looked: Looked | None) -> Answer:
    confidence = model.parts.outputs[output].confidence(prediction)
    return Answer(
        value=_plain(prediction.value),
        score=_finite(prediction.score),
        confidence=None if confidence is None else _finite(confidence),
        alternatives=[
            Other(value=_plain(other.value), score=_finite(other.score))
            for other in prediction.alternatives
        ],
        probabilities={str(value): round(p, 6) for value, p in prediction.probabilities.items()},
        interval=prediction.interval,
        shares={name: round(share, 6) for name, share in prediction.shares.items()},
        detected={word: round(p, 4) for word, p in prediction.detected.items()},
        looked=looked,
    )


def _looked(
    model: Model, record: Mapping[str, Any], prediction: Prediction, explain: bool
) -> Looked | None:
    if not explain or not prediction.attention:
        return None
    try:
        attention = model.attention(record, prediction, root=HERE)
    except UsageError:  # it looks at no picture
        return None
    maps = np.round(attention.maps.astype(np.float64), DIGITS).tolist()
    return Looked(
        input=attention.input,
        words=list(prediction.words),
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
    return round(value, 6) if math.isfinite(value) else None
