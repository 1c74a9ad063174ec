"""`transformer`: causal self-attention and attention to the input's tokens.

Vaswani et al. 2017 (arXiv:1706.03762), with layer norms before each part (Xiong et al. 2020,
arXiv:2002.04745) and the output projection tied to the embedding (Press and Wolf 2017,
arXiv:1608.05859).
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from plait.config.registry import register
from plait.nn.blocks import Attention, EncoderBlock, FeedForward
from plait.outputs.text.decoders.base import Decoder, DecoderState
from plait.types import Fused


@register("decoder", "transformer")
class TransformerDecoder(Decoder):
    """Causal self-attention over the words, cross-attention to the input's tokens."""

    def __init__(
        self,
        vocabulary: int,
        width: int,
        max_words: int,
        *,
        layers: Annotated[int, Field(ge=1, le=24, description="decoder blocks")] = 2,
        memory_layers: Annotated[
            int, Field(ge=0, le=24, description="self-attention blocks over the input's tokens")
        ] = 1,
        heads: Annotated[int, Field(ge=1, le=64, description="attention heads")] = 8,
        dropout: Annotated[float, Field(ge=0, lt=1, description="dropout")] = 0.3,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        # Small, as the projection is tied to it: a word must not foretell itself at the start.
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.position = nn.Parameter(torch.zeros(max_words + 1, width))
        nn.init.normal_(self.position, std=0.02)
        self.memory = nn.ModuleList(
            EncoderBlock(width, heads, dropout) for _ in range(memory_layers)
        )
        self.memory_norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.drop = nn.Dropout(dropout)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def start(self, fused: Fused) -> DecoderState:
        """Keys and values of the input's tokens for each block, made once a record; those of the
        words are none so far."""
        memory, mask = fused.tokens.values, fused.tokens.mask  # (B, T, D), (B, T)
        for block in self.memory:
            memory = block(memory, mask)
        memory = self.memory_norm(memory)
        kept = {"mask": mask}
        for i, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            kept[f"key{i}"], kept[f"value{i}"] = block.look.keys_values(memory)
        past = {name: value[:, :, :0] for name, value in kept.items() if name != "mask"}
        return DecoderState(kept, past)

    def forward(
        self, words: Tensor, state: DecoderState, attend: bool = False
    ) -> tuple[Tensor, Tensor | None, DecoderState]:
        """See `Decoder.forward`; the attention is the mean over blocks and heads."""
        past = state.past["key0"].shape[2]
        x = self.embedding(words) + self.position[past : past + words.shape[1]]  # (N, L, D)
        x = self.drop(x)
        looks, after = [], DecoderState(state.memory, {})
        for i, block in enumerate(self.blocks):
            x, look = block(x, i, state, after, attend)
            looks.append(look)
        attention = torch.stack(looks).mean(0) if attend else None
        return self.norm(x), attention, after

    def logits(self, hidden: Tensor) -> Tensor:
        """Tied to the embedding."""
        return F.linear(self.drop(hidden), self.embedding.weight, self.bias)


class Block(nn.Module):
    """Self-attention, cross-attention, feed-forward."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.read = Attention(width, heads)
        self.look = Attention(width, heads)
        self.feed = FeedForward(width, 4 * width)
        self.drop = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, i: int, state: DecoderState, after: DecoderState, attend: bool
    ) -> tuple[Tensor, Tensor]:
        """(N, L, D) -> (N, L, D) and where it looked (N, L, T); puts its keys into ``after``."""
        y = self.norms[0](x)
        key, value = self.read.keys_values(y)  # (N, H, L, Dh)
        begun = state.past[f"key{i}"].shape[2] > 0
        if begun:
            key = torch.cat([state.past[f"key{i}"], key], dim=2)
            value = torch.cat([state.past[f"value{i}"], value], dim=2)
        after.past[f"key{i}"], after.past[f"value{i}"] = key, value
        # A step reads all that went before: no mask. A whole sentence reads causally.
        x = x + self.drop(self.read(y, (key, value), causal=not begun))
        memory = state.memory[f"key{i}"], state.memory[f"value{i}"]
        mask = state.memory["mask"]
        y = self.norms[1](x)
        if attend:
            out, look = self.look.with_weights(y, memory, mask)
        else:
            out, look = self.look(y, memory, mask), x.new_empty(0)
        x = x + self.drop(out)
        return x + self.drop(self.feed(self.norms[2](x))), look
