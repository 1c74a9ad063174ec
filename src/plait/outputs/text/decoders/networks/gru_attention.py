"""A recurrent decoder that attends to the input's tokens before each text token.

The family of Show, Attend and Tell (Xu et al. 2015, arXiv:1502.03044) in the form of the
well-known Keras program: embedding, GRU, attention over the feature map, add, layer norm,
projection. Unlike there, the recurrent state knows the input (it starts from its pooled vector),
scores are scaled, and the attention weights are returned.

Shapes: B records, N texts, L text tokens, T input tokens, U units, V vocabulary.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from plait.outputs.text.decoders.gru_attention import GruAttentionDecoder
from plait.outputs.text.decoders.networks.base import DecoderNetwork, DecoderState
from plait.types import Fused


class GruAttentionNetwork(DecoderNetwork):
    """Embedding, GRU, attention over the input's tokens, add, layer norm, projection."""

    def __init__(
        self, settings: GruAttentionDecoder, vocabulary: int, width: int, *_: object
    ) -> None:
        """See `Decoder.network`."""
        super().__init__()
        units = self.width = settings.units
        self.embedding = nn.Embedding(vocabulary, units)
        self.initial = nn.Linear(width, units)
        self.gru = nn.GRU(units, units, batch_first=True)
        self.query = nn.Linear(units, units)
        self.key = nn.Linear(width, units)
        self.value = nn.Linear(width, units)
        self.norm = nn.LayerNorm(units)
        self.drop = nn.Dropout(settings.dropout)
        self.out = nn.Linear(units, vocabulary)

    def start(self, fused: Fused) -> DecoderState:
        """The recurrent state from the pooled vector; keys and values of the input's tokens."""
        tokens = fused.tokens
        memory = {
            "mask": tokens.mask,
            "key": self.key(tokens.values),  # (B, T, U)
            "value": self.value(tokens.values),  # (B, T, U)
        }
        hidden = torch.tanh(self.initial(fused.pooled))  # (B, U)
        return DecoderState(memory, {"hidden": hidden})

    def forward(
        self, tokens: Tensor, state: DecoderState, attend: bool = False
    ) -> tuple[Tensor, Tensor | None, DecoderState]:
        """See `DecoderNetwork.forward`."""
        memory = state.memory
        embedded = self.drop(self.embedding(tokens))  # (N, L, U)
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
