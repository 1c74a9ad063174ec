"""What a model's endpoints take, derived from its recipe: the inputs, and how answers are found.

A request is checked against pydantic models that are made here, once a model. Media arrive as
bytes, within JSON as base64: a type that has no room for a path or an address.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator
from pydantic_core import PydanticCustomError

from plait.data.cells import is_missing
from plait.model import Model
from plait.outputs.options import Options
from plait.types import UsageError, column_text
from plait.web.forms import read_form
from plait.web.guards import Refused
from plait.web.settings import Settings

Record = Mapping[str, Any]
ONE, MANY = "inputs", "records"
COSTLY = {"beam", "num"}
"""Options of a search with as many times the work."""


class Strict(BaseModel):
    """Takes what it names and nothing else."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class InputsBase(Strict):
    """A record: one input at least."""

    @model_validator(mode="after")
    def _has_one(self) -> InputsBase:
        if not self.record():
            names = ", ".join(str(field.alias) for field in type(self).model_fields.values())
            raise PydanticCustomError("empty", f"a record without an input; one of: {names}")
        return self

    def record(self) -> dict[str, Any]:
        """Input -> cell, of those that are there."""
        cells = {str(field.alias): getattr(self, name)
                 for name, field in type(self).model_fields.items()}  # fmt: skip
        return {name: cell for name, cell in cells.items() if not is_missing(cell)}


class Wanted(Strict):
    """What all requests may ask for beside the answer."""

    shares: Annotated[bool, Field(description="also each input's share of the answers")] = False
    explain: Annotated[bool, Field(description="also where each word was looked for")] = False


@dataclass(frozen=True)
class Request:
    """A request that was understood."""

    records: Sequence[Record]
    options: Mapping[str, Any]
    shares: bool
    explain: bool


@dataclass(frozen=True)
class Schema:
    """The requests that a model takes.

    Attributes:
        name: what the model is served as.
        inputs: one record.
        options: how answers are found, with the recipe's defaults.
        one: a request of one record, under ``inputs``.
        many: a request of several, under ``records``.
        columns: input -> what it stands under in a table; inputs may share one.
        tables: inputs whose cells have columns of their own.
    """

    name: str
    inputs: type[InputsBase]
    options: type[BaseModel]
    one: type[Wanted]
    many: type[Wanted]
    columns: Mapping[str, str]
    tables: frozenset[str]

    def read(self, body: type[Wanted], kind: str, raw: bytes) -> Request:
        """A request's body, checked; ``body`` is ``one`` or ``many``, ``kind`` its content type.

        Raises:
            UsageError: it is damaged, or asks for what there isn't.
            Refused: it is of another kind.
        """
        try:
            if kind.lower().startswith("multipart/form-data"):
                found: Any = body.model_validate(self.nested(read_form(kind, raw)))
            elif kind.lower().startswith("application/json"):
                found = body.model_validate_json(raw)
            else:
                raise Refused(415, "neither JSON nor a form", expected="application/json")
        except ValidationError as error:
            raise UsageError(one_line(error)) from None
        several = found.records if MANY in type(found).model_fields else [found.inputs]
        records = [inputs.record() for inputs in several]
        options = found.options.model_dump(exclude_unset=True)
        return Request(records, options, found.shares, found.explain)

    def nested(self, parts: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        """The parts of a form as one mapping: a part's name is the path that its value has in
        JSON, ``inputs.photo``, ``records.0.photo``, ``options.beam``.

        Raises:
            UsageError: a name is no such path, or comes twice.
        """
        found: dict[str, Any] = {}
        many: dict[int, dict[str, Any]] = {}
        for name, value in parts:
            head, _, rest = name.partition(".")
            if head == MANY:
                number, _, rest = rest.partition(".")
                if not (number.isascii() and number.isdecimal() and len(number) < 5):
                    raise UsageError(f"the part {name!r:.60}", expected=f"{MANY}.NUMBER.INPUT")
                self._put(many.setdefault(int(number), {}), rest, value, name)
            elif head == ONE and rest:
                self._put(found.setdefault(ONE, {}), rest, value, name)
            elif head == "options" and rest:
                _put(found.setdefault(head, {}), rest, value, name)
            else:
                _put(found, name, value, name)
        if many:
            found[MANY] = [many[number] for number in sorted(many)]
        return found

    def _put(self, record: dict[str, Any], path: str, value: Any, name: str) -> None:
        """A value at ``INPUT`` of a record, or at ``INPUT.COLUMN`` where it has columns."""
        head, dot, column = path.partition(".")
        if dot and head in self.tables:
            _put(record.setdefault(head, {}), column, value, name)
        else:
            _put(record, path, value, name)


def _put(found: dict[str, Any], key: str, value: Any, name: str) -> None:
    if key in found:
        raise UsageError(f"the part {name!r:.60} comes twice")
    found[key] = value


def make_schema(name: str, model: Model, settings: Settings) -> Schema:
    """The requests of a model that is served as ``name``, within the settings' limits."""
    every = model.decoding_options()
    unused = {output: set(model.output_of(output).unused_options) for output in every}
    used = {o: set(type(options).model_fields) - unused[o] for o, options in every.items()}
    useless = set().union(*unused.values()) - set().union(*used.values())
    inputs = _inputs(name, model)
    options = _options(name, every.values(), useless, settings.beams)
    asked: Any = (options, Field(default_factory=options))
    one = create_model(f"{name}.Request", __base__=Wanted, inputs=(inputs, ...), options=asked)
    several: Any = Annotated[list[inputs], Field(min_length=1, max_length=settings.records)]  # type: ignore[valid-type]
    many = create_model(f"{name}.Batch", __base__=Wanted, records=(several, ...), options=asked)
    specs = model.recipe.inputs
    columns = {key: column_text(spec.column or key) for key, spec in specs.items()}
    tables = {key for key, part in model.parts.modalities.items() if part.several_columns}
    return Schema(name, inputs, options, one, many, columns, frozenset(tables))


def _inputs(name: str, model: Model) -> type[InputsBase]:
    """Fields have made-up names, as inputs may be called what a pydantic model can't have."""
    fields: dict[str, Any] = {}
    for number, (key, modality) in enumerate(model.parts.modalities.items()):
        cell = modality.with_state(model.states[f"inputs.{key}"]).request_type()
        fields[f"input_{number}"] = (cell | None, Field(default=None, alias=key, title=key))
    return create_model(f"{name}.Inputs", __base__=InputsBase, **fields)


def _options(
    name: str, every: Collection[Options], useless: Collection[str], beams: int
) -> type[BaseModel]:
    """The outputs' decoding options without the ``useless`` ones, which no output has a use for; of
    outputs that share an option, the first one's default is shown."""
    fields: dict[str, Any] = {}
    costly = COSTLY if any("beam" in type(options).model_fields for options in every) else set()
    for options in every:
        for key, field in type(options).model_fields.items():
            if key in useless:
                continue
            kind: Any = Annotated[field.annotation, field]
            if key in costly:  # a recipe's own default is not refused
                most = Le(max(beams, getattr(options, key) or 1))
                kind = Annotated[
                    field.annotation, Field(description=field.description), Ge(1), most
                ]
            fields.setdefault(key, (kind, getattr(options, key)))
    return create_model(f"{name}.Options", __base__=Strict, **fields)


def one_line(error: ValidationError) -> str:
    """The first thing that is wrong with a request: where, what, and what was expected."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])[:120] or "the request"
    if first["type"] == "extra_forbidden":
        return f"{where}: there is no such field"
    what = first["msg"].removeprefix("Value error, ")
    return f"{where}: {what[:1].lower()}{what[1:]}"
