"""What runs a model's networks: torch, or onnxruntime for its exported graphs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from plait.data.rows import Row
from plait.outputs.base import RawOutputs, Steps
from plait.pipeline.batch import Batch
from plait.types import State


class EncoderEngine(Protocol):
    """Runs the frozen parts of encoders. Arrays go in and come out; nothing else knows its library.

    Attributes:
        workers: threads that read and prepare cells side by side.
        chunk: items that one of them prepares at a time.
    """

    workers: int
    chunk: int

    def start_worker(self) -> None:
        """Called once in each worker thread."""

    def prepare(self, name: str, items: Sequence[NDArray[Any]]) -> list[Row]:
        """The features of an input's items, as `Modality.read` gives them: what the frozen part of
        its encoder makes of each."""

    def frozen_digest(self, name: str) -> str:
        """Changes when what `prepare` gives would; part of the feature cache's key."""


class Engine(EncoderEngine, Protocol):
    """Runs all networks of one model.

    Attributes:
        name: ``torch`` or ``onnx``.
        device: ``cpu`` or ``cuda``.
    """

    name: str
    device: str

    def threads(self, records: int) -> AbstractContextManager[None]:
        """Within, as many threads as answering so many records is worth."""

    def run(self, batch: Batch) -> dict[str, tuple[RawOutputs, Steps | None]]:
        """What the network gives for a batch, by output, as `Output.decode` takes it: the raw
        outputs, and what runs the output's network step by step (None if it takes no steps)."""

    def fitted(self, output: str) -> State:
        """What calibration found, and `Output.decode` needs."""

    def support(self, batch: Batch, output: str, answers: Sequence[Any]) -> NDArray[np.float64]:
        """(B,) how much the model supports each record's answer.

        Raises:
            UsageError: the engine can't tell.
        """

    def embed(self, batch: Batch) -> NDArray[np.float32]:
        """(B, D) the fused vectors of a batch.

        Raises:
            UsageError: the engine can't tell.
        """
