"""The network sides.

Shapes: B records, N points, D width, K numbers of a target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from plait.fusion.networks import FusionNetwork
from plait.nn.encoder import Encoder
from plait.nn.head import Head
from plait.types import Fused, Tokens


class PointEncoder(Encoder):
    """(B, N, 3) -> Tokens (B, 1, D)."""

    def __init__(self, width: int, points: int) -> None:
        super().__init__()
        self.width, self.length, self.trunk = width, 1, nn.Identity()
        self.net = nn.Sequential(
            nn.Linear(3, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, width),
        )

    def prepare(self, items: Sequence[Tensor]) -> list[Tensor]:
        return list(items)

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        real = torch.arange(prepared.shape[1], device=lengths.device) < lengths[:, None]  # (B, N)
        points = self.net(prepared).masked_fill(~real[..., None], -torch.inf)
        present = lengths > 0
        values = torch.where(present[:, None], points.amax(1), 0.0)  # (B, D)
        return Tokens(values[:, None], present[:, None])


class AverageNetwork(FusionNetwork):
    """The mean of all tokens, through one layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width, self.out = width, nn.Linear(width, width)

    def forward(self, parts: Mapping[str, Tokens], present: Mapping[str, Tensor]) -> Fused:
        values = torch.cat([tokens.values for tokens in parts.values()], dim=1)
        mask = torch.cat([tokens.mask for tokens in parts.values()], dim=1)
        weights = mask.float() / mask.sum(1, keepdim=True)
        pooled = self.out((weights[..., None] * values).sum(1))
        return Fused(pooled, Tokens(values, mask), parts)


class VectorHead(Head):
    """Fused -> K numbers, in deviations from a mean."""

    def __init__(
        self, width: int, size: int, name: str, mean: Sequence[float], scale: float
    ) -> None:
        super().__init__()
        self.name, self.out = name, nn.Linear(width, size)
        self.mean, self.scale = np.array(mean, np.float32), scale

    def _scaled(self, values: Any) -> Tensor:
        return torch.from_numpy((np.array(values, np.float32) - self.mean) / self.scale).float()

    def loss(self, fused: Fused, targets: Any, branch: str | None = None) -> Tensor:
        return ((self.out(fused.pooled) - self._scaled(targets)) ** 2).mean()

    def raw_outputs(self, fused: Fused) -> dict[str, Tensor]:
        return {self.name: self.out(fused.pooled).float()}

    def support(self, fused: Fused, answers: Sequence[Any]) -> Tensor:
        return -((self.out(fused.pooled) - self._scaled(list(answers))) ** 2).sum(1)
