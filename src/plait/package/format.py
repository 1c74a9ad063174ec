"""A trained model as a folder of data: no code, no pickle.

recipe.yaml          every setting, defaults written out
state.json           states fitted to the columns (vocabulary...), scores, format
weights.safetensors  the network's weights
records.safetensors  digests of the records that it learned from and was chosen by
card.md              data, licence, scores, how to reproduce
manifest.json        the SHA-256 of every other file, checked when the package is loaded
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from plait.config.recipe import Recipe, check_recipe
from plait.types import PlaitError, State, UsageError
from plait.util.files import is_folder, located, new_folder
from plait.util.suggest import did_you_mean

RECIPE, STATE, WEIGHTS, CARD = "recipe.yaml", "state.json", "weights.safetensors", "card.md"
RECORDS, MANIFEST = "records.safetensors", "manifest.json"
FILES = (RECIPE, STATE, WEIGHTS, CARD, RECORDS, MANIFEST)
FORMAT = 2
REQUIRED = {1: (RECIPE, STATE, WEIGHTS, CARD), 2: FILES}  # format -> its files
HUB = "hub:"
"""Before the name of a whole model of the Hugging Face Hub, or of a folder in its format."""
COPY_AGAIN = "copy the package again, whole, or train it again"


def shipped_models() -> list[str]:
    """The names of the shipped models."""
    folder = importlib.resources.files("plait") / "models"
    if not folder.is_dir():
        return []
    return sorted(p.name for p in folder.iterdir() if (p / RECIPE).is_file())


def find_package(name_or_path: str | Path) -> Path:
    """The folder of a package, given as a shipped model's name or a path. Raises UsageError if
    there is no such model."""
    path, name, shipped = Path(name_or_path), str(name_or_path), shipped_models()
    if is_folder(path):
        return path
    if name in shipped:
        return Path(str(importlib.resources.files("plait") / "models" / name))
    what, hint = f"there is no model {name!r}", did_you_mean(name, shipped)
    if name.startswith(HUB):
        what = f"{name!r} is a whole model of the Hub, not a package"
        hint = "adapt it to a table, which makes one: plait train captioning-hub TABLE"
    raise UsageError(
        what, expected=f"a package's folder or one of: {', '.join(shipped)}", hint=hint
    )


def model_name(name_or_path: str | Path) -> str:
    """What a model is called: a shipped model's own name, or the last part of a package's folder or
    of ``hub:NAME``. Raises UsageError if there is no such package."""
    if (name := str(name_or_path)).startswith(HUB):
        return Path(located(name.removeprefix(HUB))[0]).absolute().name
    return find_package(name_or_path).absolute().name


@dataclass(frozen=True)
class Memory:
    """Digests of the records that a model knows: scores of these say little about new ones.

    A digest is a 64-bit number, see `Preparer.digests`: among a million records, two different ones
    share theirs with a chance of less than one in ten million.

    Attributes:
        training: of the records that the weights were learned from.
        validation: of those that the weights, thresholds and temperatures were chosen by.
    """

    training: frozenset[int] = frozenset()
    validation: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.training or self.validation)

    def __contains__(self, digest: object) -> bool:
        return digest in self.training or digest in self.validation

    def __or__(self, other: Memory) -> Memory:
        return Memory(self.training | other.training, self.validation | other.validation)

    def count(self, digests: Iterable[int]) -> tuple[int, int]:
        """How many records the model learned from, and by how many others it was chosen."""
        known = [d in self.training for d in digests if d in self]
        return sum(known), len(known) - sum(known)

    def write(self, folder: Path) -> None:
        """Write them to a folder, as `RECORDS`."""
        from safetensors.numpy import save_file

        arrays = {name: np.array(sorted(kept), np.uint64) for name, kept in vars(self).items()}
        save_file(arrays, folder / RECORDS)
        (folder / RECORDS).chmod(0o644)  # like other files; safetensors hides it from other users

    @classmethod
    def read(cls, folder: Path) -> Memory:
        """What `write` wrote."""
        from safetensors.numpy import load_file

        kept = load_file(folder / RECORDS)
        return cls(*(frozenset(kept[name].tolist()) for name in ("training", "validation")))


@dataclass(frozen=True)
class Package:
    """A package's contents, its weights still on disk.

    Attributes:
        folder: where it is.
        recipe: with every default resolved.
        states: "inputs.NAME" and "outputs.NAME" -> what each component learned.
        scores: of the validation records, and how it was trained.
        preprocessing: digest of how every input is read.
        memory: the records that it learned from.
    """

    folder: Path
    recipe: Recipe
    states: Mapping[str, State]
    scores: Mapping[str, Any]
    preprocessing: str
    memory: Memory = field(default_factory=Memory)


def read_package(name_or_path: str | Path) -> Package:
    """A package whose files are all there, undamaged and of a format that this plait reads.

    Args:
        name_or_path: a shipped model's name or a package's folder.

    Raises:
        PlaitError: a file is missing, damaged or changed, or the format is another.
    """
    folder = find_package(name_or_path)
    _check_files(folder, REQUIRED[1])
    with _readable(folder):
        about = json.loads((folder / STATE).read_text(encoding="utf-8"))
        raw = yaml.safe_load((folder / RECIPE).read_text(encoding="utf-8"))
        if not isinstance(about, dict) or not isinstance(raw, dict):
            raise ValueError(f"{STATE if isinstance(raw, dict) else RECIPE} holds no mapping")
    if about.get("format") not in REQUIRED:
        raise PlaitError(
            f"the package {folder} has format {about.get('format')!r}",
            expected=f"format {FORMAT} or older",
            hint="install the plait that made it, or train it again",
        )
    _check_files(folder, REQUIRED[about["format"]])
    if about["format"] > 1:
        verify_package(folder)
    with _readable(folder):
        memory = Memory.read(folder) if about["format"] > 1 else Memory()
        states, scores, preprocessing = (about[k] for k in ("states", "scores", "preprocessing"))
        recipe = check_recipe(raw, warn=False)
        return Package(folder, recipe, states, scores, preprocessing, memory)


def verify_package(folder: Path) -> dict[str, str]:
    """Check every file against the manifest.

    Returns:
        File name -> its SHA-256.

    Raises:
        PlaitError: a file was changed, or the package has no manifest.
    """
    if not (folder / MANIFEST).is_file():
        raise PlaitError(
            f"the package {folder} has no {MANIFEST}: it can't be verified",
            expected="a package written by plait 0.2 or later",
            hint="load it with plait and save it again",
        )
    with _readable(folder):
        expected: dict[str, str] = json.loads((folder / MANIFEST).read_text())["sha256"]
    actual = {name: _sha256(folder / name) for name in FILES if name != MANIFEST}
    changed = [name for name, digest in actual.items() if expected.get(name) != digest]
    if changed:
        raise PlaitError(
            f"the package {folder} was changed after it was written: {', '.join(changed)}",
            expected=f"the files whose SHA-256 {MANIFEST} lists", hint=COPY_AGAIN,
        )  # fmt: skip
    return actual


def package_digest(name_or_path: str | Path) -> str:
    """A digest of a package's files, which changes when it is trained again. Raises as
    `find_package`, and PlaitError if a file is missing."""
    folder = find_package(name_or_path)
    names = (MANIFEST,) if (folder / MANIFEST).is_file() else REQUIRED[1]  # format 1 has none
    _check_files(folder, names)
    return " ".join(_sha256(folder / name) for name in names)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _check_files(folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        if not (folder / name).is_file():
            raise PlaitError(
                f"the package {folder} lacks {name}",
                expected=f"the files {', '.join(names)}", hint=COPY_AGAIN,
            )  # fmt: skip


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Turn whatever can't be read into one line."""
    try:
        yield
    except Exception as error:  # safetensors has an error class of its own in each version
        if isinstance(error, PlaitError) and not isinstance(error, UsageError):
            raise
        why = " ".join(str(error).split())
        raise PlaitError(f"the package {folder} is damaged: {why}", hint=COPY_AGAIN) from None


