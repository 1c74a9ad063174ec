"""`gru-attention`: a recurrent decoder that attends to the input's tokens before each word."""

from __future__ import annotations

from pydantic import Field

from plait.config.registry import register
from plait.outputs.text.decoders.base import Decoder


@register("decoder", "gru-attention")
class GruAttentionDecoder(Decoder):
    """Embedding, GRU, attention over the input's tokens, add, layer norm, projection."""

    network_class = "plait.outputs.text.decoders.networks.gru_attention.GruAttentionNetwork"
    units: int = Field(default=512, ge=8, le=4096, description="GRU units")
    dropout: float = Field(default=0.3, ge=0, lt=1, description="dropout")
