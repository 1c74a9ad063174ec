"""Arguments of public functions, checked against the types that their signatures name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import cache, wraps
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from plait.types import UsageError

P = ParamSpec("P")
R = TypeVar("R")

_NUMBERS: Mapping[Any, type] = {float: Real, int: Integral}  # of numpy, too
_IN_WORDS: Mapping[Any, str] = {
    str: "a text", Path: "a path", NoneType: "None", bool: "True or False", int: "a whole number",
    float: "a number",
}  # fmt: skip


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """The function, with its arguments checked by their types when it is called: it raises
    UsageError for one that can't be what the signature says, before anything is done."""
    signature = inspect.signature(function)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError as error:  # an argument is absent, or unknown
            known = ", ".join(name for name in signature.parameters if name != "self")
            raise UsageError(str(error), expected=known) from None
        hints = _hints(function)
        for name, value in given.items():
            if name in hints and not _fits(value, hints[name]):
                shown = " ".join(f"{value!r:.60}".split())
                raise UsageError(f"{name} is {shown}", expected=_in_words(hints[name]))
        return function(*args, **kwargs)

    return call


@cache
def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The types of its parameters, without those of ``*args`` and ``**options``; of a class, of its
    attributes."""
    if isinstance(function, type):
        return get_type_hints(function)
    of = inspect.signature(function).parameters.values()
    own = {p.name: p.annotation for p in of if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    return get_type_hints(
        SimpleNamespace(__annotations__={n: a for n, a in own.items() if a is not inspect._empty}),
        function.__globals__,
    )


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value can be of a type; what a container holds is not looked at."""
    base = get_origin(hint) or hint
    if base is Any:
        return True
    if base in (Union, UnionType):
        return any(_fits(value, choice) for choice in get_args(hint))
    if base is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if isinstance(value, (str, bytes)) and base not in (str, bytes):
        return False  # a text isn't a list of letters
    if base in _NUMBERS:
        return isinstance(value, _NUMBERS[base]) and not isinstance(value, bool)
    return not isinstance(base, type) or isinstance(value, base)


def _in_words(hint: Any) -> str:
    choices = get_args(hint) if get_origin(hint) in (Union, UnionType) else [hint]
    if Path in choices:
        choices = [choice for choice in choices if choice is not str]
    *others, last = dict.fromkeys(map(_name, choices))
    return f"{', '.join(others)} or {last}" if others else last


def _name(hint: Any) -> str:
    base = get_origin(hint) or hint
    if base is Literal:
        return " or ".join(get_args(hint))
    if base is Callable:
        return "a function"
    if isinstance(base, type) and issubclass(base, Mapping):
        return "a dictionary"
    if (isinstance(base, type) and base in (list, Iterable)) or get_origin(hint) is not None:
        return "a list"
    return _IN_WORDS.get(base, f"a {getattr(base, '__name__', base)}")
