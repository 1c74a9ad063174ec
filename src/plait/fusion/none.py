"""No fusion: one input, handed on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field
from torch import Tensor

from plait.config.registry import register
from plait.fusion.base import Fusion
from plait.nn.blocks import masked_mean
from plait.types import Fused, Tokens


@register("fusion", "none")
class NoFusion(Fusion):
    """One input only: its tokens go to the output as they are."""

    def __init__(
        self,
        inputs: Sequence[str],
        *,
        width: Annotated[int, Field(ge=8, le=8192, description="width of a token")] = 384,
    ) -> None:
        super().__init__()
        self.width = width

    def forward(self, parts: Mapping[str, Tokens], present: Mapping[str, Tensor]) -> Fused:
        """The single part's tokens, and their mean as the pooled vector."""
        ((_, tokens),) = parts.items()
        return Fused(masked_mean(tokens.values, tokens.mask), tokens, parts)
