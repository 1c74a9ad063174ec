"""Names to components: one table, filled by the files of the rooms themselves.

A component's keyword-only ``__init__`` parameters are its schema: names, types, defaults and
one-line docs are written once, there, as ``Annotated[int, Field(ge=1, description="...")]``.
Recipe checking, ``plait list`` and the docs are derived from them.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import typing
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, create_model
from pydantic.fields import FieldInfo

from plait.config.component import Component
from plait.types import UsageError
from plait.util.suggest import did_you_mean

_HOME = Path(__file__).parents[1] / "modalities"
MODALITIES = tuple(sorted(m.name for m in pkgutil.iter_modules([str(_HOME)]) if m.ispkg))
"""Every package in that room is a modality, and a kind of component of its own: the components
are its representations."""

ROOMS: dict[str, str] = {
    **{name: f"plait.modalities.{name}" for name in MODALITIES},
    "fusion": "plait.fusion",
    "output": "plait.outputs",
    "decoder": "plait.outputs.text.decoders",
    "language": "plait.outputs.text.lm",
}
"""Kind of component -> the package whose modules register it."""

NETWORKS = "networks"
"""The module, or package, of a folder's network sides."""

ARGUMENT = "name"
"""The parameter that takes the part after the colon of ``family:ARGUMENT``."""

C = TypeVar("C", bound=type)


@dataclass(frozen=True)
class Registered:
    """A class under its name, and its settings' schema."""

    kind: str
    name: str
    cls: type

    @property
    def title(self) -> str:
        """How a recipe writes the name: ``hub:NAME`` for a family, which takes a ``name``."""
        return f"{self.name}:NAME" if ARGUMENT in self.parameters else self.name

    @property
    def about(self) -> str:
        """First line of the class's docstring."""
        return (inspect.getdoc(self.cls) or "").split("\n", 1)[0]

    @cached_property
    def parameters(self) -> dict[str, tuple[Any, Any]]:
        """Parameter name -> (annotated type, default); ``...`` stands for "no default"."""
        if issubclass(self.cls, Component):
            return {name: (f, f.default) for name, f in self.cls.model_fields.items()}
        initialise: Any = vars(self.cls)["__init__"]
        hints = typing.get_type_hints(initialise, include_extras=True)
        signature = inspect.signature(initialise)
        return {
            p.name: (hints[p.name], ... if p.default is p.empty else p.default)
            for p in signature.parameters.values()
            if p.kind is p.KEYWORD_ONLY
        }

    @cached_property
    def schema(self) -> type[BaseModel]:
        """A pydantic model of the parameters; unknown names are refused."""
        if issubclass(self.cls, Component):
            return self.cls
        fields: dict[str, Any] = dict(self.parameters)
        return create_model(
            f"{self.kind}:{self.name}",
            __config__=ConfigDict(extra="forbid", protected_namespaces=()),
            **fields,
        )


_COMPONENTS: dict[tuple[str, str], Registered] = {}


def register(kind: str, name: str) -> Callable[[C], C]:
    """Class decorator: make the class known as ``name`` of ``kind``."""

    def add(cls: C) -> C:
        _COMPONENTS[kind, name] = Registered(kind, name, cls)
        return cls

    return add


@cache
def _load(kind: str) -> None:
    """Import every module of the room, so that its components have registered themselves."""
    if kind not in ROOMS:
        raise UsageError(f"there is no kind {kind!r} of component", hint=did_you_mean(kind, ROOMS))
    _import_all(ROOMS[kind])


def _import_all(package: str) -> None:
    """Import a package's modules but for the networks, which need torch."""
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
        if module.name.rpartition(".")[2] != NETWORKS:
            importlib.import_module(module.name)
            if module.ispkg:
                _import_all(module.name)


def _import_own(kind: str, name: str) -> None:
    """Import the module that has the component's name, all of them where there is none such: it is
    quicker, and the others may need libraries that this one does not."""
    module = f"{ROOMS.get(kind)}.{name.replace('-', '_')}"
    if kind in ROOMS and name.replace("-", "").isidentifier() and importlib.util.find_spec(module):
        importlib.import_module(module)
    if (kind, name) not in _COMPONENTS:
        _load(kind)


def names(kind: str) -> list[str]:
    """All registered names of a kind, sorted."""
    _load(kind)
    return sorted(name for k, name in _COMPONENTS if k == kind)


def find(kind: str, name: str) -> Registered:
    """The component, also by its ``family:ARGUMENT`` form (``hub:NAME`` finds ``hub``).

    Raises:
        UsageError: there is none; the message names those there are.
    """
    own = name.split(":", 1)[0]
    if (kind, own) not in _COMPONENTS:
        _import_own(kind, own)
    found = _COMPONENTS.get((kind, own))
    if found is None:
        raise UsageError(
            f"there is no {kind} called {name!r}",
            expected=f"one of: {', '.join(names(kind))}",
            hint=did_you_mean(name, names(kind)),
        )
    return found


def canonical(kind: str, settings: typing.Mapping[str, Any]) -> dict[str, Any]:
    """The settings with ``kind: family:ARGUMENT`` written out as ``kind: family, name: ARGUMENT``.

    Raises:
        UsageError: the component takes no argument, or has been given it twice.
    """
    found = find(kind, settings["kind"])
    _, colon, argument = settings["kind"].partition(":")
    if not colon:
        return dict(settings)
    if ARGUMENT not in found.parameters or ARGUMENT in settings:
        raise UsageError(
            f"{settings['kind']!r}: {found.name} takes no argument after a colon"
            if ARGUMENT not in found.parameters
            else f"{settings['kind']!r} is given a {ARGUMENT} as well",
            expected=found.title,
        )
    return {**settings, "kind": found.name, ARGUMENT: argument}


def build(kind: str, settings: typing.Mapping[str, Any], **given: Any) -> Any:
    """Make the component that ``settings["kind"]`` names, with the other settings.

    ``given`` are parameters that the caller supplies and the user can't write.
    """
    settings = canonical(kind, settings)
    rest = {key: value for key, value in settings.items() if key != "kind"}
    return find(kind, settings["kind"]).cls(**rest, **given)


def describe(component: Registered) -> list[dict[str, Any]]:
    """One row a parameter: name, type, default and its line of documentation."""
    rows = []
    for name, field in component.schema.model_fields.items():
        rows.append(
            {
                "name": name,
                "type": _type_name(field),
                "default": None if field.is_required() else field.get_default(),
                "required": field.is_required(),
                "about": field.description or "",
            }
        )
    return rows


def _type_name(field: FieldInfo) -> str:
    annotation = field.annotation
    if typing.get_origin(annotation) is typing.Literal:
        return " | ".join(str(value) for value in typing.get_args(annotation))
    return getattr(annotation, "__name__", str(annotation))
