"""The network sides of the components.

Shapes: B records, N points, D width, M inputs, P octants, K numbers of a target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from plait.fusion.networks import FusionNetwork
from plait.nn.base import Encoder, Head
from plait.nn.blocks import masked_mean, side_by_side
from plait.types import Fused, Tokens
from plait_pointcloud.modality import OCTANTS, PointNet


class PointEncoder(Encoder):
    """A token for each octant of the cloud: (B, N, 4) -> Tokens (B, P, D).

    As in PointNet (Qi et al. 2017, arXiv:1612.00593) one network sees each point alone, and the
    maximum over points does not depend on their order. A token is made of the maximum over its
    octant and of the one over the whole cloud. Octants without points are masked out.
    """

    def __init__(self, settings: PointNet, pretrained: bool) -> None:
        super().__init__()
        width = settings.width
        self.width, self.length, self.trunk = width, len(OCTANTS), nn.Identity()
        self.each = nn.Sequential(
            nn.Linear(3, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, width),
        )
        self.join = nn.Linear(2 * width, width)

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """Points, with the octant of each."""
        features, octant = self.each(prepared[..., :3]), prepared[..., 3:].round()
        there = torch.arange(prepared.shape[1], device=lengths.device) < lengths[:, None]  # (B, N)
        inside = octant == torch.arange(self.length, device=octant.device)
        inside = inside & there[..., None]  # (B, N, P)
        whole = maximum(features, there)
        tokens = [
            self.join(torch.cat([maximum(features, part), whole], dim=1))
            for part in inside.unbind(2)
        ]
        return Tokens(torch.stack(tokens, dim=1), inside.any(1))


def maximum(features: Tensor, which: Tensor) -> Tensor:
    """Over those of the points (B, N, D) that count (B, N): (B, D), zeros where none does."""
    best = features.masked_fill(~which[..., None], -torch.inf).amax(1)
    return best.masked_fill(~which.any(1, keepdim=True), 0.0)


class AverageNetwork(FusionNetwork):
    """The mean of the inputs that are there, through one layer."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.out = nn.Linear(width, width)

    def forward(self, parts: Mapping[str, Tokens], present: Mapping[str, Tensor]) -> Fused:
        """Each input counts alike, however many tokens it has."""
        means = [masked_mean(part.values, part.mask) for part in parts.values()]
        there = torch.stack([present[name] for name in parts], dim=1)  # (B, M)
        pooled = self.out(masked_mean(torch.stack(means, dim=1), there))
        return Fused(pooled, side_by_side(parts), parts)


class VectorHead(Head):
    """K numbers, learned in deviations from their means."""

    mean: Tensor

    def __init__(self, width: int, mean: Sequence[float], deviation: float) -> None:
        super().__init__()
        self.deviation, self.out = deviation, nn.Linear(width, len(mean))
        self.register_buffer("mean", torch.tensor(mean), persistent=False)

    def errors(self, fused: Fused, targets: Any) -> Tensor:
        """(B,) mean squared errors of targets (B, K), in deviations."""
        values = self.mean.new_tensor(np.array(targets, np.float32))
        return ((self.out(fused.pooled) - (values - self.mean) / self.deviation) ** 2).mean(1)

    def loss(self, fused: Fused, targets: Any, branch: str | None = None) -> Tensor:
        """The mean squared error."""
        return self.errors(fused, targets).mean()

    def raw_outputs(self, fused: Fused) -> dict[str, Tensor]:
        """(B, K)."""
        return {"numbers": (self.out(fused.pooled) * self.deviation + self.mean).float()}

    def support(self, fused: Fused, answers: Sequence[Any]) -> Tensor:
        """The log-density of a normal distribution, up to a constant and a factor."""
        return -self.errors(fused, answers)
