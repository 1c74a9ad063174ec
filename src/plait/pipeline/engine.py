"""A model's components, and what runs its networks on batches: torch, or onnxruntime."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from plait.config import registry
from plait.config.recipe import OutputSpec, Recipe
from plait.modalities.base import Modality
from plait.outputs.base import Output, RawOutputs, Steps
from plait.types import State

LARGEST = 65504  # of float16

Row: TypeAlias = NDArray[np.float16] | NDArray[np.int32]
"""One record's features, (L, ...)."""


def to_row(features: NDArray[Any]) -> Row:
    """As they are stored: float16, clipped to ±65,504, or int32."""
    if np.issubdtype(features.dtype, np.floating):
        return features.clip(-LARGEST, LARGEST).astype(np.float16)
    return features.astype(np.int32)


def padded(
    rows: Sequence[Row | None], example: Row
) -> tuple[NDArray[np.float32] | NDArray[np.int64], NDArray[np.int64]]:
    """Pad rows (L, ...) with zeros to one array (B, longest, ...), float32 or int64.

    Returns the array and the lengths (B,) of the rows. None is a missing row, of length 0. A batch
    in which all rows are missing is as long as ``example``, a row of the usual length.
    """
    lengths = [0 if row is None else len(row) for row in rows]
    longest = max(lengths, default=0) or len(example)
    kind = np.float32 if example.dtype == np.float16 else np.int64
    values = np.zeros((len(rows), longest, *example.shape[1:]), kind)
    for value, row, length in zip(values, rows, lengths, strict=True):
        if row is not None:
            value[:length] = row
    return values, np.array(lengths, np.int64)


@dataclass(frozen=True)
class Batch:
    """B records: for each input the features that its `Encoder.prepare` gave.

    Attributes:
        prepared: input name -> (B, L, ...) float32 or int64, zeros behind the shorter records.
        lengths: input name -> (B,) int64, how much of each row is real; 0 where it is missing.
        targets: output name -> B targets; empty when predicting.
    """

    prepared: Mapping[str, NDArray[Any]]
    lengths: Mapping[str, NDArray[np.int64]]
    targets: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.lengths.values())))

    def with_inputs(self, names: Collection[str]) -> Batch:
        """The same records with all other inputs missing."""
        lengths = {k: v if k in names else np.zeros_like(v) for k, v in self.lengths.items()}
        return replace(self, lengths=lengths)

    def repeated(self, count: int) -> Batch:
        """``count`` copies of the only record, without its targets."""
        prepared = {k: np.broadcast_to(v, (count, *v.shape[1:])) for k, v in self.prepared.items()}
        return Batch(prepared, {k: np.repeat(v, count) for k, v in self.lengths.items()})

    def rows(self, which: slice) -> Batch:
        """Some of the records, without their targets."""
        return Batch(
            {name: values[which] for name, values in self.prepared.items()},
            {name: lengths[which] for name, lengths in self.lengths.items()},
        )

    @classmethod
    def concatenate(cls, batches: Sequence[Batch]) -> Batch:
        """The records of several batches of equal widths, without their targets."""
        names = batches[0].lengths
        return cls(
            {n: np.concatenate([batch.prepared[n] for batch in batches]) for n in names},
            {n: np.concatenate([batch.lengths[n] for batch in batches]) for n in names},
        )


class EncoderEngine(Protocol):
    """Runs the frozen parts of encoders. Arrays go in and come out; nothing else knows its library.

    Attributes:
        workers: threads that read and prepare cells side by side.
        chunk: items that one of them prepares at a time.
    """

    workers: int
    chunk: int

    def start_worker(self) -> None:
        """Called in each thread that is one of several: from then on it computes on one core."""

    def prepare(self, name: str, items: Sequence[NDArray[Any]]) -> list[Row]:
        """The features of an input's items, as `Modality.read` gives them: what the frozen part of
        its encoder makes of each."""

    def frozen_digest(self, name: str) -> str:
        """Changes whenever `prepare` would give something else; part of the feature cache's key."""


class Engine(EncoderEngine, Protocol):
    """Runs all networks of one model.

    Attributes:
        name: ``torch`` or ``onnx``.
        device: ``cpu`` or ``cuda``.
        side_by_side: how many batches it answers at once, each in a thread of its own that was told
            so by `start_worker`.
    """

    name: str
    device: str
    side_by_side: int

    def threads(self, records: int) -> AbstractContextManager[None]:
        """A block that uses as many threads as so many records are worth."""

    def run(self, batch: Batch) -> dict[str, tuple[RawOutputs, Steps | None]]:
        """By output what `Output.decode` takes: the network's raw outputs for a batch, and what
        runs the output's network step by step (None if it takes no steps)."""

    def fitted(self, output: str) -> State:
        """What calibration found, and `Output.decode` needs."""

    def support(self, batch: Batch, output: str, answers: Sequence[Any]) -> NDArray[np.float64]:
        """(B,) how much the model supports each record's answer. Raises UsageError if the engine
        can't tell."""

    def embed(self, batch: Batch) -> NDArray[np.float32]:
        """(B, D) the fused vectors of a batch. Raises UsageError if the engine can't tell."""


@dataclass(frozen=True)
class Parts:
    """The data sides of a recipe's inputs and outputs, by name."""

    modalities: Mapping[str, Modality]
    outputs: Mapping[str, Output]

    @property
    def components(self) -> dict[str, Any]:
        """All of them, by "inputs.NAME" and "outputs.NAME"."""
        inputs = {f"inputs.{name}": part for name, part in self.modalities.items()}
        return {**inputs, **{f"outputs.{name}": part for name, part in self.outputs.items()}}

    @property
    def states(self) -> dict[str, State]:
        """What they were fitted to, by "inputs.NAME" and "outputs.NAME"."""
        return {path: part.state for path, part in self.components.items()}

    def with_states(self, states: Mapping[str, State]) -> Parts:
        """The same components, fitted."""
        return Parts(
            {n: part.with_state(states[f"inputs.{n}"]) for n, part in self.modalities.items()},
            {n: part.with_state(states[f"outputs.{n}"]) for n, part in self.outputs.items()},
        )

    def with_inputs(self, states: Mapping[str, State]) -> Parts:
        """As `with_states`, for states that were just fitted: the outputs also learn what tags the
        inputs give."""
        fitted = {n: m.with_state(states[f"inputs.{n}"]) for n, m in self.modalities.items()}
        names = {n: m.tag_names for n, m in fitted.items() if m.tag_names}
        complete = {
            f"outputs.{n}": part.fit_inputs(states[f"outputs.{n}"], names)
            for n, part in self.outputs.items()
        }
        return self.with_states({**states, **complete})


def build_parts(recipe: Recipe, states: Mapping[str, State] | None = None) -> Parts:
    """The components of a recipe; fitted to ``states`` where these are given."""
    inputs: dict[str, Any] = {
        name: registry.build(spec.modality, spec.representation)
        for name, spec in recipe.inputs.items()
    }
    parts = Parts(inputs, {name: build_output(spec) for name, spec in recipe.outputs.items()})
    return parts if states is None else parts.with_states(states)


def build_output(spec: OutputSpec) -> Output:
    """The output that a recipe names."""
    output: Output = registry.build("output", {"kind": spec.kind, **spec.settings})
    return output
