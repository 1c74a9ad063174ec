"""`transformer`: causal self-attention and attention to the input's tokens."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from plait.config.registry import register
from plait.outputs.text.decoders.base import Decoder


@register("decoder", "transformer")
class TransformerDecoder(Decoder):
    """Causal self-attention over the words, cross-attention to the input's tokens."""

    network_class = "plait.outputs.text.decoders.networks.transformer.TransformerNetwork"
    layers: Annotated[int, Field(ge=1, le=24, description="decoder blocks")] = 2
    memory_layers: Annotated[
        int, Field(ge=0, le=24, description="self-attention blocks over the input's tokens")
    ] = 1
    heads: Annotated[int, Field(ge=1, le=64, description="attention heads")] = 8
    dropout: Annotated[float, Field(ge=0, lt=1, description="dropout")] = 0.3
