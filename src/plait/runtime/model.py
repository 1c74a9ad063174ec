"""An exported model: reads cells, runs its graphs by onnxruntime, and answers. Knows no torch.

model.json           what each input and output is, and how cells are read
network.onnx         from prepared records to the numbers that answers are made of
prepare-INPUT.onnx   the frozen part of an input's encoder, where it has one
step-OUTPUT.onnx     a word more, for text
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from plait.config import registry
from plait.data.cells import ErrorPolicy, in_chunks, is_missing
from plait.data.rows import Row, padded, to_row
from plait.outputs.base import Output
from plait.outputs.options import Options, options_by_output
from plait.outputs.text.graph import GraphSteps
from plait.runtime.readers import make_reader
from plait.types import BadCell, PlaitError, Prediction, State, UsageError
from plait.util.imports import needed

FORMAT = 3
MODEL, NETWORK = "model.json", "network.onnx"
LENGTHS = "lengths/"  # before an input's name: how much of each row is real
BATCH = 32  # records answered at a time
QUIET = 3  # onnxruntime's level of errors

Arrays = Mapping[str, NDArray[Any]]
Watch = Callable[[str, Arrays], None]


class Session:
    """A graph that is loaded. ``watch`` is told its file and all that it is given."""

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
        self.takes = {item.name for item in self.session.get_inputs()}
        self.gives = [item.name for item in self.session.get_outputs()]

    def __call__(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """Named arrays -> named arrays; what the graph does not need is left out."""
        fed = {name: value for name, value in arrays.items() if name in self.takes}
        if self.watch is not None:
            self.watch(self.file, fed)
        return dict(zip(self.gives, self.session.run(None, fed), strict=True))


class OnnxInput:
    """One input: from a cell to a row."""

    def __init__(self, settings: State, folder: Path, watch: Watch | None) -> None:
        self.read = make_reader(settings["reading"])
        self.example: Row = np.zeros(settings["row"]["shape"], settings["row"]["type"])
        file = settings["prepare"]
        # Records are prepared side by side, each on one thread.
        self.prepare = Session(folder / file, 1, watch) if file else None

    def row(self, cell: Any, root: Path) -> Row | BadCell:
        """The record's features; or what is wrong with its cell."""
        try:
            item = self.read(cell, root)
        except BadCell as error:
            return error
        if not len(item):  # a text in which a tokenizer finds nothing
            return self.example[:0]
        if self.prepare is not None:
            (item,) = self.prepare({"item": item}).values()
        return to_row(item)


