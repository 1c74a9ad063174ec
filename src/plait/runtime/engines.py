"""What answers: a package by torch, or its exported graphs by onnxruntime, which start sooner."""

from __future__ import annotations

import glob
import hashlib
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, cast, get_args

import plait
from plait.data.cells import ErrorPolicy
from plait.outputs.base import Output
from plait.outputs.options import Options
from plait.package.paths import FILES, find_package
from plait.types import Prediction, UsageError
from plait.util.files import make_folder, not_written
from plait.util.paths import cache_folder

if TYPE_CHECKING:
    from plait.explain.attention import Attention

Engine: TypeAlias = Literal["torch", "onnx"]


class Answerer(Protocol):
    """What a `Model` and an `OnnxModel` have in common."""

    @property
    def name(self) -> str:
        """The recipe's."""

    @property
    def output(self) -> str:
        """The name of the only (or first) output."""

    @property
    def inputs(self) -> Mapping[str, str]:
        """Input -> modality."""

    @property
    def outputs(self) -> Mapping[str, str]:
        """Output -> kind."""

    def answers(
        self, records: Iterable[Any], *, root: str | Path = ".", bad: ErrorPolicy | None = None,
        first_row: int = 0, shares: bool = False, **options: Any,
    ) -> Iterator[dict[str, Prediction]]:  # fmt: skip
        """Each record's answers by output."""

    def decoding_options(self, **options: Any) -> Mapping[str, Options]:
        """How each output's answers are found."""

    def attention(
        self, record: Any, prediction: Prediction, *, root: str | Path = ".",
        output: str | None = None,
    ) -> Attention:  # fmt: skip
        """Where an answer that was given looked."""

    def output_of(self, name: str) -> Output:
        """The output of that name, which knows how its answers are shown."""


def open_model(name: str, engine: str) -> Answerer:
    """A shipped model, a package's folder or an exported model's, with what is to run it.

    A package that ``onnx`` is to run is exported once, to plait's cache folder.

    Raises:
        UsageError: there is no such engine or model, or it can't be exported.
    """
    if engine not in get_args(Engine):
        raise UsageError(f"there is no engine {engine!r}", expected=" or ".join(get_args(Engine)))
    # Each engine's library is slow to import.
    if cast(Engine, engine) == "torch":
        from plait.model import load as load_package

        return load_package(name)
    from plait.runtime import load

    return load(exported(name))


def exported(name: str) -> Path:
    """The folder of an exported model: the name itself, or made of the package of that name.

    It lies in plait's cache folder, and is made anew when the package has changed.
    """
    from plait.runtime.model import FORMAT, MODEL

    if (Path(name) / MODEL).is_file():
        return Path(name)
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
    from plait.model import load as load_package
    from plait.runtime.export import export

    print(f"plait: exporting {name} once, to {folder}", file=sys.stderr)
    export(load_package(name), folder, tuned=True)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
