"""``--set path=value``: what the user changes of a recipe, before it is checked."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from plait.config import registry
from plait.config.component import Nested
from plait.types import UsageError

log = logging.getLogger("plait")
Settings = dict[str, Any]


def override(raw: Settings, overrides: Sequence[str]) -> Settings:
    """The recipe with ``path=value`` overrides applied; values are YAML.

    Where a component's kind is overridden, the recipe's settings that only the old kind takes are
    left out, and named in a warning.

    Raises:
        UsageError: an override is no setting.
    """
    changed = copy.deepcopy(raw)
    problems = [problem for item in overrides if (problem := _set(changed, item))]
    if problems:
        raise UsageError("; ".join(problems), expected="path=value")
    _drop_foreign(raw, changed, [item.partition("=")[0].strip() for item in overrides])
    return changed


def _set(raw: dict[str, Any], override: str) -> str:
    """Apply one ``a.b.c=value``; gives what is wrong with it."""
    path, equals, text = override.partition("=")
    if not equals or not path:
        return f"--set {override!r} is no setting"
    *parents, last = path.strip().split(".")
    node: Any = raw
    for part in parents:
        node = node.setdefault(part, {}) if isinstance(node, dict) else None
        if not isinstance(node, dict):
            return f"--set {path}: {part!r} holds no settings"
    try:
        node[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        return f"--set {path}: {text!r} is not YAML"
    return ""


def _drop_foreign(before: Settings, raw: Settings, paths: Sequence[str]) -> None:
    """Takes out of the recipe what it says of a kind that another took the place of, where the
    new one can't take it; what the overrides say themselves stays."""
    for path in paths:
        *place, last = path.split(".")
        old, new = _at(before, [*place, "kind"]), _at(raw, [*place, "kind"])
        if last != "kind" or old is None or old == new:
            continue
        place += ["settings"] if len(place) == 2 and place[0] == "outputs" else []
        kept = {p.split(".")[len(place)] for p in paths if p.startswith(".".join(place) + ".")}
        settings = _at(raw, place)
        foreign = sorted(_foreign(_component(raw, place), settings) - kept - {"kind"})
        for name in foreign:
            del settings[name]
        if foreign:
            log.warning(
                "%s=%s: left out what the recipe says of %s: %s", path, new, old, ", ".join(foreign)
            )


def _at(raw: Any, place: Sequence[str]) -> Any:
    """What stands there; None where nothing does."""
    for part in place:
        raw = raw.get(part) if isinstance(raw, dict) else None
    return raw


def _component(raw: Settings, place: Sequence[str]) -> registry.Registered | None:
    """The component whose settings stand there; None where none does."""
    kind: str | None = None
    name = _at(raw, [*place, "kind"])
    match place:
        case ["fusion"]:
            kind = "fusion"
        case ["inputs", part, "representation"]:
            kind = _at(raw, ["inputs", part, "modality"])
        case ["outputs", part, "settings"]:
            kind, name = "output", _at(raw, ["outputs", part, "kind"])
        case [*outer, setting] if outer and (around := _component(raw, outer)):
            field = around.schema.model_fields.get(setting)
            marks = field.metadata if field else []
            kind = next((mark.kind for mark in marks if isinstance(mark, Nested)), None)
    try:
        return registry.find(kind, name) if kind and isinstance(name, str) else None
    except UsageError:  # said when the recipe is checked
        return None


def _foreign(component: registry.Registered | None, settings: Any) -> set[str]:
    """The settings that the component doesn't know, or whose values it can't take."""
    if component is None or not isinstance(settings, dict):
        return set()
    try:
        component.schema.model_validate({k: v for k, v in settings.items() if k != "kind"})
    except ValidationError as error:
        return {str(item["loc"][0]) for item in error.errors() if item["loc"]} & set(settings)
    return set()
