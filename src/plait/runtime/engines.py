"""Opens models: a package by torch, or its exported graphs by onnxruntime, which start sooner."""

from __future__ import annotations

import glob
import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import plait
from plait.model import Model, load_model
from plait.package.paths import FILES, find_package
from plait.runtime.onnx import FORMAT, MODEL, load_exported
from plait.types import UsageError
from plait.util.files import make_folder, not_written
from plait.util.paths import cache_folder

Engine: TypeAlias = Literal["torch", "onnx"]


def load(name_or_path: str | Path, engine: str = "torch") -> Model:
    """A trained model.

    Args:
        name_or_path: a model that comes with plait, a package's folder, or an exported model's.
        engine: what runs it: ``torch``, or ``onnx`` for onnxruntime, which starts sooner and needs
            no torch. A package that onnx runs is exported once, to plait's cache folder. An
            exported model always runs by onnx.

    Raises:
        UsageError: there is no such engine or model, or the model can't be exported.
        PlaitError: the package is incomplete or damaged, or its preprocessing is not what this
            plait would do.

    Example:
        >>> plait.load("captioner").predict("photo.jpg").value
        'a cat lies on a couch'
    """
    if engine not in get_args(Engine):
        raise UsageError(f"there is no engine {engine!r}", expected=" or ".join(get_args(Engine)))
    if (Path(name_or_path) / MODEL).is_file():
        return load_exported(name_or_path)
    if engine == "torch":
        return load_model(name_or_path)
    return load_exported(exported(str(name_or_path)))


def exported(name: str) -> Path:
    """The exported graphs of a package, in plait's cache folder, renewed when it has changed."""
    package = find_package(name)
    files = [(package / file).stat() for file in FILES if (package / file).is_file()]
    state = [FORMAT, plait.__version__, *((file.st_size, file.st_mtime_ns) for file in files)]
    place = f"{package.name}-{_digest(str(package.resolve()))}"
    folder = cache_folder() / "onnx" / f"{place}-{_digest(json.dumps(state))}"
    if not (folder / MODEL).is_file():
        from filelock import FileLock

        make_folder(cache_folder())
        try:
            held = FileLock(cache_folder() / "onnx.lock").acquire()
        except OSError as error:
            raise not_written(folder, error) from None
        with held:
            if not (folder / MODEL).is_file():  # another run may have made it meanwhile
                _export_to(folder, name)
                for old in set(folder.parent.glob(f"{glob.escape(place)}-*")) - {folder}:
                    shutil.rmtree(old, ignore_errors=True)
    return folder


def _export_to(folder: Path, name: str) -> None:
    from plait.runtime.export import export  # needs torch

    print(f"plait: exporting {name} once, to {folder}", file=sys.stderr)
    export(load_model(name), folder, tuned=True)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
