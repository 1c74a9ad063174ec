"""What a component is, and names to components: one table, filled by the modules that define them.

plait's own components lie in the folders of `FOLDERS`; those of other packages are named by the
entry points of the group ``plait.components``, each a module that registers components on import::

    [project.entry-points."plait.components"]
    points = "my_package.points"

Modules are imported when a component of theirs is asked for. Networks, which need torch, lie in
modules called ``networks``; these register nothing and are never imported from here.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, PrivateAttr
from pydantic.fields import FieldInfo
from pydantic_core.core_schema import no_info_after_validator_function
from typing_extensions import Self

from plait.types import PlaitError, State, UsageError
from plait.util.suggest import did_you_mean

log = logging.getLogger("plait")

_HOME = Path(__file__).parents[1] / "modalities"
_MODALITIES = sorted(m.name for m in pkgutil.iter_modules([str(_HOME)]) if m.ispkg)
FOLDERS: dict[str, str] = {
    **{name: f"plait.modalities.{name}" for name in _MODALITIES},
    "fusion": "plait.fusion",
    "output": "plait.outputs",
    "decoder": "plait.outputs.text.decoders",
    "language-model": "plait.outputs.text.lm",
    "metric": "plait.outputs.text.metrics",
}
"""plait's own kinds of component -> the package whose modules register them. A modality is a kind
of its own: its components are its representations."""

PLUGINS = "plait.components"
"""The group of entry points by which other packages add components."""
NETWORKS = "networks"
"""The modules that hold the components' networks."""
ARGUMENT = "name"
"""The setting that takes the part after the colon of ``family:ARGUMENT``."""

C = TypeVar("C", bound=type)


@dataclass(frozen=True)
class Nested:
    """Marks a field that holds another component's settings.

    Attributes:
        kind: the kind of the other component.
        but: names of that kind that are not accepted there.
    """

    kind: str
    but: tuple[str, ...] = ()


@dataclass(frozen=True)
class UserFile:
    """Marks a field that names a file to learn from: it must exist when a recipe is trained, not
    when a package is loaded."""


class Component(BaseModel):
    """A part of a model that a recipe names: its settings, and what it learned from its column.

    A subclass declares its settings as fields, ``Annotated[int, Field(ge=1, description="...")]``.
    The recipe's YAML, its JSON Schema, ``plait list``, the docs and the web page's forms are all
    derived from them. A setting is checked when the component is built; unknown ones are refused.

    This is the data side of a component and must import without torch. Its network side, an
    ``nn.Module``, is built on demand from the same settings and state, and lies in the module
    ``networks`` of the same folder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
    is_modality: ClassVar[bool] = False
    """Whether it represents an input: the kind that it is registered under is a modality then."""
    _state: State = PrivateAttr(default_factory=dict)

    @property
    def state(self) -> State:
        """What `fit` returned, plain JSON; empty before."""
        return self._state

    def with_state(self, state: Mapping[str, Any]) -> Self:
        """The same component, fitted: a new object that knows ``state``."""
        fitted = type(self)(**self.settings())
        fitted._state = dict(state)
        return fitted

    def settings(self) -> dict[str, Any]:
        """The settings by name, defaults included."""
        return {name: getattr(self, name) for name in type(self).model_fields}


def nested(field: FieldInfo | None) -> Nested | None:
    """The mark of a field that holds another component's settings; None for other fields."""
    return next((m for m in field.metadata if isinstance(m, Nested)), None) if field else None


