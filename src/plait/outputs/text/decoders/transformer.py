"""`transformer`: causal self-attention and attention to the input's tokens."""

from __future__ import annotations

from pydantic import Field

from plait.config.registry import register
from plait.outputs.text.decoders.base import Decoder


@register("decoder", "transformer")
class TransformerDecoder(Decoder):
    """Causal self-attention over the words, cross-attention to the input's tokens."""

    network_class = "plait.outputs.text.decoders.networks.transformer.TransformerNetwork"
    layers: int = Field(default=2, ge=1, le=24, description="decoder blocks")
    memory_layers: int = Field(
        default=1, ge=0, le=24, description="self-attention blocks over the input's tokens"
    )
    heads: int = Field(default=8, ge=1, le=64, description="attention heads")
    dropout: float = Field(default=0.3, ge=0, lt=1, description="dropout")
