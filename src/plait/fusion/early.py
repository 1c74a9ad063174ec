"""`early`: features meet before the model decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from plait.config.registry import register
from plait.fusion.base import Fusion

if TYPE_CHECKING:
    from plait.fusion.networks import FusionNetwork


@register("fusion", "early")
class EarlyFusion(Fusion):
    """Features meet before the model decides: side by side, gated, multiplied or attending."""

    how: Annotated[
        Literal["concat", "gated", "tensor", "attention", "bottleneck"],
        Field(
            description="concat: side by side; gated: each input weighed by all; tensor: "
            "products of all, of low rank; attention: tokens attend to all; bottleneck: only "
            "through a few shared tokens"
        ),
    ] = "concat"
    width: Annotated[int, Field(ge=8, le=8192, description="width of a token")] = 128
    rank: Annotated[int, Field(ge=1, le=64, description="of the tensor's products")] = 4
    layers: Annotated[int, Field(ge=1, le=12, description="blocks of attention or bottleneck")] = 1
    heads: Annotated[int, Field(ge=1, le=64, description="heads of those blocks")] = 4
    shared: Annotated[int, Field(ge=1, le=64, description="tokens of the bottleneck")] = 4
    dropout: Annotated[float, Field(ge=0, lt=1, description="dropout")] = 0.1

    def network(self, inputs: Sequence[str]) -> FusionNetwork:
        """Makes one vector of all inputs."""
        from plait.fusion.networks import EarlyNetwork

        return EarlyNetwork(inputs, self)
