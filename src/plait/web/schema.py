"""What is sent over HTTP: requests, whose schema is made from a model's recipe, and answers.

A request is checked by pydantic models that are built here once for each model. Files arrive as
bytes, or as base64 within JSON: nothing in a request can name a path or an address.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator
from pydantic_core import PydanticCustomError

from plait.data.values import is_missing
from plait.model import Model
from plait.outputs.base import Options
from plait.render.html import picture_uri
from plait.types import PlaitError, Prediction, UsageError
from plait.web.guards import Refused
from plait.web.settings import Settings

COSTLY = {"beam", "num"}
"""Options of a beam search that multiply its work."""
MAX_PARTS = 1000  # of a form
ROOT = Path()  # of the cells: never used, as requests hold no paths


class Alternative(BaseModel):
    """Another answer that the model considered."""

    value: Any
    score: float | None


class Looked(BaseModel):
    """Where the model looked in an input, word by word."""

    input: str
    words: list[str]
    maps: list[list[list[float]]] = Field(description="one map per word, as rows from the top")
    view: tuple[tuple[float, float], tuple[float, float]] = Field(
        description="the part of the picture that the maps cover: start and end across, and down, "
        "as shares of it"
    )
    picture: str = Field(description="the picture, as a data: URL")


class Answer(BaseModel):
    """One output's answer."""

    value: Any
    score: float | None = Field(description="mean log-probability per word, or a probability")
    confidence: float | None = Field(description="how probable the answer is to the model, 0 to 1")
    calibrated: bool = Field(
        False,
        description="whether the confidence was fitted to validation records, as the probability "
        "that the answer is right (of captions, the main subject)",
    )
    doubtful: bool = Field(False, description="calibrated, and so low that it should be shown")
    alternatives: list[Alternative] = []
    probabilities: dict[str, float] = {}
    interval: tuple[float, float] | None = None
    shares: dict[str, float] = Field({}, description="contribution of each input, on request")
    clues: dict[str, list[tuple[str, float]]] = Field(
        {},
        description="words that were found in the inputs, by title, each with its weight (0 to 1), "
        "the most telling first",
    )
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


@dataclass(frozen=True)
class Job:
    """A record to be answered, and what to answer."""

    model: str  # the name that it is served as
    record: Mapping[str, Any]  # input -> cell
    options: tuple[tuple[str, Any], ...] = ()  # of decoding, sorted by name
    shares: bool = False  # add the contribution of each input
    explain: bool = False  # add where the model looked for each word
    # Its answers, or PlaitError if they can't be given.
    result: Future[Answers | PlaitError] = field(default_factory=Future, compare=False, repr=False)

    @property
    def batch_key(self) -> tuple[Any, ...]:
        """Equal for jobs that can be in one batch."""
        return self.model, self.options, self.shares, self.explain


