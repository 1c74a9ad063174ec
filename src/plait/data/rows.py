"""Features of one record as they are stored, and padded to batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

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
