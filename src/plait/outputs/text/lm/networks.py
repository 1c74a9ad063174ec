"""The network of a neural language model, in torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from plait.nn.blocks import token_cross_entropy
from plait.outputs.text.decoders.networks.base import DecoderNetwork, DecoderState, teacher_forced
from plait.types import Fused, Tokens


class BlindNetwork(DecoderNetwork):
    """A decoder network for which every input is one token of zeros."""

    def __init__(self, decoder: DecoderNetwork) -> None:
        super().__init__()
        self.decoder = decoder

    def start(self, fused: Fused) -> DecoderState:
        """The decoder's own, without the input."""
        pooled = torch.zeros_like(fused.pooled)
        nothing = Tokens(pooled[:, None], torch.ones_like(pooled[:, :1], dtype=torch.bool))
        return self.decoder.start(Fused(pooled, nothing, {}))

    def forward(
        self, tokens: Tensor, state: DecoderState, attend: bool = False
    ) -> tuple[Tensor, Tensor | None, DecoderState]:
        """The decoder's own, without attention."""
        hidden, _, after = self.decoder(tokens, state)
        return hidden, None, after

    def logits(self, hidden: Tensor) -> Tensor:
        """The decoder's own."""
        return self.decoder.logits(hidden)

    def sequence_loss(
        self, fused: Fused, owners: Sequence[int], texts: Sequence[Sequence[int]]
    ) -> Tensor:
        """Mean cross-entropy of all tokens."""
        hidden, labels, _ = teacher_forced(self, self.start(fused), owners, texts)
        return token_cross_entropy(self.logits(hidden).float(), labels)
