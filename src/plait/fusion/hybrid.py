"""`hybrid`: a joint branch and one branch an input, each with its own answer and its own loss.

Shapes: B records, M inputs, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from plait.config import registry
from plait.config.component import Nested
from plait.config.registry import register
from plait.fusion.base import Fusion
from plait.nn.blocks import alone, shares
from plait.nn.branches import Branches
from plait.types import Fused, Tokens, UsageError

JOINT = "joint"


@register("fusion", "hybrid")
class HybridFusion(Fusion):
    """A joint branch and one an input, their answers weighed by a gate that sees them all."""

    def __init__(
        self,
        inputs: Sequence[str],
        *,
        joint: Annotated[
            dict[str, Any], Nested("fusion"), Field(description="the joint branch's fusion")
        ] = {"kind": "early"},  # noqa: B006 - never changed
        own: Annotated[
            float, Field(ge=0, description="how much each branch's own loss counts")
        ] = 0.3,
    ) -> None:
        super().__init__()
        self.joint: Fusion = registry.build("fusion", joint, inputs=inputs)
        if self.joint.branches is not None or JOINT in inputs:
            what = "an input" if JOINT in inputs else f"fusion {joint['kind']!r}"
            raise UsageError(
                f"hybrid fusion: {what} can't be the joint branch",
                expected=f"a fusion without branches, and no input of the name {JOINT!r}",
            )
        self.width = self.joint.width
        names = (JOINT, *inputs)
        self.branches = Branches(names, own=own, apart=False, stacked=False)
        self.gate = nn.Linear(len(names) * self.width, len(names))
        nn.init.zeros_(self.gate.weight)  # at first all branches count alike
        nn.init.zeros_(self.gate.bias)

    def forward(self, parts: Mapping[str, Tokens], present: Mapping[str, Tensor]) -> Fused:
        """The joint branch always counts; an input's only where the input is there."""
        joint = self.joint(parts, present)
        branches = {JOINT: joint} | {name: alone(name, part) for name, part in parts.items()}
        pooled = torch.cat([branch.pooled for branch in branches.values()], dim=1)
        always = torch.ones_like(next(iter(present.values())))
        there = torch.stack([always, *(present[name] for name in parts)], dim=1)
        weights = shares(self.gate(pooled).float(), there)  # (B, 1 + M)
        return Fused(joint.pooled, joint.tokens, parts, branches, weights)
