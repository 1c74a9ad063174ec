"""Opens models: a package by torch, or its exported graphs by onnxruntime, which start sooner.

An exported model is a folder, and needs no torch:

model.json           format, what each graph is, and the scores of the package
recipe.yaml          every setting; state.json: what was learned from the columns
network.onnx         from prepared records to raw outputs
prepare-INPUT.onnx   the frozen part of an input's encoder, where it has one
step-OUTPUT.onnx     one more token, for outputs that take steps
records.safetensors  digests of the records that the model learned from, as in its package
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from safetensors import SafetensorError

import plait
from plait.config.recipe import check_recipe
from plait.model import Model, load_model
from plait.outputs.base import RawOutputs, Steps
from plait.outputs.steps import GraphSteps
from plait.package.format import FILES, HUB, RECIPE, STATE, Memory, find_package
from plait.pipeline.engine import Batch, Parts, Row, build_parts, to_row
from plait.types import PlaitError, State, UsageError
from plait.util.arguments import checked
from plait.util.files import cache_folder, digest, is_file, make_folder, not_written
from plait.util.imports import needed

FORMAT = 4
DTYPES = ("float32", "bfloat16", "float16")  # of weights
MODEL, NETWORK = "model.json", "network.onnx"
LENGTHS = "lengths/"  # before an input's name: how much of each row is real
QUIET = 3  # onnxruntime's level of errors
DAMAGE = (OSError, KeyError, TypeError, ValueError, yaml.YAMLError, SafetensorError)

Arrays = Mapping[str, NDArray[Any]]
Watch = Callable[[str, Arrays], None]
"""Called with a graph's file and all that it is given."""


@checked
def load(name_or_path: str | Path, engine: str = "torch") -> Model:
    """A trained model.

    Args:
        name_or_path: a model that comes with plait, a package's folder, an exported model's, or
            ``hub:NAME``, a captioner of the Hugging Face Hub or in a local folder.
        engine: what runs it: ``torch``, or ``onnx`` for onnxruntime, which starts sooner and needs
            no torch. A package that onnx runs is exported once, to plait's cache folder. An
            exported model always runs by onnx. ``torch:cuda`` runs on a GPU, and
            ``torch:cuda:bfloat16`` gives a Hub captioner's weights that type.

    Raises:
        UsageError: there is no such engine, device or model, or the model can't be exported.
        PlaitError: the package is incomplete or damaged, or its preprocessing is not what this
            plait would do.

    Examples:
        >>> plait.load("captioner").predict("photos/astronaut.jpg").value
        'a man in a blue shirt is standing on a football'
    """
    kind, colon, where = engine.partition(":")
    if kind not in ("torch", "onnx") or (colon and (kind == "onnx" or not where)):
        raise UsageError(
            f"there is no engine {engine!r}", expected="torch, torch:DEVICE[:DTYPE] or onnx"
        )
    if is_file(Path(name_or_path) / MODEL):
        return load_exported(name_or_path)
    if kind == "onnx" and str(name_or_path).startswith(HUB):
        raise UsageError(f"{name_or_path} can't run by onnx", expected="the engine torch")
    if kind == "onnx":
        return load_exported(exported(str(name_or_path)))
    device, _, dtype = where.rpartition(":") if where.endswith(DTYPES) else (where, "", None)
    return load_model(name_or_path, device or "cpu", dtype)


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
                from plait.runtime.export import export  # needs torch

                print(f"plait: exporting {name} once, to {folder}", file=sys.stderr)
                export(load_model(name), folder, tuned=True)
                for old in set(folder.parent.glob(f"{glob.escape(place)}-*")) - {folder}:
                    shutil.rmtree(old, ignore_errors=True)
    return folder


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