def write_package(package: Package, tensors: Mapping[str, Any], card: str) -> None:
    """Write a package to a temporary folder, then rename it: there is never half of one.

    Args:
        package: what is written, and where.
        tensors: name -> torch tensor, the network's weights.
        card: Markdown.
    """
    from safetensors.torch import save_file  # torch is slow to import

    about = {"format": FORMAT, "preprocessing": package.preprocessing}
    about |= {"scores": package.scores, "states": package.states}
    with new_folder(package.folder) as part:
        (part / RECIPE).write_text(package.recipe.to_yaml(), encoding="utf-8")
        (part / STATE).write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
        save_file(dict(tensors), part / WEIGHTS)
        (part / WEIGHTS).chmod(0o644)  # like other files; safetensors hides it from other users
        package.memory.write(part)
        (part / CARD).write_text(card, encoding="utf-8")
        write_manifest(part)
        check_target(package.folder)


def other_files(folder: Path, known: Collection[str] = FILES) -> list[str]:
    """The names of all that lies in a package's folder and is not part of it."""
    return sorted({path.name for path in folder.iterdir()} - set(known))


def write_manifest(folder: Path) -> None:
    """The digests of a package's files as they are now."""
    digests = {name: _sha256(folder / name) for name in FILES if name != MANIFEST}
    text = json.dumps({"format": FORMAT, "sha256": digests}, indent=1)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def check_target(
    folder: Path, known: Collection[str] = FILES, hint: str = "name another folder with --out"
) -> None:
    """Refuse a folder with anything but a package in it, as writing would replace it.

    Args:
        folder: where the package is to be written.
        known: the files that may be there.
        hint: for the message about other files.

    Raises:
        UsageError: the path is a file, or a folder with other files.
    """
    if not folder.name:
        raise UsageError(f"{folder} can't be a package", hint="choose another folder with --out")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file", hint="choose another folder with --out")
    if folder.is_dir() and (others := other_files(folder, known)):
        what = f"{folder} contains files that don't belong to a package, such as {others[0]}"
        raise UsageError(what, hint=hint)


def fingerprint(parts: Mapping[str, str]) -> str:
    """A digest of the preprocessing fingerprints of all inputs."""
    text = json.dumps(dict(sorted(parts.items())))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
