"""A decoder that can also say the words that the inputs give, such as the classes of a photo or the
words of a text, even words that no training text has.

Pointer networks (Vinyals et al. 2015, arXiv:1506.03134) mixed with a decoder's own words, as by See
et al. 2017 (arXiv:1704.04368); the words are shown to the decoder as tokens, too, like the object
tags of Li et al. 2020 (arXiv:2004.06165). With the decoder's p, the attention a to the tags and a
gate g::

    p(word) = (1 - g) p_decoder(word) + g · (sum of a over the tags that are this word)

Shapes: B records, N texts, L text tokens, T input tokens, K tags, D width, H width of the decoder's
hidden vectors, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from plait.data.vocabulary import UNK
from plait.outputs.text.decoders.networks.base import DecoderNetwork, DecoderState
from plait.outputs.text.search import DECODER
from plait.types import Fused, Tokens

CLOSED = -2.0  # the gate's initial bias: at first the decoder speaks for itself
DROPPED = 0.1  # of the tags, in training: the decoder must not rely on any
POINTER = "pointer"
LEAST = 1e-9  # probability of a word, for its logarithm


class PointerNetwork(DecoderNetwork):
    """The decoder, and a pointer to the tags of the inputs.

    Args:
        decoder: what says the other words.
        width: of the fused tokens.
        words: input -> for each of its tag names the token id that stands for it, `UNK` where
            there is none.
    """

    def __init__(
        self, decoder: DecoderNetwork, width: int, words: Mapping[str, Sequence[int]]
    ) -> None:
        super().__init__()
        self.decoder, self.inputs, self.width = decoder, tuple(words), decoder.width
        for number, ids in enumerate(words.values()):
            self.register_buffer(f"words{number}", torch.tensor(ids), persistent=False)
        self.project = nn.Linear(decoder.embedding.embedding_dim, width)
        self.mark = nn.Parameter(torch.randn(width) * 0.02)  # tells tags from the inputs' tokens
        self.strength = nn.Parameter(torch.zeros(width))
        self.key = nn.Linear(width, decoder.width)
        self.query = nn.Linear(decoder.width, decoder.width)
        self.gate = nn.Linear(decoder.width, 1)
        nn.init.constant_(self.gate.bias, CLOSED)

    def tags(self, fused: Fused) -> tuple[Tensor, Tensor]:
        """The token ids of all inputs' tags, (B, K), and their weights."""
        ids, weights = [], []
        for number, name in enumerate(self.inputs):
            tags = fused.parts[name].tags
            assert tags is not None
            words: Tensor = getattr(self, f"words{number}")[tags.ids]
            ids.append(words)
            weights.append(torch.where(words == UNK, 0.0, tags.weights.float()))
        return torch.cat(ids, dim=1), torch.cat(weights, dim=1)

    def start(self, fused: Fused) -> DecoderState:
        """The decoder's state, which has seen the tags among the tokens; the pointer's keys, and
        the words that they stand for."""
        words, weights = self.tags(fused)
        mask = weights > 0
        if self.training:
            mask = mask & (torch.rand(mask.shape, device=mask.device) >= DROPPED)
        values = self.project(self.decoder.embedding(words)) + self.mark
        values = values + weights[..., None] * self.strength  # (B, K, D)
        tokens = fused.tokens
        together = Tokens(
            torch.cat([tokens.values, values.to(tokens.values.dtype)], dim=1),
            torch.cat([tokens.mask, mask], dim=1),
        )
        pointer = {"key": self.key(values), "mask": mask, "words": words}
        states = {
            DECODER: self.decoder.start(replace(fused, tokens=together)),
            POINTER: DecoderState(pointer, {}),
        }
        return DecoderState.together(states)

    def forward(
        self, tokens: Tensor, state: DecoderState, attend: bool = False
    ) -> tuple[Tensor, Tensor | None, DecoderState]:
        """Hidden (N, L, H + 2 K): the decoder's, the scores of the tags, and their words."""
        hidden, looks, after = self.decoder(tokens, state.of(DECODER), attend)
        pointer = state.of(POINTER).memory
        scores = self.query(hidden) @ pointer["key"].transpose(1, 2) / math.sqrt(self.width)
        scores = scores.float().masked_fill(~pointer["mask"][:, None], float("-inf"))  # (N, L, K)
        words = pointer["words"][:, None].expand_as(scores).float()
        past = DecoderState.together({DECODER: after}).past
        whole = torch.cat([hidden.float(), scores, words], dim=-1)
        return whole, looks, DecoderState(state.memory, past)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., H + 2 K) -> (..., V), the mixture's log-probabilities."""
        count = (hidden.shape[-1] - self.width) // 2
        own, scores, words = torch.split(hidden, [self.width, count, count], dim=-1)
        there = scores > float("-inf")
        some = there.any(dim=-1, keepdim=True)
        attention = scores.masked_fill(~some, 0.0).softmax(dim=-1) * there  # (..., K)
        gate = torch.sigmoid(self.gate(own).float()) * some  # (..., 1)
        said = self.decoder.log_scores(own).exp() * (1 - gate)  # (..., V)
        return said.scatter_add(-1, words.long(), gate * attention).clamp(min=LEAST).log()
