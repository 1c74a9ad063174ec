"""Writes a model as ONNX graphs, which `plait.runtime` runs without torch."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import numpy as np
import torch
from torch import Tensor, nn

import plait
from plait.config import registry
from plait.model import Model
from plait.network import TorchEngine, as_row
from plait.nn.base import Graph
from plait.package.format import RECIPE, RECORDS, STATE
from plait.pipeline.engine import Row, padded
from plait.runtime.engines import FORMAT, LENGTHS, MODEL, NETWORK, QUIET, Session
from plait.types import PlaitError, State, UsageError
from plait.util.files import new_folder
from plait.util.imports import needed

OPSET = 18
CLOSE = 1e-3  # how far an exported graph's numbers may be from torch's, absolute and relative


def export(model: Model, folder: str | Path, *, tuned: bool = False) -> Path:
    """Write a model as a folder that `plait.runtime.load` takes.

    ``tuned`` graphs hold operations that only onnxruntime knows, and are loaded in half the time.

    Every graph is run once it is written, on sizes other than those it was traced with, and its
    numbers are compared with torch's.

    Raises:
        UsageError: an input's representation or an output can't be exported; the message lists
            those that can.
        PlaitError: a graph can't be written, or does not give what torch gives.
    """
    needed("onnx", "export")
    needed("onnxruntime", "export")
    path = Path(folder)
    if model.network.device.type != "cpu":  # graphs are traced and run on the processor
        network = copy.deepcopy(model.network).cpu()
        model = Model(model.recipe, model.parts, TorchEngine(network), model.scores, model.memory)
    _check_target(path)
    _check_exportable(model)
    with new_folder(path) as part:
        with _quiet(), torch.no_grad():
            inputs = {name: _input(model, name, part) for name in model.recipe.inputs}
            raw = _network(model, part)
            outputs = {}
            for name in model.recipe.outputs:
                head = model.network.head(name)
                graph = head.graph(raw[name])
                file = graph and _write(graph, part, f"step-{quote(name, safe='')}.onnx")
                outputs[name] = {"fitted": head.fitted(), "graph": file}
        for graph_file in part.glob("*.onnx") if tuned else ():
            _tune(graph_file)
        about = {"format": FORMAT, "plait": plait.__version__, "scores": model.scores}
        about |= {"inputs": inputs, "outputs": outputs}
        (part / RECIPE).write_text(model.recipe.to_yaml(), encoding="utf-8")
        (part / STATE).write_text(json.dumps(model.states, ensure_ascii=False), encoding="utf-8")
        model.memory.write(part)
        (part / MODEL).write_text(json.dumps(about, indent=1), encoding="utf-8")
    return path


def _check_target(path: Path) -> None:
    """Raise UsageError if the folder holds anything but an exported model, as writing would replace
    it."""
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file", hint="name another folder")
    there = {file.name for file in path.iterdir()} if path.is_dir() else set()
    others = [n for n in there - {MODEL, RECIPE, STATE, RECORDS} if not n.endswith(".onnx")]
    if others:
        what = f"{path} holds other files than an exported model's, {min(others)} for one"
        raise UsageError(what, hint="name another folder")


def _check_exportable(model: Model) -> None:
    """Raise UsageError if a component can't run without torch; the message names those that
    can."""
    for name, spec in model.recipe.inputs.items():
        if not model.parts.modalities[name].exportable:
            kinds = [registry.find(spec.modality, n) for n in registry.names(spec.modality)]
            can = [k.title for k in kinds if getattr(k.cls, "exportable", True) is not False]
            raise UsageError(
                f"input {name!r}: {spec.modality} as {spec.representation['kind']} can't be "
                "exported",
                expected=" or ".join(can) or f"no input of the modality {spec.modality}",
            )
    for output in model.parts.outputs.values():
        output.check_exportable()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the tracer's warnings: what it could miss is found by running what it made.

    Tracing (rather than ``dynamo=True``) writes a captioner in two seconds instead of twenty, and
    keeps a GRU one operation.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _input(model: Model, name: str, folder: Path) -> State:
    """Write the frozen part of an input's encoder, if it computes anything; returns its entry in
    model.json."""
    encoder, items = model.network.encoder(name), _items(model, name)
    prepared = encoder.prepare(items[:1])[0]
    file = None
    if prepared is not items[0] and not model.parts.modalities[name].reads_prepared:
        graph = Graph(
            encoder, lambda t: {"prepared": encoder.prepare_batch(t["item"][None])[0]},
            [{"item": item} for item in items],
        )  # fmt: skip
        file = _write(graph, folder, f"prepare-{quote(name, safe='')}.onnx")
    row = as_row(prepared)
    return {"prepare": file, "row": {"shape": row.shape, "type": str(row.dtype)}}


def _items(model: Model, name: str) -> list[Tensor]:
    """Two made-up items, of the usual length and about half as long."""
    modality = model.parts.modalities[name]
    item = torch.from_numpy(modality.example())
    generator = torch.Generator().manual_seed(0)
    if item.is_floating_point():
        item = item + 0.1 * torch.randn(item.shape, generator=generator)
    if item.dtype == torch.uint8:
        item = torch.randint(256, item.shape, generator=generator, dtype=torch.uint8)
    return [item, item.clone() if modality.fixed_length else item[: -(-len(item) // 2)]]


def _network(model: Model, folder: Path) -> dict[str, list[dict[str, Tensor]]]:
    """Write everything from prepared records to raw outputs; returns two examples of these, by
    output."""
    network = model.network
    batches: tuple[dict[str, Tensor], dict[str, Tensor]] = {}, {}
    for name in model.recipe.inputs:
        prepared = network.encoder(name).prepare(_items(model, name))
        full, short = (as_row(features) for features in prepared)
        two: list[list[Row | None]] = [[full, short], [short, None, short]]
        for batch, rows in zip(batches, two, strict=True):
            values, lengths = padded(rows, full)
            batch[name] = torch.from_numpy(values)
            batch[f"{LENGTHS}{name}"] = torch.from_numpy(lengths)

    def run(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        names = list(model.recipe.inputs)
        lengths = {name: tensors[f"{LENGTHS}{name}"] for name in names}
        fused = network.fuse_tensors({name: tensors[name] for name in names}, lengths)
        raw = {name: network.head(name).raw_outputs(fused) for name in network.heads}
        return {f"{name}/{key}": v for name, own in raw.items() for key, v in own.items()}

    _write(Graph(network, run, batches), folder, NETWORK)
    results = [run(batch) for batch in batches]
    return {
        name: [
            {k[len(name) + 1 :]: v for k, v in raw.items() if k.startswith(f"{name}/")}
            for raw in results
        ]
        for name in network.heads
    }


class _Flat(nn.Module):
    """A graph's function with its tensors as positional arguments, as the exporter wants it."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.owner, self.graph = graph.owner, graph
        self.takes = list(graph.examples[0])

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The results, in order."""
        return tuple(self.graph.run(dict(zip(self.takes, tensors, strict=True))).values())


def _write(graph: Graph, folder: Path, file: str) -> str:
    """Trace a graph, write it, and run it; returns the file's name."""
    given, found = graph.examples, [graph.run(example) for example in graph.examples]
    try:
        torch.onnx.export(
            _Flat(graph).eval(), tuple(given[0].values()), folder / file, dynamo=False,
            input_names=list(given[0]), output_names=list(found[0]), opset_version=OPSET,
            dynamic_axes=_moving(*given) | _moving(*found),
        )  # fmt: skip
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        why = " ".join(str(error).split())[:200]
        raise PlaitError(f"{file} can't be exported: {why}") from None
    session = Session(folder / file, threads=1)
    for example, wanted in zip(given, found, strict=True):
        got = session({name: value.numpy() for name, value in example.items()})
        for name, value in wanted.items():
            if not np.allclose(got[name], value.numpy(), rtol=CLOSE, atol=CLOSE):
                raise PlaitError(f"{file} does not reproduce the output {name} of torch")
    return file


def _moving(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> dict[str, dict[int, str]]:
    """Name -> the axes that differ between two examples, with a name for each."""
    return {
        name: {
            axis: f"{name}.{axis}"
            for axis, (one, other) in enumerate(zip(value.shape, second[name].shape, strict=True))
            if one != other
        }
        for name, value in first.items()
    }


def _tune(path: Path) -> None:
    """Replace a graph by onnxruntime's optimised version of it, which runs on any processor."""
    runtime = needed("onnxruntime", "export")
    options, tuned = runtime.SessionOptions(), path.with_suffix(".tuned")
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tuned)
    options.log_severity_level = QUIET
    runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    tuned.replace(path)
