"""`gru-attention`: a recurrent decoder that looks at the input's tokens before each word.

The family of Show, Attend and Tell (Xu et al. 2015, arXiv:1502.03044) in the form of the
well-known Keras program: embedding, GRU, attention over the feature map, add, layer norm,
projection. What that program gets wrong is right here: the recurrent state sees the photo (it
starts from its pooled vector), scores are scaled, and the attention weights are returned.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from plait.config.registry import register
from plait.outputs.text.decoders.base import Decoder, DecoderState
from plait.types import Fused


@register("decoder", "gru-attention")
class GruAttentionDecoder(Decoder):
    """Embedding, GRU, attention over the input's tokens, add, layer norm, projection."""

    def __init__(
        self,
        vocabulary: int,
        width: int,
        max_words: int,
        *,
        units: Annotated[int, Field(ge=8, le=4096, description="GRU units")] = 512,
        dropout: Annotated[float, Field(ge=0, lt=1, description="dropout")] = 0.3,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, units)
        self.initial = nn.Linear(width, units)
        self.gru = nn.GRU(units, units, batch_first=True)
        self.query = nn.Linear(units, units)
        self.key = nn.Linear(width, units)
        self.value = nn.Linear(width, units)
        self.norm = nn.LayerNorm(units)
        self.drop = nn.Dropout(dropout)
        self.out = nn.Linear(units, vocabulary)

    def start(self, fused: Fused) -> DecoderState:
        """The recurrent state from the pooled vector; keys and values of the tokens."""
        tokens = fused.tokens
        memory = {
            "key": self.key(tokens.values),  # (B, T, U)
            "value": self.value(tokens.values),  # (B, T, U)
            "mask": tokens.mask,
        }
        hidden = torch.tanh(self.initial(fused.pooled))  # (B, U)
        return DecoderState(memory, {"hidden": hidden})

    def forward(
        self, words: Tensor, state: DecoderState, attend: bool = False
    ) -> tuple[Tensor, Tensor | None, DecoderState]:
        """See `Decoder.forward`."""
        memory = state.memory
        embedded = self.drop(self.embedding(words))  # (N, L, U)
        x, hidden = self.gru(embedded, state.past["hidden"][None].contiguous())  # (N, L, U)
        scores = self.query(x) @ memory["key"].transpose(1, 2) / math.sqrt(x.shape[-1])  # (N, L, T)
        weights = scores.masked_fill(~memory["mask"][:, None], float("-inf")).softmax(-1)
        seen = weights @ memory["value"]  # (N, L, U)
        out = self.drop(self.norm(x + seen))
        return out, weights if attend else None, DecoderState(memory, {"hidden": hidden[0]})

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., U) -> (..., V)."""
        out: Tensor = self.out(hidden)
        return out
