"""`early`: features meet before the model decides."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from plait.config.registry import register
from plait.fusion.base import Fusion, Width


@register("fusion", "early")
class EarlyFusion(Fusion):
    """Fuses the tokens of all inputs, side by side or by gates, products or attention."""

    network_class = "plait.fusion.networks.EarlyNetwork"

    how: Annotated[
        Literal["concat", "gated", "tensor", "attention", "bottleneck"],
        Field(
            description="concat: inputs side by side; gated: weighted by a gate that sees all; "
            "tensor: low-rank products of all inputs; attention: all tokens attend to each other; "
            "bottleneck: only through a few shared tokens"
        ),
    ] = "concat"
    width: Width = 128
    rank: Annotated[int, Field(ge=1, le=64, description="rank of the tensor's products")] = 4
    layers: Annotated[int, Field(ge=1, le=12, description="blocks of attention or bottleneck")] = 1
    heads: Annotated[int, Field(ge=1, le=64, description="heads of those blocks")] = 4
    shared: Annotated[int, Field(ge=1, le=64, description="tokens of the bottleneck")] = 4
    dropout: Annotated[float, Field(ge=0, lt=1, description="dropout")] = 0.1
