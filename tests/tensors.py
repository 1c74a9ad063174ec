"""Features as tensors, as encoders take them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plait.modalities.base import Modality
from plait.network import EncoderEngine, as_row
from plait.pipeline.engine import Row, padded
from plait.pipeline.inputs import InputReader

__all__ = ["as_row", "as_tensor", "pad_rows", "reader"]


def as_tensor(item: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(item))


def pad_rows(rows: Sequence[Row | None], example: Row) -> tuple[Tensor, Tensor]:
    values, lengths = padded(rows, example)
    return torch.from_numpy(values), torch.from_numpy(lengths)


def reader(name: str, modality: Modality, root: Path) -> InputReader:
    """Reads cells, and prepares them by the modality's own encoder."""
    engine = EncoderEngine({name: modality.encoder(True).eval()}, torch.device("cpu"))
    return InputReader(name, modality, engine, root)
