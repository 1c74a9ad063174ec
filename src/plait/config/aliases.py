"""Old names of settings, which recipes and packages written with them still use.

This is the one place that knows them. A recipe with an old name is read as if it had the new one,
and a warning says so.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from typing import Any

from plait.config import registry
from plait.config.component import Nested
from plait.types import UsageError

log = logging.getLogger("plait")

ALIASES: Mapping[str, Mapping[str, str]] = {
    "audio/*": {"longest": "max_seconds", "reader": "sequence_encoder"},
    "fusion/hybrid": {"own": "branch_loss_weight"},
    "image/*": {"fit": "resize"},
    "inputs": {"learn_with": "fit_with"},
    "output/text": {
        "scores": "metrics",
        "longest": "max_length",
        "at_a_time": "texts_per_step",
        "smoothing": "label_smoothing",
        "ctc": "ctc_weight",
        "language": "language_model",
        "detect": "detected_words",
        "detection": "detection_weight",
    },
    "outputs": {"learn_with": "fit_with"},
    "series/*": {
        "longest": "max_steps",
        "reader": "sequence_encoder",
        "hide": "channel_dropout",
    },
    "text/*": {"longest": "max_length", "reader": "sequence_encoder"},
    "text/bag-of-words": {"of": "unit", "shortest": "min_n", "longest": "max_n"},
    "video/*": {"fit": "resize", "reader": "sequence_encoder"},
}
"""Where the setting stands, "KIND/NAME" of a component, "KIND/*" for all of a kind, or a section of
the recipe such as "inputs" -> its old name -> its new name."""


def rename(raw: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A recipe as it was written, with today's names of its settings, and a note on each that had
    an old one. Where a setting has both names, the value of the old one counts: it is the one that
    an override added."""
    recipe, notes = copy.deepcopy(dict(raw)), list[str]()
    for section in ("inputs", "outputs"):
        for name, spec in _mappings(recipe.get(section)).items():
            at = f"{section}.{name}"
            _rename_keys(spec, at, section, notes)
            if section == "inputs":
                _rename_component(
                    spec.get("modality"), spec.get("representation"), f"{at}.representation", notes
                )
            else:
                settings = spec.get("settings")
                _rename_component(
                    "output", settings, f"{at}.settings", notes, name=spec.get("kind")
                )
    _rename_component("fusion", recipe.get("fusion"), "fusion", notes)
    for section in ("data", "training", "card"):
        _rename_keys(recipe.get(section), section, section, notes)
    return recipe, notes


def warn_of_old_names(what: str, notes: list[str]) -> None:
    """One line for all of a recipe's old names."""
    if notes:
        log.warning("%s uses old names of settings: %s", what, ", ".join(notes))


def _mappings(section: Any) -> dict[str, dict[str, Any]]:
    found = section.items() if isinstance(section, dict) else ()
    return {str(name): spec for name, spec in found if isinstance(spec, dict)}


def _rename_keys(settings: Any, at: str, place: str, notes: list[str]) -> None:
    if not isinstance(settings, dict):
        return
    for old, new in ALIASES.get(place, {}).items():
        if old in settings:
            settings[new] = settings.pop(old)
            notes.append(f"{at}.{old} is now {new}")


def _rename_component(
    kind: Any, settings: Any, at: str, notes: list[str], name: Any = None
) -> None:
    """The settings of a component, and of the components among them."""
    if not isinstance(settings, dict) or not isinstance(kind, str):
        return
    name = str(settings.get("kind") if name is None else name).split(":", 1)[0]
    _rename_keys(settings, at, f"{kind}/{name}", notes)
    _rename_keys(settings, at, f"{kind}/*", notes)
    inner = {key: value for key, value in settings.items() if isinstance(value, dict)}
    if not inner:
        return
    try:
        fields = registry.find(kind, name).schema.model_fields
    except UsageError:  # said when the recipe is checked
        return
    for key, value in inner.items():
        marks = fields[key].metadata if key in fields else []
        for mark in marks:
            if isinstance(mark, Nested):
                _rename_component(mark.kind, value, f"{at}.{key}", notes)
