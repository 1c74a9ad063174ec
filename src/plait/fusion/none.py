"""`none`: one input, handed on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from plait.config.registry import register
from plait.fusion.base import Fusion

if TYPE_CHECKING:
    from plait.fusion.networks import FusionNetwork


@register("fusion", "none")
class NoFusion(Fusion):
    """One input only: its tokens go to the output as they are."""

    several_inputs: ClassVar[bool] = False

    width: Annotated[int, Field(ge=8, le=8192, description="width of a token")] = 384

    def network(self, inputs: Sequence[str]) -> FusionNetwork:
        """Hands the tokens on."""
        from plait.fusion.networks import NoFusionNetwork

        return NoFusionNetwork(self.width)
