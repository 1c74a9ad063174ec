"""The records that a model learned from and was chosen by, as digests that its package keeps.

Scores of such records say little about new ones. A digest is a 64-bit number, see
`Preparer.digests`: among a million records, two different ones share theirs with a chance of less
than one in ten million.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Memory:
    """Digests of records.

    Attributes:
        training: of those that the weights were learned from.
        validation: of those that the weights, thresholds and temperatures were chosen by.
    """

    training: frozenset[int] = frozenset()
    validation: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.training or self.validation)

    def __contains__(self, digest: object) -> bool:
        return digest in self.training or digest in self.validation

    def count(self, digests: Iterable[int]) -> dict[str, int]:
        """How many records the model "learned from", and how many it "was chosen by"."""
        seen = list(digests)
        learned = sum(d in self.training for d in seen)
        chosen = sum(d in self.validation and d not in self.training for d in seen)
        counts = {"learned from": learned, "was chosen by": chosen}
        return {how: count for how, count in counts.items() if count}

    def to_arrays(self) -> dict[str, NDArray[np.uint64]]:
        """As they are kept, sorted."""
        return {
            "training": np.array(sorted(self.training), np.uint64),
            "validation": np.array(sorted(self.validation), np.uint64),
        }

    @classmethod
    def of(cls, training: NDArray[np.uint64], validation: NDArray[np.uint64]) -> Memory:
        """From `to_arrays`."""
        return cls(frozenset(training.tolist()), frozenset(validation.tolist()))
