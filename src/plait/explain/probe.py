"""How strongly a network supports one answer to one record when segments of the record are hidden.

Shapes: N variants of the record, P segments of an input, L steps of the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plait.modalities.segments import Segments
from plait.network import Network, TorchEngine
from plait.outputs.base import Options, Output
from plait.pipeline.engine import Batch, Row, padded
from plait.pipeline.inputs import InputReader
from plait.types import Prediction

AT_ONCE = 32  # variants in a batch


@dataclass(frozen=True)
class Probe:
    """One record and one answer to it."""

    batch: Batch  # the record alone
    segments: Mapping[str, Segments]  # by input, of the inputs that the record has
    readers: Mapping[str, InputReader]  # by input: what reads and prepares it
    output: str  # the output's name
    answering: Output
    prediction: Prediction  # the answer
    options: Options  # of the decoding that gave the answer
    _rows: dict[tuple[str, bytes], Row] = field(default_factory=dict)

    @property
    def answer(self) -> Any:
        """The value of the answer."""
        return self.prediction.value

    def keeps(self, network: Network, batch: Batch) -> list[bool]:
        """For each variant, whether the answer is the same: equal, or within its interval."""
        engine = TorchEngine(network)
        raw, steps = engine.run(batch)[self.output]
        answers = self.answering.decode(raw, engine.fitted(self.output), self.options, steps)
        return [self.answering.same(self.prediction, answer.value) for answer in answers]

    def perturb(self, kept: Mapping[str, NDArray[np.bool_]]) -> Batch:
        """The record in N variants.

        Args:
            kept: input -> (N, P), which of its segments stay, the others hidden. An input of which
                nothing stays is missing; an input that is not named stays whole.
        """
        whole = self.batch.repeated(len(next(iter(kept.values()))))
        prepared, lengths = dict(whole.prepared), dict(whole.lengths)
        for name, masks in kept.items():
            example = self.readers[name].example
            prepared[name], lengths[name] = padded(self._features(name, masks), example)
        return Batch(prepared, lengths)

    def _features(self, name: str, kept: NDArray[np.bool_]) -> list[Row | None]:
        """What the frozen encoder makes of each variant of an input, computed once; None where
        nothing is left of it."""
        keys = [(name, mask.tobytes()) for mask in kept]
        items = {
            key: self.segments[name].perturb(mask)
            for key, mask in zip(keys, kept, strict=True)
            if key not in self._rows and mask.any()
        }
        items = {key: item for key, item in items.items() if len(item)}
        rows = self.readers[name].features(items.values())
        self._rows.update(zip(items, rows, strict=True))
        return [self._rows.get(key) for key in keys]

    @torch.no_grad()
    def scores(self, network: Network, batch: Batch) -> Tensor:
        """(N, 1 + L): the network's support for the answer, and for each of its steps."""
        head, scores = network.head(self.output), []
        for start in range(0, len(batch), AT_ONCE):
            fused = network.fuse(batch.rows(slice(start, start + AT_ONCE)))
            support, steps = head.steps(fused, self.answer)
            scores.append(torch.cat([support.double()[:, None], steps.double()], dim=1))
        return torch.cat(scores)
