"""`early`: features meet before the model decides.

Shapes: B records, T tokens, D width, M inputs, R rank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from plait.config.registry import register
from plait.fusion.base import Fusion
from plait.nn.blocks import EncoderBlock, NamedModules, masked_mean, side_by_side
from plait.types import Fused, Tokens

How = Literal["concat", "gated", "tensor", "attention", "bottleneck"]


@register("fusion", "early")
class EarlyFusion(Fusion):
    """Features meet before the model decides: side by side, gated, multiplied or attending."""

    def __init__(
        self,
        inputs: Sequence[str],
        *,
        how: Annotated[
            How,
            Field(
                description="concat: side by side; gated: each input weighed by all; tensor: "
                "products of all, of low rank; attention: tokens attend to all; bottleneck: only "
                "through a few shared tokens"
            ),
        ] = "concat",
        width: Annotated[int, Field(ge=8, le=8192, description="width of a token")] = 128,
        rank: Annotated[int, Field(ge=1, le=64, description="of the tensor's products")] = 4,
        layers: Annotated[
            int, Field(ge=1, le=12, description="blocks of attention or bottleneck")
        ] = 1,
        heads: Annotated[int, Field(ge=1, le=64, description="heads of those blocks")] = 4,
        shared: Annotated[int, Field(ge=1, le=64, description="tokens of the bottleneck")] = 4,
        dropout: Annotated[float, Field(ge=0, lt=1, description="dropout")] = 0.1,
    ) -> None:
        super().__init__()
        self.width = width
        makers: dict[str, Callable[[], nn.Module]] = {
            "concat": lambda: Concat(inputs, width, dropout),
            "gated": lambda: Gated(inputs, width),
            "tensor": lambda: LowRankTensor(inputs, width, rank),
            "attention": lambda: JointAttention(inputs, width, heads, layers, dropout),
            "bottleneck": lambda: Bottleneck(inputs, width, heads, layers, shared, dropout),
        }
        self.join: nn.Module = makers[how]()

    def forward(self, parts: Mapping[str, Tokens], present: Mapping[str, Tensor]) -> Fused:
        """The parts' tokens side by side, and one vector made of them all."""
        pooled, tokens = self.join(parts)
        return Fused(pooled, tokens, parts)


def means(parts: Mapping[str, Tokens], inputs: Sequence[str]) -> list[Tensor]:
    """(B, D) of each input."""
    return [masked_mean(parts[name].values, parts[name].mask) for name in inputs]


Joined = tuple[Tensor, Tokens]


class Concat(nn.Module):
    """The inputs' means side by side, through a small network."""

    def __init__(self, inputs: Sequence[str], width: int, dropout: float) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.mix = nn.Sequential(
            nn.Linear(len(inputs) * width, width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
        )

    def forward(self, parts: Mapping[str, Tokens]) -> Joined:
        """Tokens of each input -> (B, D) and all tokens."""
        return self.mix(torch.cat(means(parts, self.inputs), dim=-1)), side_by_side(parts)


class Gated(nn.Module):
    """Gated multimodal unit (Arevalo et al. 2017, arXiv:1702.01992): every feature of every input
    is weighed by a gate that sees all inputs; the weights of a feature sum to 1 over the inputs."""

    def __init__(self, inputs: Sequence[str], width: int) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.value = nn.ModuleList(nn.Linear(width, width) for _ in inputs)
        self.gate = nn.Linear(len(inputs) * width, len(inputs) * width)

    def forward(self, parts: Mapping[str, Tokens]) -> Joined:
        """Tokens of each input -> (B, D) and all tokens."""
        each = means(parts, self.inputs)
        values = torch.stack(
            [layer(mean).tanh() for layer, mean in zip(self.value, each, strict=True)], dim=1
        )  # (B, M, D)
        gates = self.gate(torch.cat(each, dim=-1)).view_as(values).softmax(dim=1)  # (B, M, D)
        return (gates * values).sum(dim=1), side_by_side(parts)


class LowRankTensor(nn.Module):
    """Low-rank tensor fusion (Liu et al. 2018, arXiv:1806.00064): all products of the inputs'
    features, their weights a sum of ``rank`` products of one matrix an input."""

    def __init__(self, inputs: Sequence[str], width: int, rank: int) -> None:
        super().__init__()
        self.inputs, self.rank = tuple(inputs), rank
        # With 1 beside its features every input can also act alone.
        self.factor = nn.ModuleList(nn.Linear(width, rank * width) for _ in inputs)
        self.mix = nn.Parameter(torch.randn(rank) / rank)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, parts: Mapping[str, Tokens]) -> Joined:
        """Tokens of each input -> (B, D) and all tokens."""
        product: Tensor | None = None
        for layer, mean in zip(self.factor, means(parts, self.inputs), strict=True):
            factor = layer(mean).view(mean.shape[0], self.rank, -1)  # (B, R, D)
            product = factor if product is None else product * factor
        assert product is not None
        pooled = torch.einsum("r,brd->bd", self.mix, product) + self.bias
        return pooled, side_by_side(parts)


class JointAttention(nn.Module):
    """Transformer blocks over all inputs' tokens, each told whose it is."""

    def __init__(
        self, inputs: Sequence[str], width: int, heads: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.owner = nn.ParameterDict({name: torch.randn(width) * 0.02 for name in inputs})
        self.blocks = nn.ModuleList(EncoderBlock(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, parts: Mapping[str, Tokens]) -> Joined:
        """Tokens of each input -> (B, D) and all tokens, which have seen each other."""
        told = {
            name: Tokens(part.values + self.owner[name], part.mask) for name, part in parts.items()
        }
        tokens = side_by_side(told)
        x = tokens.values
        for block in self.blocks:
            x = block(x, tokens.mask)
        x = self.norm(x)
        return masked_mean(x, tokens.mask), Tokens(x, tokens.mask)


class Bottleneck(nn.Module):
    """Attention bottlenecks (Nagrani et al. 2021, arXiv:2107.00135): an input's tokens attend to
    each other and to a few shared tokens, through which alone the inputs hear of one another."""

    def __init__(
        self, inputs: Sequence[str], width: int, heads: int, layers: int, shared: int,
        dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.inputs = tuple(inputs)
        self.shared = nn.Parameter(torch.randn(shared, width) * 0.02)
        self.layers = nn.ModuleList(
            NamedModules({name: EncoderBlock(width, heads, dropout) for name in inputs})
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, parts: Mapping[str, Tokens]) -> Joined:
        """Tokens of each input -> (B, D), the shared tokens' mean, and all tokens."""
        batch = next(iter(parts.values())).values.shape[0]
        shared = self.shared.expand(batch, -1, -1)  # (B, S, D)
        now = dict(parts)
        for layer in self.layers:
            heard = []
            assert isinstance(layer, nn.ModuleDict)
            for name in self.inputs:
                found, now[name] = self._exchange(layer[name], shared, now[name])
                heard.append(found)
            shared = torch.stack(heard).mean(dim=0)
        tokens = side_by_side(now)
        values = self.norm(tokens.values)
        return self.norm(shared).mean(dim=1), Tokens(values, tokens.mask)

    def _exchange(self, block: nn.Module, shared: Tensor, part: Tokens) -> tuple[Tensor, Tokens]:
        count = shared.shape[1]
        mask = torch.cat([part.mask.new_ones(shared.shape[0], count), part.mask], dim=1)
        x = block(torch.cat([shared, part.values], dim=1), mask)
        return x[:, :count], Tokens(x[:, count:], part.mask)
