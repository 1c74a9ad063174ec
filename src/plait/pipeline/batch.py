"""Records side by side, as a network takes them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
            {name: np.concatenate([batch.prepared[name] for batch in batches]) for name in names},
            {name: np.concatenate([batch.lengths[name] for batch in batches]) for name in names},
        )