@dataclass(frozen=True)
class Named:
    """Marks a field that holds the name of another component.

    Attributes:
        kind: the kind of the other component.
    """

    kind: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return no_info_after_validator_function(self._known, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> Any:
        return {**handler(schema), "enum": names(self.kind)}

    def _known(self, name: str) -> str:
        try:
            return find(self.kind, name).name
        except UsageError as error:
            raise ValueError(str(error)) from None


@dataclass(frozen=True)
class Registered:
    """A class under its name: a `Component`, or one without settings, as metrics of texts are."""

    kind: str
    name: str
    cls: type[Any]

    @property
    def fields(self) -> Mapping[str, FieldInfo]:
        """The settings."""
        return getattr(self.cls, "model_fields", {})

    @property
    def takes_argument(self) -> bool:
        """Whether it is a family, whose names are ``family:ARGUMENT``."""
        return ARGUMENT in self.fields

    @property
    def title(self) -> str:
        """How a recipe writes the name: ``hub:NAME`` for a family."""
        return f"{self.name}:NAME" if self.takes_argument else self.name

    @property
    def about(self) -> str:
        """First line of the class's docstring."""
        return (inspect.getdoc(self.cls) or "").split("\n", 1)[0]


_COMPONENTS: dict[tuple[str, str], Registered] = {}


def register(kind: str, name: str) -> Callable[[C], C]:
    """Class decorator: make the class known as ``name`` of ``kind``.

    A kind that plait does not have is a new one, and a modality if the class is a `Modality`.

    Raises:
        PlaitError: another class is registered under that name.
    """

    def add(cls: C) -> C:
        new = Registered(kind, name, cls)
        old = _COMPONENTS.setdefault((kind, name), new).cls
        if (old.__module__, old.__qualname__) != (cls.__module__, cls.__qualname__):
            raise PlaitError(
                f"{cls.__module__} registers {kind} {name!r}, which {old.__module__} has "
                "registered already"
            )
        _COMPONENTS[kind, name] = new
        return cls

    return add


def _modules(package: str, deep: bool = True) -> Iterator[str]:
    """The modules of a package that may register components; if ``deep``, also those of its
    sub-packages that belong to no other kind."""
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        path = f"{package}.{module.name}"
        if module.name == NETWORKS or path in FOLDERS.values():
            continue
        if not module.ispkg:
            yield path
        elif deep:
            yield from _modules(path)


def _import_named(kind: str, name: str) -> None:
    """Import the module of plait that is called as the component is, if there is one."""
    module = name.replace("-", "_")
    path = f"{FOLDERS.get(kind)}.{module}"
    if kind in FOLDERS and module.isidentifier() and (spec := find_spec(path)):
        importlib.import_module(path)
        for inside in _modules(path, deep=False) if spec.submodule_search_locations else ():
            importlib.import_module(inside)


@cache
def _import_all(kind: str) -> None:
    """Import every module that may register a component of the kind."""
    _import_plugins()
    if kind in FOLDERS:
        for path in _modules(FOLDERS[kind]):
            importlib.import_module(path)
    elif kind not in kinds():
        raise UsageError(
            f"there is no kind {kind!r} of component", hint=did_you_mean(kind, kinds())
        )


@cache
def _import_plugins() -> None:
    """Import the modules that other packages name; one that fails is named in a warning."""
    for entry in entry_points(group=PLUGINS):
        try:
            entry.load()
        except Exception as error:  # a plug-in may raise anything
            log.warning(
                "the plug-in %s (%s) can't be used: %s: %s",
                entry.name, entry.value, type(error).__name__, error,
            )  # fmt: skip


def kinds() -> list[str]:
    """All kinds of component, plait's own first."""
    _import_plugins()
    return list(dict.fromkeys([*FOLDERS, *(kind for kind, _ in tuple(_COMPONENTS))]))


def modalities() -> list[str]:
    """The kinds of component that are modalities, sorted."""
    _import_plugins()
    components = tuple(_COMPONENTS.values())
    added = {c.kind for c in components if getattr(c.cls, "is_modality", False)}
    return sorted({*_MODALITIES, *added})


@cache
def modality(kind: str) -> Any:
    """A class of the modality, for the facts that all its representations share. Raises UsageError
    if there is no such modality."""
    if kind not in _MODALITIES and kind not in modalities():
        raise UsageError(
            f"there is no modality {kind!r}",
            expected=f"one of: {', '.join(modalities())}",
            hint=did_you_mean(kind, modalities()),
        )
    waiting = _modules(FOLDERS[kind]) if kind in FOLDERS else iter(())
    while not (known := [c.cls for c in tuple(_COMPONENTS.values()) if c.kind == kind]):
        importlib.import_module(next(waiting))
    return known[0]


def names(kind: str) -> list[str]:
    """All registered names of a kind, sorted."""
    _import_all(kind)
    return sorted(name for k, name in tuple(_COMPONENTS) if k == kind)


def find(kind: str, name: str) -> Registered:
    """The component, also by its ``family:ARGUMENT`` form (``hub:NAME`` finds ``hub``). Raises
    UsageError if there is none; the message names those there are."""
    key = kind, name.split(":", 1)[0]
    if key not in _COMPONENTS:
        _import_named(*key)
    if key not in _COMPONENTS:
        _import_named(kind, "base")  # the simplest component of a kind may lie there
    if key not in _COMPONENTS:
        _import_all(kind)
    if key not in _COMPONENTS:
        raise UsageError(
            f"there is no {kind} called {name!r}",
            expected=f"one of: {', '.join(names(kind))}",
            hint=did_you_mean(name, names(kind)),
        )
    return _COMPONENTS[key]


def canonical(kind: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with ``kind: family:ARGUMENT`` written out as ``kind: family, name: ARGUMENT``.
    Raises UsageError if the component takes no argument, or has been given it twice."""
    component = find(kind, settings["kind"])
    _, colon, argument = settings["kind"].partition(":")
    if not colon:
        return dict(settings)
    if not component.takes_argument or ARGUMENT in settings:
        wrong = f": {component.name} takes no argument after a colon"
        if component.takes_argument:
            wrong = f" is given a {ARGUMENT} as well"
        raise UsageError(f"{settings['kind']!r}{wrong}", expected=component.title)
    return {**settings, "kind": component.name, ARGUMENT: argument}


def build(kind: str, settings: Mapping[str, Any]) -> Any:
    """Make the component that ``settings["kind"]`` names, with the other settings."""
    settings = canonical(kind, settings)
    rest = {key: value for key, value in settings.items() if key != "kind"}
    return find(kind, settings["kind"]).cls(**rest)


def describe(component: Registered) -> list[dict[str, Any]]:
    """One row per setting: name, type, default and its line of documentation."""
    return [
        {
            "name": name,
            "type": _type_name(field),
            "default": None if field.is_required() else field.get_default(),
            "required": field.is_required(),
            "about": field.description or "",
        }
        for name, field in component.fields.items()
    ]


def _type_name(field: FieldInfo) -> str:
    named = next((mark for mark in field.metadata if isinstance(mark, Named)), None)
    if named is not None:
        return " | ".join(names(named.kind))
    annotation = field.annotation
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, get_args(annotation)))
    return getattr(annotation, "__name__", str(annotation))
