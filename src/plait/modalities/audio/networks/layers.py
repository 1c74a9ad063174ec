"""1-D convolutions over time that give a record the same tokens alone and in a batch.

Shapes: B records, L places, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from plait.nn.blocks import length_mask, strided


def zero_behind(x: Tensor, lengths: Tensor) -> Tensor:
    """(B, L, C) with zeros behind each record's length, whatever was there before."""
    return torch.where(length_mask(lengths, x.shape[1])[..., None], x, 0.0)


class ConvLayer(nn.Module):
    """Convolution, layer norm over the channels, GELU.

    The kernel sees 2 · stride + 1 places, at least 3. Zeros lie behind each record, so that its
    end looks the same in any batch.
    """

    def __init__(self, ins: int, outs: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv1d(ins, outs, 2 * stride + 1, stride, padding=stride)
        self.norm = nn.LayerNorm(outs)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, L, C) with zeros behind each record -> (B, L / stride, C'), and the new lengths."""
        x = self.conv(x.transpose(1, 2)).transpose(1, 2)
        lengths = strided(lengths, self.stride)
        return zero_behind(nn.functional.gelu(self.norm(x)), lengths), lengths
