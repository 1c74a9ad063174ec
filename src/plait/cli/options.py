"""What commands share: groups of options, and how their values are read."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from plait.types import UsageError

C = TypeVar("C", bound=Callable[..., Any])

DECODING, TABLE = "Decoding", "Table"
"""Headings of options in a command's help."""


def option(default: Any, about: str, *names: str, panel: str | None = None, **limits: Any) -> Any:
    """An option with its default, its help, and the heading it stands below."""
    return typer.Option(default, *names, help=about, rich_help_panel=panel, **limits)


def argument(default: Any, about: str) -> Any:
    """An argument with its default (``...`` for none) and its help."""
    return typer.Argument(default, help=about)


Model = Annotated[str, argument(..., "A shipped model, a package's folder, or hub:NAME.")]
Recipe = Annotated[str, argument(..., "A shipped recipe or a YAML file.")]
Set = Annotated[
    list[str] | None, option(..., "Override a setting: PATH=VALUE. May be repeated.", "--set")
]
Engine = Annotated[
    str,
    option(..., "torch, torch:cuda, or onnx, which starts faster (exports the model once)."),
]
AsJson = Annotated[bool, option(..., "Print JSON.", "--json")]
Split = Annotated[str | None, option(..., "Use only the train, val or test rows.", panel=TABLE)]
Column = Annotated[
    list[str] | None,
    option(
        ...,
        "The column of an input or output: NAME=COLUMN, or NAME=COLUMN,COLUMN. May be repeated.",
        "--column",
        panel=TABLE,
    ),
]
_POLICY = "What to do with a bad cell: stop, skip (its record) or missing (leave the input out)."
OnBad = Annotated[str, option(..., _POLICY, panel=TABLE)]
Missing = Annotated[
    str | None,
    option(
        ...,
        "The texts that stand for an empty cell, separated by commas. Default: NA, nan, null and "
        "others that pandas knows; for a trained model, what it was trained with.",
        panel=TABLE,
    ),
]


AllowUrls = Annotated[
    bool,
    option(
        ...,
        "Download files that are named by http or https (kept for a day).",
        "--allow-urls",
        panel=TABLE,
    ),
]


def allowing(table: Any, allow_urls: bool) -> Any:
    """A table's name, with leave to download what it names if that is given."""
    if not allow_urls:
        return table
    from plait.data.tables import AllowingUrls

    return AllowingUrls(table)


def named(files: list[str], allow_urls: bool) -> list[str]:
    """Files as the user names them, with leave to download them if that is given."""
    if not allow_urls:
        return files
    from plait.data.paths import allow_web

    return list(map(allow_web, files))


@dataclass(frozen=True)
class TableOptions:
    """How the rows of a table are read."""

    column: Column = None
    on_bad: OnBad = "stop"
    missing: Missing = None
    allow_urls: AllowUrls = False

    def read(self, table: str) -> Any:
        """The table, if it is to be read otherwise than the model would read it; else its path."""
        if self.missing is None:
            return allowing(table, self.allow_urls)
        from plait.data.tables import read_table

        return read_table(table, names([self.missing]), self.allow_urls)

    def given(self) -> dict[str, Any]:
        """The arguments of the same meaning of the Python API."""
        return {"columns": pairs("--column", self.column), "on_bad": _policy(self.on_bad)}


@dataclass(frozen=True)
class ScoredRows(TableOptions):
    """Which rows of a table are scored, and how they are read."""

    split: Split = None
    include_training: bool = option(
        False, "Also score records that the model was trained on.", "--include-training",
        panel=TABLE,
    )  # fmt: skip

    def given(self) -> dict[str, Any]:
        """The arguments of the same meaning of the Python API."""
        chosen = {"split": self.split, "include_training": self.include_training}
        return {**super().given(), **chosen}


