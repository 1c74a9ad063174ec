"""What every component is: its settings as typed fields, and the state it was fitted to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, PrivateAttr
from typing_extensions import Self

from plait.types import State


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