class OnnxModel:
    """An exported model.

    Attributes:
        name: the recipe's.
        inputs: input -> modality.
        outputs: output -> kind.
    """

    def __init__(self, folder: str | Path, watch: Watch | None = None) -> None:
        """``watch`` is told all that the graphs are given."""
        self.folder, self.watch = Path(folder), watch
        self.about = read_about(self.folder)
        self.name: str = self.about["name"]
        self.inputs = {name: part["modality"] for name, part in self.about["inputs"].items()}
        self.outputs = {name: part["kind"] for name, part in self.about["outputs"].items()}
        self.threads = os.cpu_count() or 1

    def __repr__(self) -> str:
        inputs, outputs = ", ".join(self.inputs), ", ".join(self.outputs)
        return f"<plait.OnnxModel {self.name!r}: {inputs} -> {outputs}>"

    @property
    def output(self) -> str:
        """The name of the only (or first) output."""
        return next(iter(self.outputs))

    @cached_property
    def _inputs(self) -> dict[str, OnnxInput]:
        inputs = self.about["inputs"].items()
        with _understood(self.folder):
            return {name: OnnxInput(part, self.folder, self.watch) for name, part in inputs}

    @cached_property
    def _network(self) -> Session:
        return Session(self.folder / NETWORK, self.threads, self.watch)

    @cached_property
    def _answers(self) -> dict[str, Output]:
        with _understood(self.folder):
            return {name: self._make(part) for name, part in self.about["outputs"].items()}

    def _make(self, part: State) -> Output:
        output: Output = registry.build("output", {"kind": part["kind"], **part["settings"]})
        return output.with_state(part["state"])

    @cached_property
    def _steps(self) -> dict[str, GraphSteps]:
        """What runs the outputs that are made step by step."""
        graphs = {name: part["graph"] for name, part in self.about["outputs"].items()}
        return {
            name: GraphSteps(Session(self.folder / graph, self.threads, self.watch))
            for name, graph in graphs.items()
            if graph is not None
        }

    def predict(self, record: Any, *, root: str | Path = ".", **options: Any) -> Prediction:
        """One record's answer, of the first output; as `Model.predict`, without shares."""
        (found,) = self.answers([record], root=root, **options)
        return found[self.output]

    def answers(
        self,
        records: Iterable[Any],
        *,
        root: str | Path = ".",
        bad: ErrorPolicy | None = None,
        first_row: int = 0,
        shares: bool = False,
        **options: Any,
    ) -> Iterator[dict[str, Prediction]]:
        """Each record's answers by output; as `Model.answers`, without shares."""
        if shares:
            raise UsageError("an exported model tells no shares", hint="use the package itself")
        chosen = self.decoding_options(**options)
        for number, chunk in enumerate(in_chunks(map(self._as_record, records), BATCH)):
            numbers = self._numbers(chunk, Path(root), first_row + number * BATCH, bad)
            found = {
                name: self._answers[name].decode(
                    _of(name, numbers), self.about["outputs"][name]["fitted"], own,
                    self._steps.get(name),
                )
                for name, own in chosen.items()
            }
            for row in zip(*found.values(), strict=True):
                yield dict(zip(found, row, strict=True))

    def decoding_options(self, **options: Any) -> dict[str, Options]:
        """How each output's answers are found, with ``options`` overriding the recipe's.

        Raises:
            UsageError: no output has such an option, or it can't have that value.
        """
        makers = {name: part.options for name, part in self._answers.items()}
        return options_by_output(makers, options)

    def output_of(self, name: str) -> Output:
        """The output of that name, which knows how its answers are shown."""
        return self._answers[name]

    def attention(
        self, record: Any, prediction: Prediction, *, root: str | Path = ".",
        output: str | None = None,
    ) -> NoReturn:  # fmt: skip
        """Raises UsageError: the graphs tell no attention."""
        raise UsageError("an exported model draws no attention", hint="use the package itself")

    def _as_record(self, record: Any) -> Mapping[str, Any]:
        names = list(self.inputs)
        if not isinstance(record, Mapping):
            if len(names) > 1:
                raise UsageError(
                    f"the model takes {', '.join(names)}", expected="a mapping from input to cell"
                )
            return {names[0]: record}
        unknown = set(record) - set(names)
        if unknown or not record:
            raise UsageError(
                f"unknown input {', '.join(sorted(unknown))}" if unknown
                else "no input in the record",
                expected=f"one at least of: {', '.join(names)}",
            )  # fmt: skip
        return record

    def _numbers(
        self, records: Sequence[Mapping[str, Any]], root: Path, start: int, bad: ErrorPolicy | None
    ) -> dict[str, NDArray[Any]]:
        fed: dict[str, NDArray[Any]] = {}
        for name, part in self._inputs.items():
            cells = [record.get(name) for record in records]
            rows = list(self._rows(name, part, cells, root, start, bad))
            there = next((row for row in rows if row is not None and len(row)), part.example)
            fed[name], fed[f"{LENGTHS}{name}"] = padded(rows, there)
        return self._network(fed)

    def _rows(
        self, name: str, part: OnnxInput, cells: Sequence[Any], root: Path, start: int,
        bad: ErrorPolicy | None,
    ) -> Iterator[Row | None]:  # fmt: skip
        """Each record's row; None where it is missing or bad."""
        there = [cell for cell in cells if not is_missing(cell)]
        with ThreadPoolExecutor(self.threads) as pool:
            found = pool.map(lambda cell: part.row(cell, root), there)
            for number, cell in enumerate(cells):
                row = None if is_missing(cell) else next(found)
                if isinstance(row, BadCell):
                    if bad is None:
                        raise row
                    bad.handle(start + number + 1, name, row)
                    bad.met.add((start + number, name))
                    row = None
                yield row


def _of(output: str, numbers: Arrays) -> dict[str, NDArray[Any]]:
    """An output's own numbers, of all."""
    start = f"{output}/"
    return {name[len(start) :]: v for name, v in numbers.items() if name.startswith(start)}


@contextmanager
def _understood(folder: Path) -> Iterator[None]:
    """What model.json tells otherwise than it should, in one line."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        why = " ".join(f"{type(error).__name__} {error}".split())[:200]
        raise PlaitError(
            f"{folder / MODEL} is damaged or of another plait: {why}", hint="export the model again"
        ) from None


def read_about(folder: Path) -> State:
    """model.json, of this format. Raises UsageError or PlaitError where it is none."""
    try:
        about: State = json.loads((folder / MODEL).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{folder} is no exported model ({getattr(error, 'strerror', None) or error})",
            expected=f"a folder with {MODEL}", hint="make one: plait export MODEL FOLDER",
        ) from None  # fmt: skip
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise PlaitError(
            f"the exported model {folder} has another format",
            expected=f"format {FORMAT}, which this plait reads", hint="export the model again",
        )  # fmt: skip
    lacks = {"name", "inputs", "outputs"} - about.keys()
    if lacks:
        raise PlaitError(
            f"{folder / MODEL} lacks {', '.join(sorted(lacks))}", hint="export the model again"
        )
    return about


def load(folder: str | Path) -> OnnxModel:
    """An exported model's folder.

    Raises:
        UsageError: it is none.
        PlaitError: it is of another format.
    """
    return OnnxModel(folder)
