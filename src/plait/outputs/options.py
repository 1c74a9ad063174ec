"""How answers are found: options that a kind of output has, checked. Knows no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from plait.types import UsageError
from plait.util.suggest import did_you_mean

Changed = TypeVar("Changed", bound="Options")


class Options(BaseModel):
    """How answers are found: each kind of output adds what can be chosen when predicting."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def changed(self: Changed, **options: Any) -> Changed:
        """With some of them changed.

        Raises:
            UsageError: there is no such option, or it can't have that value.
        """
        known = type(self).model_fields
        for name in options:
            if name not in known:
                raise no_such_option(name, known)
        try:
            return type(self).model_validate({**self.model_dump(), **options})
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            got = f" is {options[name]!r}: " if name in options else ": "
            what = f"decoding option {name}".rstrip()
            raise UsageError(f"{what}{got}{first['msg'].lower()}") from None


def options_by_output(
    makers: Mapping[str, Callable[..., Options]], given: Mapping[str, Any]
) -> dict[str, Options]:
    """How the answers of each output are found. An option goes to every output that has it.

    Args:
        makers: output -> what makes its options, with some of them changed.
        given: the changed ones.

    Raises:
        UsageError: no output has one of them, or it can't have that value.
    """
    known = {name: type(make()).model_fields for name, make in makers.items()}
    together = {option: None for fields in known.values() for option in fields}
    for option in given:
        if option not in together:
            raise no_such_option(option, together)
    return {
        name: make(**{option: value for option, value in given.items() if option in known[name]})
        for name, make in makers.items()
    }


def no_such_option(name: str, known: Iterable[str]) -> UsageError:
    """The error of an option that no output has."""
    known = list(known)
    return UsageError(
        f"there is no decoding option {name!r}",
        expected=f"one of: {', '.join(known)}" if known else "none for such an answer",
        hint=did_you_mean(name, known),
    )
