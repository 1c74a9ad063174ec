"""Where packages are: those that come with plait by name, others by their folder; and the cache."""

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
    """Names of the models that come with plait."""
    folder = importlib.resources.files("plait") / "models"
    if not folder.is_dir():
        return []
    return sorted(p.name for p in folder.iterdir() if (p / RECIPE).is_file())


def find_package(name_or_path: str | Path) -> Path:
    """The folder of a shipped model's name or of a path.

    Raises:
        UsageError: there is neither.
    """
    path = Path(name_or_path)
    if is_folder(path):
        return path
    if str(name_or_path) in shipped_models():
        return Path(str(importlib.resources.files("plait") / "models" / str(name_or_path)))
    if str(name_or_path).startswith("hub:"):
        raise UsageError(
            f"{str(name_or_path)!r} is no package; plait transcribe alone takes such a model whole",
            expected=f"a package's folder or one of: {', '.join(shipped_models())}",
            hint="train a recipe that has it as a part",
        )
    raise UsageError(
        f"there is no model {str(name_or_path)!r}",
        expected=f"a package's folder or one of: {', '.join(shipped_models())}",
        hint=did_you_mean(str(name_or_path), shipped_models()),
    )
