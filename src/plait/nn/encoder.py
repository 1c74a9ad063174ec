"""The network side of an input: from what a modality reads to tokens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from plait.types import Tokens


class Encoder(nn.Module, ABC):
    """Turns a batch of records into `Tokens`, in two steps.

    ``prepare`` is the frozen part: it has no gradient and always gives the same, so its result
    can be cached on disk, record by record. ``forward`` is the part that learns (it may do
    nothing); it gets the records of a batch with zeros behind the shorter ones.
    """

    width: int
    """D of the tokens."""
    length: int
    """The largest T of the tokens."""
    grid: tuple[int, int] | None = None
    """(rows, columns) when the tokens lie on a grid over the input."""
    pretrained: bool = False
    """Whether the part that learns starts from pretrained weights, and so learns slowly."""
    trunk: nn.Module
    """The frozen part; nn.Identity where everything learns."""

    def prepare(self, items: Sequence[Tensor]) -> list[Tensor]:
        """Records as read -> what the frozen part makes of each, (L, ...) float or integer; by
        default one after the other.

        Floats are kept as float16, integers as int32.
        """
        with torch.no_grad():
            return [self.trunk(item) for item in items]

    def prepare_batch(self, batch: Tensor) -> Tensor:
        """`prepare` of records of one length side by side, (B, L, ...) -> (B, L', ...)."""
        return torch.stack(self.prepare(list(batch)))

    @abstractmethod
    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, L, ...) from `prepare`, and how much of each row is real, (B,), 0 where the input is
        absent -> Tokens (B, T, D), absent rows masked out."""

    def train(self, mode: bool = True) -> Encoder:
        """Training mode for the part that learns; the frozen part stays in evaluation mode."""
        super().train(mode)
        self.trunk.eval()
        return self