class Strict(BaseModel):
    """Refuses unknown fields."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class InputsBase(Strict):
    """A record with at least one input."""

    @model_validator(mode="after")
    def _is_not_empty(self) -> InputsBase:
        if not self.record():
            names = ", ".join(str(field.alias) for field in type(self).model_fields.values())
            raise PydanticCustomError(
                "empty", f"a record without an input; expected at least one of: {names}"
            )
        return self

    def record(self) -> dict[str, Any]:
        """Input -> cell, without missing inputs."""
        fields = type(self).model_fields.items()
        cells = {str(field.alias): getattr(self, name) for name, field in fields}
        return {name: cell for name, cell in cells.items() if not is_missing(cell)}


class RequestBase(Strict):
    """What every request may ask for besides the answer."""

    shares: Annotated[bool, Field(description="add the contribution of each input")] = False
    explain: Annotated[bool, Field(description="add where the model looked for each word")] = False


class Schema:
    """The requests that a model takes, within the limits of the settings.

    Attributes:
        inputs: one record.
        options: of decoding, with the recipe's defaults.
        one: a request for one record, under ``inputs``.
        many: a request for several, under ``records``.
    """

    def __init__(self, name: str, model: Model, settings: Settings) -> None:
        """``name``: what the model is served as."""
        self.name, self.model = name, model
        by_output = model.decoding_options()
        # An option is offered if an output that has it can use it.
        lacks = {output: set(model.parts.outputs[output].unused_options) for output in by_output}
        usable = {o: set(type(options).model_fields) - lacks[o] for o, options in by_output.items()}
        unusable = set().union(*lacks.values()) - set().union(*usable.values())
        self.options = options = _options(name, by_output.values(), unusable, settings.beams)
        self.inputs = inputs = _inputs(name, model)
        more: Any = {"__base__": RequestBase, "options": (options, Field(default_factory=options))}
        several: Any = Annotated[list[inputs], Field(min_length=1, max_length=settings.records)]  # type: ignore[valid-type]
        self.one = create_model(f"{name}.Request", inputs=(inputs, ...), **more)
        self.many = create_model(f"{name}.Batch", records=(several, ...), **more)

    def read(self, body: type[RequestBase], content_type: str, raw: bytes) -> list[Job]:
        """Read and check a request; ``body`` is ``one`` or ``many``. Raises UsageError if it is
        damaged, or has unknown fields or wrong values, and Refused if it is neither JSON nor a
        form."""
        try:
            if content_type.lower().startswith("multipart/form-data"):
                found: Any = body.model_validate(self._nested(read_form(content_type, raw)))
            elif content_type.lower().startswith("application/json"):
                found = body.model_validate_json(raw)
            else:
                raise Refused(415, "neither JSON nor a form", expected="application/json")
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))[:120] or "the request"
            what = first["msg"].removeprefix("Value error, ")
            what = what[:1].lower() + what[1:]
            if first["type"] == "extra_forbidden":
                what = "there is no such field"
            raise UsageError(f"{where}: {what}") from None
        several = found.records if body is self.many else [found.inputs]
        options = found.options.model_dump(exclude_unset=True)
        self.model.decoding_options(**options)
        return [
            Job(self.name, inputs.record(), tuple(sorted(options.items())), found.shares,
                found.explain)
            for inputs in several
        ]  # fmt: skip

    def _nested(self, parts: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        """The parts of a form as the JSON that they stand for. Their names are paths:
        ``inputs.photo``, ``inputs.row.speed``, ``records.0.photo``, ``options.beam``, ``shares``.
        Raises UsageError if a name is not a valid path, or is used twice."""
        found: dict[str, Any] = {}
        records: dict[int, dict[str, Any]] = {}
        for name, value in parts:
            head, _, key = name.partition(".")
            target: Any = found
            if head == "records":
                number, _, key = key.partition(".")
                if not re.fullmatch("[0-9]{1,4}", number):
                    raise UsageError(f"the part {name!r:.60}", expected="records.NUMBER.INPUT")
                target = records.setdefault(int(number), {})
            elif head in ("inputs", "options") and key:
                target = found.setdefault(head, {})
            else:
                key = name
            table, _, column = key.partition(".")
            modality = self.model.parts.modalities.get(table)
            if column and head in ("inputs", "records") and modality and modality.several_columns:
                target, key = target.setdefault(table, {}), column
            if not isinstance(target, dict) or key in target:
                raise UsageError(f"the part {name!r:.60} comes twice")
            target[key] = value
        return found | ({"records": [records[n] for n in sorted(records)]} if records else {})


# Not Starlette's parser (python-multipart): it takes every form that is cut short, and writes large
# files to disk. The package multipart does neither, but shares its import name with the former.
_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]{1,70})"|([^\s;",]{1,70}))', re.I)
_NAME = re.compile(rb';\s*name="([^"\r\n]{0,1000})"', re.I)
_FILE = re.compile(rb";\s*filename\*?=", re.I)
_DISPOSITION = re.compile(rb"^content-disposition:\s*form-data\s*(;[^\r\n]*)$", re.I | re.M)


def read_form(content_type: str, body: bytes) -> Iterator[tuple[str, bytes | str]]:
    """The parts of a form (multipart/form-data, RFC 7578): each one's name, and its value as bytes
    if it is a file, else as a string. All stays in memory. Raises UsageError if the form is damaged
    or cut short."""
    match = _BOUNDARY.search(content_type)
    if match is None:
        raise UsageError("the form has no boundary", expected="multipart/form-data; boundary=...")
    boundary = b"\r\n--" + (match[1] or match[2]).encode("latin-1", "replace")
    whole = b"\r\n" + body
    if whole.count(boundary) > MAX_PARTS + 1:
        raise UsageError(f"the form has over {MAX_PARTS:,} parts")
    _, *parts = whole.split(boundary)
    if not parts or not parts[-1].startswith(b"--"):
        raise UsageError("the form is damaged or cut short", expected="a boundary at its end")
    return map(_read_part, parts[:-1])


def _read_part(part: bytes) -> tuple[str, bytes | str]:
    """Headers, an empty line, the value."""
    headers, empty_line, value = part.partition(b"\r\n\r\n")
    disposition = _DISPOSITION.search(headers.replace(b"\r\n", b"\n"))
    name = disposition and _NAME.search(disposition[1])
    if not (empty_line and disposition and name):
        raise UsageError("a part of the form has no name", expected='form-data; name="..."')
    try:
        title = name[1].decode().replace("%22", '"')
        return title, value if _FILE.search(disposition[1]) else value.decode()
    except UnicodeDecodeError:
        raise UsageError("a part of the form is not UTF-8", hint="send bytes as a file") from None


def _inputs(name: str, model: Model) -> type[InputsBase]:
    """Fields are numbered, as an input may have a name that a pydantic field can't have."""
    fields: dict[str, Any] = {}
    for number, (key, modality) in enumerate(model.parts.modalities.items()):
        facts, cell = modality.facts, modality.request_type()
        form: Any = {
            "widget": facts.widget, "accept": ",".join((facts.accept, *facts.also)),
            "noun": facts.noun, "example": facts.example.strip("'"),
        }  # fmt: skip
        field = Field(default=None, alias=key, title=key, json_schema_extra={"form": form})
        fields[f"input_{number}"] = (cell | None, field)
    return create_model(f"{name}.Inputs", __base__=InputsBase, **fields)


