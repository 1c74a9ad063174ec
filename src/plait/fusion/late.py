"""`late`: every input has its own answer, and the answers are combined.

Shapes: B records, M inputs, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from plait.config.registry import register
from plait.fusion.base import Fusion
from plait.nn.blocks import alone, shares, side_by_side
from plait.nn.branches import Branches
from plait.types import Fused, Tokens


@register("fusion", "late")
class LateFusion(Fusion):
    """Every input has its own head or decoder; their log-probabilities are combined."""

    def __init__(
        self,
        inputs: Sequence[str],
        *,
        how: Annotated[
            Literal["mean", "learned", "stacking"],
            Field(
                description="mean: all count alike; learned: a weight an input; stacking: a "
                "weight for each class (or number, or word) of each input"
            ),
        ] = "learned",
        width: Annotated[int, Field(ge=8, le=8192, description="width of a token")] = 128,
    ) -> None:
        super().__init__()
        self.width = width
        # Each branch learns from its own loss, as if it were alone; the combination only listens.
        self.branches = Branches(tuple(inputs), own=1.0, apart=True, stacked=how == "stacking")
        self.score = nn.Parameter(torch.zeros(len(inputs))) if how == "learned" else None

    def forward(self, parts: Mapping[str, Tokens], present: Mapping[str, Tensor]) -> Fused:
        """A branch an input; one that is absent does not count."""
        there = torch.stack([present[name] for name in parts], dim=1)  # (B, M)
        scores = torch.zeros_like(there, dtype=torch.float32)
        weights = shares(scores if self.score is None else scores + self.score, there)
        branches = {name: alone(name, part) for name, part in parts.items()}
        pooled = torch.stack([branch.pooled for branch in branches.values()], dim=1)  # (B, M, D)
        mean = (weights[..., None] * pooled).sum(dim=1)
        return Fused(mean, side_by_side(parts), parts, branches, weights)