class Session:
    """A graph that is loaded."""

    def __init__(self, path: Path, threads: int, watch: Watch | None = None) -> None:
        runtime = needed("onnxruntime", "onnx")
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, QUIET
        # Threads that spin while they wait keep a core from whoever else needs it.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self.session = runtime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has a class of its own for each kind
            why = " ".join(str(error).split())[:200]
            raise PlaitError(f"{path} can't be run: {why}", hint="export the model again") from None
        self.file, self.watch = path.name, watch
        self.inputs = {item.name for item in self.session.get_inputs()}
        self.outputs = [item.name for item in self.session.get_outputs()]

    def __call__(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """Named arrays -> named arrays; those that the graph does not need are left out."""
        fed = {name: value for name, value in arrays.items() if name in self.inputs}
        if self.watch is not None:
            self.watch(self.file, fed)
        return dict(zip(self.outputs, self.session.run(None, fed), strict=True))


class OnnxEngine:
    """Runs exported graphs by onnxruntime: `plait.pipeline.engine.Engine`."""

    name = "onnx"
    device = "cpu"
    chunk = 1
    side_by_side = 1  # a graph has all cores to itself

    def __init__(
        self, folder: Path, about: State, parts: Parts, watch: Watch | None = None
    ) -> None:
        self.folder, self.about, self.parts, self.watch = folder, about, parts, watch
        self.workers = os.cpu_count() or 1
        self._sessions: dict[str, Session] = {}
        self._loading = Lock()

    def _session(self, file: str, threads: int) -> Session:
        """A graph, loaded when it is first run."""
        with self._loading:
            if file not in self._sessions:
                self._sessions[file] = Session(self.folder / file, threads, self.watch)
            return self._sessions[file]

    def start_worker(self) -> None:
        """Nothing: each item is prepared on one thread."""

    def prepare(self, name: str, items: Sequence[NDArray[Any]]) -> list[Row]:
        """See `Engine.prepare`."""
        part, modality = self.about["inputs"][name], self.parts.modalities[name]
        items = [modality.prepare(item) for item in items]
        if part["prepare"] is None:
            return [to_row(item) for item in items]
        session = self._session(part["prepare"], threads=1)
        empty = np.zeros((0, *part["row"]["shape"][1:]), part["row"]["type"])
        # A text in which a tokenizer finds nothing has no item to prepare.
        return [
            to_row(next(iter(session({"item": item}).values()))) if len(item) else empty
            for item in items
        ]

    def frozen_digest(self, name: str) -> str:
        """See `Engine.frozen_digest`."""
        file = self.about["inputs"][name]["prepare"]
        return digest("onnx", (self.folder / file).read_bytes() if file else "")

    def threads(self, records: int) -> AbstractContextManager[None]:
        """The number of cores."""
        return nullcontext()

    def run(self, batch: Batch) -> dict[str, tuple[RawOutputs, Steps | None]]:
        """See `Engine.run`."""
        lengths = {f"{LENGTHS}{name}": value for name, value in batch.lengths.items()}
        results = self._session(NETWORK, self.workers)({**batch.prepared, **lengths})
        outputs = self.about["outputs"]
        raw: dict[str, dict[str, NDArray[Any]]] = {name: {} for name in outputs}
        for path, value in results.items():
            # An output's name may hold a slash itself.
            output = next(name for name in raw if path.startswith(f"{name}/"))
            raw[output][path[len(output) + 1 :]] = value
        return {
            name: (values, GraphSteps(self._session(graph, self.workers)) if graph else None)
            for name, values in raw.items()
            for graph in [outputs[name]["graph"]]
        }

    def fitted(self, output: str) -> State:
        """See `Engine.fitted`."""
        state: State = self.about["outputs"][output]["fitted"]
        return state

    def support(self, batch: Batch, output: str, answers: Sequence[Any]) -> NDArray[np.float64]:
        """Raises UsageError: the graphs do not give it."""
        raise UsageError(
            "an exported model gives no shares of its inputs", hint="use the package itself"
        )

    def embed(self, batch: Batch) -> NDArray[np.float32]:
        """Raises UsageError: the graphs do not give it."""
        raise UsageError("an exported model gives no vectors", hint="use the package itself")


def read_about(folder: Path) -> State:
    """What model.json says.

    Raises:
        UsageError: the folder is not an exported model.
        PlaitError: it is of another format, or damaged.
    """
    path = folder / MODEL
    if not path.is_file():
        hint = "make one with: plait export MODEL FOLDER"
        what = f"{folder} is not an exported model"
        raise UsageError(what, expected=f"a folder with {MODEL}", hint=hint)
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PlaitError(f"{path} is damaged: {error}", hint="export the model again") from None
    version = about.get("format") if isinstance(about, dict) else None
    if version != FORMAT:
        what = f"{folder} has format {version!r}"
        raise PlaitError(what, expected=f"format {FORMAT}", hint="export the model again")
    return about


def load_exported(folder: str | Path, watch: Watch | None = None) -> Model:
    """An exported model's folder as a model, run by onnxruntime. Needs no torch.

    Args:
        folder: as `plait export` writes it.
        watch: called with all that the graphs are given, to calibrate them.

    Raises:
        UsageError: the folder is not an exported model.
        PlaitError: it is of another format, or damaged.
    """
    path = Path(folder)
    about = read_about(path)
    try:
        recipe = check_recipe(yaml.safe_load((path / RECIPE).read_text("utf-8")), warn=False)
        states = json.loads((path / STATE).read_text("utf-8"))
        parts, memory = build_parts(recipe, states), Memory.read(path)
    except DAMAGE as error:
        why = f"{type(error).__name__}: {error}"
        raise PlaitError(f"{path} is damaged: {why}", hint="export the model again") from None
    return Model(recipe, parts, OnnxEngine(path, about, parts, watch), about["scores"], memory)
