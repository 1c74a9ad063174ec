"""Applies ``--set path=value`` to a recipe, before it is checked."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from plait.config import registry
from plait.config.registry import Nested
from plait.types import UsageError

log = logging.getLogger("plait")
Settings = dict[str, Any]


def override(raw: Settings, overrides: Sequence[str]) -> Settings:
    """Apply overrides ``path=value`` to a recipe; values are YAML.

    If a component's kind is overridden, settings that only the old kind has are dropped, with a
    warning.

    Raises:
        UsageError: an override is not a valid setting.
    """
    changed = copy.deepcopy(raw)
    problems = [problem for item in overrides if (problem := _set(changed, item))]
    if problems:
        raise UsageError("; ".join(problems), expected="path=value")
    _drop_foreign(raw, changed, [item.partition("=")[0].strip() for item in overrides])
    return changed


def _set(raw: dict[str, Any], override: str) -> str:
    """Apply one override ``a.b.c=value``; returns its error, or an empty string."""
    path, equals, text = override.partition("=")
    if not equals or not path:
        return f"--set {override!r} is not a setting"
    *parents, last = path.strip().split(".")
    node: Any = raw
    for part in parents:
        node = node.setdefault(part, {}) if isinstance(node, dict) else None
        if not isinstance(node, dict):
            return f"--set {path}: {part!r} has no settings"
    try:
        node[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        return f"--set {path}: {text!r} is not YAML"
    return ""


def _drop_foreign(before: Settings, raw: Settings, paths: Sequence[str]) -> None:
    """Drop settings of a kind that was replaced, if the new kind can't take them and they weren't
    overridden themselves."""
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
            log.warning("%s=%s: dropped the settings of %s: %s", path, new, old, ", ".join(foreign))


def _at(raw: Any, place: Sequence[str]) -> Any:
    """The value at this path; None if there is none."""
    for part in place:
        raw = raw.get(part) if isinstance(raw, dict) else None
    return raw


def _component(raw: Settings, place: Sequence[str]) -> registry.Registered | None:
    """The component whose settings are at this path, if any."""
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
    except UsageError:  # reported when the recipe is checked
        return None


def _foreign(component: registry.Registered | None, settings: Any) -> set[str]:
    """The settings that the component doesn't have, or whose values it doesn't accept."""
    if component is None or not isinstance(settings, dict):
        return set()
    try:
        component.schema.model_validate({k: v for k, v in settings.items() if k != "kind"})
    except ValidationError as error:
        return {str(item["loc"][0]) for item in error.errors() if item["loc"]} & set(settings)
    return set()