def _options(
    name: str, by_output: Collection[Options], unusable: Collection[str], beams: int
) -> type[BaseModel]:
    """The decoding options of all outputs; of one that several have, the first default is shown."""
    fields: dict[str, Any] = {}
    searches = any("beam" in type(options).model_fields for options in by_output)
    for options in by_output:
        for key, own in type(options).model_fields.items():
            if key in unusable:
                continue
            default, about = getattr(options, key), Field(description=own.description)
            kind: Any = Annotated[own.annotation, own]
            if searches and key in COSTLY:  # the recipe's own default is always accepted
                kind = Annotated[own.annotation, about, Ge(1), Le(max(beams, default or 1))]
            fields.setdefault(key, (kind, default))
    return create_model(f"{name}.Options", __base__=Strict, **fields)


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
            calibrated=output.calibrated(prediction) is not None,
            doubtful=output.is_doubtful(prediction),
            alternatives=[
                Alternative(value=_plain(other.value), score=_plain(other.score))
                for other in prediction.alternatives
            ],
            probabilities={k: round(p, 6) for k, p in details.get("probabilities", {}).items()},
            interval=output.bounds(prediction),
            shares={name: round(share, 6) for name, share in prediction.shares.items()},
            clues=_clues(output.clues(prediction)),
            looked=_looked(model, record, name, prediction) if looks else None,
        )
    return Answers(answers=answers)


def _clues(found: Mapping[str, Mapping[str, float]]) -> dict[str, list[tuple[str, float]]]:
    """In lists, as browsers put keys that are numbers first."""
    return {
        title: [(word, round(weight, 4)) for word, weight in weights.items()]
        for title, weights in found.items()
        if weights
    }


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
        view=attention.view,
        picture=picture_uri(attention.pixels, max(attention.pixels.shape), 85),
    )


def _plain(value: Any) -> Any:
    """A value that JSON can hold: it has no tuples, NaN or infinity."""
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return list(value) if isinstance(value, tuple) else value
