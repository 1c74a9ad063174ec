"""Rows: one record's features as they are kept and put into batches. Knows no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

LARGEST = 65504  # of float16

Row: TypeAlias = NDArray[np.float16] | NDArray[np.int32]
"""One record's features, (L, ...)."""


def to_row(features: NDArray[Any]) -> Row:
    """As they are kept: float16, whose largest number is 65,504, or int32."""
    if np.issubdtype(features.dtype, np.floating):
        return features.clip(-LARGEST, LARGEST).astype(np.float16)
    return features.astype(np.int32)


def padded(
    rows: Sequence[Row | None], example: Row
) -> tuple[NDArray[np.float32] | NDArray[np.int64], NDArray[np.int64]]:
    """Rows (L, ...) of a batch as one array (B, longest, ...) with zeros behind the shorter ones,
    float32 or int64, and their lengths (B,); None is an absent row, of length 0.

    ``example`` is a row as long as they come; a batch in which all are absent is as long.
    """
    lengths = [0 if row is None else len(row) for row in rows]
    longest = max(lengths, default=0) or len(example)
    kind = np.float32 if example.dtype == np.float16 else np.int64
    values = np.zeros((len(rows), longest, *example.shape[1:]), kind)
    for value, row, length in zip(values, rows, lengths, strict=True):
        if row is not None:
            value[:length] = row
    return values, np.array(lengths, np.int64)
