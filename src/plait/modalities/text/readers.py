"""What reads the vectors of a text's words in order: shared by the representations of texts.

Shapes: B texts, L words, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from plait.blocks import EncoderBlock, masked_mean

KERNEL = 3  # words that a convolution sees at a time


def make_reader(name: str, width: int, layers: int, dropout: float, longest: int) -> nn.Module:
    """A module (B, L, D), mask (B, L) -> (B, L, D), or (B, 1, D) of the reader ``mean``.

    Args:
        name: mean, gru, cnn or transformer.
        width: D.
        layers: of the reader; the mean has none.
        dropout: between the layers.
        longest: L at the most.
    """
    if name == "mean":
        return MeanReader()
    makers = {"gru": GruReader, "cnn": CnnReader, "transformer": TransformerReader}
    return makers[name](width, layers, dropout, longest)


class MeanReader(nn.Module):
    """The words' mean, whatever their order (Iyyer et al. 2015, deep averaging)."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, L, D) -> (B, 1, D)."""
        return masked_mean(torch.where(mask[..., None], x, 0.0), mask)[:, None]


class GruReader(nn.Module):
    """Both ways; a text's end is told by its length, so that padding is never read."""

    def __init__(self, width: int, layers: int, dropout: float, longest: int) -> None:
        super().__init__()
        self.gru = nn.GRU(
            width, width // 2, layers, batch_first=True, bidirectional=True,
            dropout=dropout if layers > 1 else 0.0,
        )  # fmt: skip
        self.out = nn.Linear(2 * (width // 2), width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        lengths = mask.sum(dim=1).clamp(min=1).cpu()  # an absent text is one word of padding
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, True, enforce_sorted=False)
        read, _ = nn.utils.rnn.pad_packed_sequence(self.gru(packed)[0], True, 0.0, x.shape[1])
        return self.out(read)


class CnnReader(nn.Module):
    """Convolutions over three words, added to what they saw."""

    def __init__(self, width: int, layers: int, dropout: float, longest: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2) for _ in range(layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = torch.where(mask[..., None], x, 0.0)
            seen = layer(x.transpose(1, 2)).transpose(1, 2)
            x = norm(x + self.drop(nn.functional.gelu(seen)))
        return x


class TransformerReader(nn.Module):
    """Transformer blocks over the words and their places."""

    def __init__(self, width: int, layers: int, dropout: float, longest: int) -> None:
        super().__init__()
        heads = next(h for h in (4, 2, 1) if width % h == 0)
        self.position = nn.Parameter(torch.randn(longest, width) * 0.02)
        self.blocks = nn.ModuleList(EncoderBlock(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        first = torch.zeros_like(mask)
        first[:, 0] = ~mask.any(dim=1)  # attention to nothing at all would be no number
        x = x + self.position[: x.shape[1]]
        for block in self.blocks:
            x = block(x, mask | first)
        return self.norm(x)