@dataclass(frozen=True)
class TrainingOptions:
    """How a recipe is changed, and the rows of its table are read."""

    column: Column = None
    on_bad: str | None = option(None, f"{_POLICY} Default: as the recipe says.", panel=TABLE)
    missing: Missing = None
    allow_urls: AllowUrls = False
    set_: Set = None

    def read(self, table: str) -> Any:
        """What is trained on."""
        return allowing(table, self.allow_urls)

    def given(self) -> dict[str, Any]:
        """The arguments of the same meaning of the Python API."""
        texts = None if self.missing is None else json.dumps(names([self.missing]))
        return {
            "columns": pairs("--column", self.column),
            "on_bad": _policy(self.on_bad) if self.on_bad else None,
            "overrides": [*(self.set_ or []), *([f"data.missing={texts}"] if texts else [])],
        }


@dataclass(frozen=True)
class DecodingOptions:
    """How answers that are made step by step are searched for."""

    beam: int | None = option(None, "Number of beams; 1 is greedy search.", panel=DECODING)
    set_: list[str] | None = option(
        None, "Set any decoding option: NAME=VALUE. May be repeated.", "--set", panel=DECODING
    )

    def given(self) -> dict[str, Any]:
        """The options that were given; for the others the recipe's values hold."""
        given = vars(self).items()
        options = {name: value for name, value in given if name != "set_" and value is not None}
        for item in self.set_ or []:
            import yaml  # here: slow to import

            name, equals, value = item.partition("=")
            try:
                options[name] = yaml.safe_load(value)
            except yaml.YAMLError:
                equals = ""
            if not equals:
                raise UsageError(f"--set {item!r} is not a setting", expected="NAME=VALUE")
        return options


@dataclass(frozen=True)
class SamplingOptions(DecodingOptions):
    """As `DecodingOptions`, for commands that can give several answers."""

    num: int | None = option(None, "Number of answers per record, best first.", panel=DECODING)
    sample: bool | None = option(None, "Sample instead of searching.", "--sample", panel=DECODING)


def with_groups(command: C) -> C:
    """A command whose dataclass parameters stand for their fields: each becomes an option.

    Typer makes options of single parameters only. Grouped, they are declared once, and commands
    have few parameters.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        own, types = [parameter], hints
        if is_dataclass(hints[name]):
            groups[name] = hints[name]
            own = list(inspect.signature(groups[name]).parameters.values())
            types = get_type_hints(groups[name], include_extras=True)
        parameters += [
            each.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=types[each.name])
            for each in own
        ]

    @functools.wraps(command)
    def call(**given: Any) -> Any:
        for name, group in groups.items():
            given[name] = group(**{member.name: given.pop(member.name) for member in fields(group)})
        return command(**given)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in parameters}
    return call  # type: ignore[return-value]


def pairs(option: str, given: Iterable[str] | None, value: str = "COLUMN") -> dict[str, str]:
    """Name -> value, from the values ``NAME=VALUE`` of an option that may be repeated."""
    parsed = {}
    for item in given or []:
        name, equals, text = item.partition("=")
        if not (name and equals and text):
            raise UsageError(
                f"{option} {item!r} names no {value.lower()}", expected=f"NAME={value}"
            )
        parsed[name] = text
    return parsed


def names(given: Iterable[str] | None) -> list[str]:
    """The names of an option that may be repeated, or hold several with commas between them."""
    return [name.strip() for item in given or [] for name in item.split(",") if name.strip()]


def seconds(given: str | None) -> float | None:
    """A duration: ``90s``, ``20m`` or ``2h``."""
    if given is None:
        return None
    try:
        value = float(given[:-1]) * {"s": 1, "m": 60, "h": 3600}[given[-1:]]
    except (ValueError, KeyError):
        value = 0.0
    if not 0 < value < float("inf"):
        raise UsageError(
            f"--budget {given!r} is not a duration", expected="for example 90s, 20m or 2h"
        )
    return value


def print_json(value: Any) -> None:
    """Print a value for machines."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def _policy(name: str) -> str:
    from plait.data.cells import check_policy

    return check_policy(name)
