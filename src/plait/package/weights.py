"""How a package stores weights: as they are, as float16, or as int8.

In int8 every row of a matrix or convolution (its first axis) is divided by its largest absolute
value over 127 and rounded; the divisors lie beside it under `SCALE`. That is half the size of
float16. Vectors, and whatever has few numbers, stay float16.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from plait.types import Storage

SCALE = "/scale"  # after the name of an int8 tensor: its rows' divisors, (rows,)
FEW = 1024  # numbers; a smaller tensor is not worth an error
SMALLEST = 1e-12  # divisor of a row of zeros, times 127
HALF_LARGEST = 65504  # float16's


def pack(weights: Mapping[str, Tensor], storage: Storage) -> dict[str, Tensor]:
    """Named weights as they are stored.

    If a weight is too large for float16, all are stored as they are.

    Args:
        weights: name -> tensor of any type; only floats are changed.
        storage: the type.
    """
    floats = [w for w in weights.values() if w.is_floating_point() and w.numel()]
    if storage == "float32" or any(float(w.abs().max()) > HALF_LARGEST for w in floats):
        return {name: weight.cpu().contiguous() for name, weight in weights.items()}
    packed = {}
    for name, weight in weights.items():
        value = weight.detach().cpu()
        if not value.is_floating_point():
            packed[name] = value.contiguous()
        elif storage == "int8" and value.ndim > 1 and value.numel() >= FEW:
            rows = value.float().flatten(start_dim=1)
            scale = rows.abs().amax(dim=1).clamp(min=SMALLEST) / 127
            packed[name] = (rows / scale[:, None]).round().to(torch.int8).reshape(value.shape)
            packed[f"{name}{SCALE}"] = scale
        else:
            packed[name] = value.half().contiguous()
    return packed


def unpack(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `pack` stored, as float32, to the precision that was kept."""
    weights = {}
    for name, value in packed.items():
        if name.endswith(SCALE):
            continue
        if (scale := packed.get(f"{name}{SCALE}")) is not None:
            value = value.float() * scale.reshape(-1, *[1] * (value.ndim - 1))
        weights[name] = value.float() if value.dtype == torch.float16 else value
    return weights
