"""A trained model as a folder of data: no code, no pickle.

recipe.yaml          every setting, defaults written out
state.json           states fitted to the columns (vocabulary...), scores, format
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
    """A package's contents, without its weights."""

    folder: Path
    recipe: Recipe
    states: Mapping[str, State]
    scores: Mapping[str, Any]
    preprocessing: str


def read_package(name_or_path: str | Path) -> Package:
    """Read and check a package, all but its weights.

    Raises:
        UsageError: there is no such model.
        PlaitError: a file is missing or damaged, or the package has another format.
    """
    folder = find_package(name_or_path)
    for name in FILES:
        if not (folder / name).is_file():
            raise PlaitError(
                f"the package {folder} lacks {name}",
                expected=f"the files {', '.join(FILES)}",
                hint="copy the whole package again, or train it again",
            )
    about, raw = _read_json(folder), _read_yaml(folder)
    if about.get("format") != FORMAT:
        raise PlaitError(
            f"the package {folder} has format {about.get('format')!r}",
            expected=f"format {FORMAT}, which this version of plait reads",
            hint="install the version of plait that made it, or train it again",
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
        raise _damaged(folder, f"{STATE} is not a mapping")
    return about


def _read_yaml(folder: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load((folder / RECIPE).read_text(encoding="utf-8"))
    except (ValueError, yaml.YAMLError) as error:
        raise _damaged(folder, error) from None
    if not isinstance(raw, dict):
        raise _damaged(folder, f"{RECIPE} is not a recipe")
    return raw


def _damaged(folder: Path, why: object) -> PlaitError:
    text = " ".join(str(why).split())
    return PlaitError(
        f"the package {folder} is damaged: {text}", hint="copy the whole package again"
    )


def write_package(
    folder: Path,
    recipe: Recipe,
    states: Mapping[str, State],
    tensors: Mapping[str, Any],
    scores: Mapping[str, Any],
    preprocessing: str,
    card: str,
) -> None:
    """Write the package to a temporary folder, and rename it: it is never half-written."""
    from safetensors.torch import save_file  # here: imports torch, which is slow

    about = {"format": FORMAT, "preprocessing": preprocessing, "scores": scores, "states": states}
    with new_folder(folder) as part:
        (part / RECIPE).write_text(recipe.to_yaml(), encoding="utf-8")
        (part / STATE).write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
        save_file(dict(tensors), part / WEIGHTS)
        (part / WEIGHTS).chmod(0o644)  # like the other files; safetensors makes it private
        (part / CARD).write_text(card, encoding="utf-8")
        check_target(folder)


def check_target(folder: Path) -> None:
    """Refuse a folder with anything but a package in it, as writing would replace it.

    Raises:
        UsageError: the path is a file, or a folder with other files.
    """
    if not folder.name:
        raise UsageError(f"{folder} can't be a package", hint="choose another folder with --out")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file", hint="choose another folder with --out")
    others = sorted({p.name for p in folder.iterdir()} - set(FILES)) if folder.is_dir() else []
    if others:
        raise UsageError(
            f"{folder} contains files that don't belong to a package, such as {others[0]}",
            hint="choose another folder with --out",
        )


def fingerprint(parts: Mapping[str, str]) -> str:
    """A digest of the preprocessing fingerprints of all inputs."""
    text = json.dumps(dict(sorted(parts.items())))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
