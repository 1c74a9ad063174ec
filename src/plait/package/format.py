"""A trained model as a folder of data: no code, no pickle.

recipe.yaml          every setting, defaults written out
state.json           what was learned from the columns (vocabulary...), format, versions
weights.safetensors  the network's weights
card.md              data, licence, scores, how to reproduce
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from plait.config.recipe import Recipe, check_recipe
from plait.package.paths import CARD, FILES, RECIPE, STATE, WEIGHTS, find_package
from plait.types import PlaitError, State, UsageError
from plait.util.files import new_folder

FORMAT = 1


@dataclass(frozen=True)
class Package:
    """A package's contents, its weights still on disk."""

    folder: Path
    recipe: Recipe
    states: Mapping[str, State]
    scores: Mapping[str, Any]
    preprocessing: str


def read_package(name_or_path: str | Path) -> Package:
    """Recipe and states, checked: all files there, of this format.

    Raises:
        PlaitError: a file is missing or unreadable, or the package is of another format.
    """
    folder = find_package(name_or_path)
    for name in FILES:
        if not (folder / name).is_file():
            raise PlaitError(
                f"the package {folder} lacks {name}",
                expected=f"the files {', '.join(FILES)}",
                hint="copy the package again, whole, or train it again",
            )
    about, raw = _read_json(folder), _read_yaml(folder)
    if about.get("format") != FORMAT:
        raise PlaitError(
            f"the package {folder} has format {about.get('format')!r}",
            expected=f"format {FORMAT}, which this plait reads",
            hint="install the plait that made it, or train it again",
        )
    try:
        recipe = check_recipe(raw, warn=False)
        return Package(folder, recipe, about["states"], about["scores"], about["preprocessing"])
    except (UsageError, KeyError) as error:
        raise _damaged(folder, error) from None


def _read_json(folder: Path) -> dict[str, Any]:
    try:
        about = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(folder, error) from None
    if not isinstance(about, dict):
        raise _damaged(folder, f"{STATE} holds no mapping")
    return about


def _read_yaml(folder: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load((folder / RECIPE).read_text(encoding="utf-8"))
    except (ValueError, yaml.YAMLError) as error:
        raise _damaged(folder, error) from None
    if not isinstance(raw, dict):
        raise _damaged(folder, f"{RECIPE} holds no recipe")
    return raw


def _damaged(folder: Path, why: object) -> PlaitError:
    text = " ".join(str(why).split())
    return PlaitError(f"the package {folder} is damaged: {text}", hint="copy it again, whole")


def write_package(
    folder: Path,
    recipe: Recipe,
    states: Mapping[str, State],
    tensors: Mapping[str, Any],
    scores: Mapping[str, Any],
    preprocessing: str,
    card: str,
) -> None:
    """Write the package to a temporary folder, then rename: never a half-written one."""
    from safetensors.torch import save_file  # needs torch, which is slow to import

    about = {"format": FORMAT, "preprocessing": preprocessing, "scores": scores, "states": states}
    with new_folder(folder) as part:
        (part / RECIPE).write_text(recipe.to_yaml(), encoding="utf-8")
        (part / STATE).write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
        save_file(dict(tensors), part / WEIGHTS)
        (part / WEIGHTS).chmod(0o644)  # as the others; safetensors keeps it from other users
        (part / CARD).write_text(card, encoding="utf-8")
        check_target(folder)


def check_target(folder: Path) -> None:
    """Refuse a folder that holds anything but a package: writing would replace it.

    Raises:
        UsageError: it is a file, or holds other files.
    """
    if not folder.name:
        raise UsageError(f"{folder} can't be a package", hint="name another folder with --out")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file", hint="name another folder with --out")
    others = sorted({p.name for p in folder.iterdir()} - set(FILES)) if folder.is_dir() else []
    if others:
        raise UsageError(
            f"{folder} holds other files than a package's, {others[0]} for one",
            hint="name another folder with --out",
        )


def fingerprint(parts: Mapping[str, str]) -> str:
    """One digest of all inputs' preprocessing fingerprints."""
    text = json.dumps(dict(sorted(parts.items())))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
