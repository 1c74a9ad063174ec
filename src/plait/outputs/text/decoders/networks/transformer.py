"""The transformer decoder of Vaswani et al. 2017 (arXiv:1706.03762), with layer norms before each
part (Xiong et al. 2020, arXiv:2002.04745) and the output projection tied to the embedding (Press
and Wolf 2017, arXiv:1608.05859).

Shapes: B records, N texts, L text tokens, T input tokens, D width, H heads, Dh = D / H.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plait.nn.blocks import Attention, EncoderBlock, FeedForward
from plait.outputs.text.decoders.networks.base import DecoderNetwork, DecoderState
from plait.outputs.text.decoders.transformer import TransformerDecoder
from plait.types import Fused


class TransformerNetwork(DecoderNetwork):
    """Causal self-attention over the text's tokens, cross-attention to the input's."""

    def __init__(
        self, settings: TransformerDecoder, vocabulary: int, width: int, max_length: int, _: bool
    ) -> None:
        """See `Decoder.network`."""
        super().__init__()
        heads, dropout, self.width = settings.heads, settings.dropout, width
        self.embedding = nn.Embedding(vocabulary, width)
        # Small, as the projection is tied to it: at first no token must predict itself.
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.position = nn.Parameter(torch.zeros(max_length + 1, width))
        nn.init.normal_(self.position, std=0.02)
        self.memory = nn.ModuleList(
            EncoderBlock(width, heads, dropout) for _ in range(settings.memory_layers)
        )
        self.memory_norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(width)
        self.drop = nn.Dropout(dropout)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def start(self, fused: Fused) -> DecoderState:
        """Keys and values of the input's tokens for each block, made once per record; the text has
        none yet."""
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
        self, tokens: Tensor, state: DecoderState, attend: bool = False
    ) -> tuple[Tensor, Tensor | None, DecoderState]:
        """See `DecoderNetwork.forward`; the attention is the mean over blocks and heads."""
        past = state.past["key0"].shape[2]
        x = self.embedding(tokens) + self.position[past : past + tokens.shape[1]]  # (N, L, D)
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
        """(N, L, D) -> (N, L, D), attention (N, L, T); puts its keys and values into ``after``."""
        y = self.norms[0](x)
        key, value = self.read.keys_values(y)  # (N, H, L, Dh)
        begun = state.past[f"key{i}"].shape[2] > 0
        if begun:
            key = torch.cat([state.past[f"key{i}"], key], dim=2)
            value = torch.cat([state.past[f"value{i}"], value], dim=2)
        after.past[f"key{i}"], after.past[f"value{i}"] = key, value
        # A step attends to all before it, without a mask; a whole text attends causally.
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
