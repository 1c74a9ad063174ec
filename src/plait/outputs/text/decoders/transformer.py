"""`transformer`: causal self-attention and attention to the input's tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from plait.config.registry import register
from plait.outputs.text.decoders.base import Decoder

if TYPE_CHECKING:
    from plait.outputs.text.decoders.networks.base import DecoderNetwork


@register("decoder", "transformer")
class TransformerDecoder(Decoder):
    """Causal self-attention over the words, cross-attention to the input's tokens."""

    layers: Annotated[int, Field(ge=1, le=24, description="decoder blocks")] = 2
    memory_layers: Annotated[
        int, Field(ge=0, le=24, description="self-attention blocks over the input's tokens")
    ] = 1
    heads: Annotated[int, Field(ge=1, le=64, description="attention heads")] = 8
    dropout: Annotated[float, Field(ge=0, lt=1, description="dropout")] = 0.3

    def network(
        self, vocabulary: int, width: int, max_length: int, pretrained: bool = True
    ) -> DecoderNetwork:
        """See `Decoder.network`."""
        from plait.outputs.text.decoders.networks.transformer import TransformerNetwork

        return TransformerNetwork(self, vocabulary, width, max_length)
