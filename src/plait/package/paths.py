"""Finds packages: shipped ones by name, others by folder."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

from plait.types import UsageError
from plait.util.files import is_folder
from plait.util.suggest import did_you_mean

RECIPE, STATE, WEIGHTS, CARD = "recipe.yaml", "state.json", "weights.safetensors", "card.md"
RECORDS, MANIFEST = "records.safetensors", "manifest.json"
FILES = (RECIPE, STATE, WEIGHTS, CARD, RECORDS, MANIFEST)


def shipped_models() -> list[str]:
    """The names of the shipped models."""
    folder = importlib.resources.files("plait") / "models"
    if not folder.is_dir():
        return []
    return sorted(p.name for p in folder.iterdir() if (p / RECIPE).is_file())


def find_package(name_or_path: str | Path) -> Path:
    """The folder of a package, given as a shipped model's name or a path.

    Raises:
        UsageError: there is no such model.
    """
    path = Path(name_or_path)
    if is_folder(path):
        return path
    if str(name_or_path) in shipped_models():
        return Path(str(importlib.resources.files("plait") / "models" / str(name_or_path)))
    if str(name_or_path).startswith("hub:"):
        raise UsageError(
            f"{str(name_or_path)!r} is not a package; only plait transcribe uses whole Hub models",
            expected=f"a package's folder or one of: {', '.join(shipped_models())}",
            hint="train a recipe that uses it as a component",
        )
    raise UsageError(
        f"there is no model {str(name_or_path)!r}",
        expected=f"a package's folder or one of: {', '.join(shipped_models())}",
        hint=did_you_mean(str(name_or_path), shipped_models()),
    )
