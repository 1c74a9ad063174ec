"""What a network thinks of one answer to one record when parts of the record are hidden.

Shapes: N variants of the record, P parts of an input, L steps of the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plait.data.rows import Row
from plait.modalities.segments import Kept, Segments
from plait.network import Batch, Network
from plait.outputs.base import Output
from plait.pipeline.features import PreparedInput, pad_rows
from plait.types import Prediction

AT_ONCE = 32  # variants in a batch


@dataclass(frozen=True)
class Probe:
    """One record and one answer to it.

    Attributes:
        batch: the record alone.
        layouts: of the inputs that it has.
        sources: what reads and prepares each of them.
        output: the output's name.
        asked: the output.
        prediction: its answer.
        options: of the decoding that it was found by.
    """

    batch: Batch
    layouts: Mapping[str, Segments]
    sources: Mapping[str, PreparedInput]
    output: str
    asked: Output
    prediction: Prediction
    options: Mapping[str, Any] = field(default_factory=dict)
    _rows: dict[tuple[str, bytes], Row | None] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where the record is."""
        return next(iter(self.batch.lengths.values())).device

    @property
    def answer(self) -> Any:
        """What was said."""
        return self.prediction.value

    def keeps(self, network: Network, batch: Batch) -> list[bool]:
        """For each variant, whether the answer is the same."""
        answers = network.predict(batch, **self.options)[self.output]
        return [self.asked.same(self.prediction, other.value) for other in answers]

    def times(self, count: int) -> Batch:
        """The record so many times."""
        prepared = {k: v.expand(count, *v.shape[1:]) for k, v in self.batch.prepared.items()}
        lengths = {k: v.expand(count) for k, v in self.batch.lengths.items()}
        return Batch(prepared, lengths, {})

    def without(self, kept: Mapping[str, Kept]) -> Batch:
        """The record in N variants: input -> (N, P), which of its parts are kept. An input of which
        nothing is kept is missing; those that are not named are as they are."""
        whole = self.times(len(next(iter(kept.values()))))
        prepared, lengths = dict(whole.prepared), dict(whole.lengths)
        for name, parts in kept.items():
            self._prepare(name, parts)
            rows = [self._rows[name, row.tobytes()] for row in parts]
            example = self.sources[name].example(self.device)
            values, found = pad_rows(rows, example)
            prepared[name], lengths[name] = values.to(self.device), found.to(self.device)
        return replace(whole, prepared=prepared, lengths=lengths)

    def _prepare(self, name: str, parts: Kept) -> None:
        """What the frozen encoder makes of every variant that was not met before."""
        source, layout = self.sources[name], self.layouts[name]
        new = {row.tobytes(): row for row in parts if (name, row.tobytes()) not in self._rows}
        items = {key: layout.perturb(row) for key, row in new.items() if row.any()}
        left = {key: item for key, item in items.items() if len(item)}
        rows = dict(zip(left, source.features(left.values(), self.device), strict=True))
        self._rows.update({(name, key): rows.get(key) for key in new})

    @torch.no_grad()
    def scores(self, network: Network, batch: Batch) -> Tensor:
        """(N, 1 + L): what the network thinks of the answer, and of each of its steps."""
        head, found = network.head(self.output), []
        for start in range(0, len(batch), AT_ONCE):
            fused = network.fuse(batch.rows(slice(start, start + AT_ONCE)))
            support, steps = head.steps(fused, self.answer)
            found.append(torch.cat([support.double()[:, None], steps.double()], dim=1))
        return torch.cat(found)

    def everything(self, name: str) -> Kept:
        """(P,) all parts of an input."""
        return np.ones(len(self.layouts[name].parts), bool)
