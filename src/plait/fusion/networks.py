"""The networks of the fusions.

Shapes: B records, T tokens, D width, M inputs, R rank, S shared tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from plait.nn.blocks import (
    EncoderBlock,
    NamedModules,
    alone,
    masked_mean,
    shares,
    side_by_side,
)
from plait.types import Branches, Fused, Tokens

if TYPE_CHECKING:
    from plait.fusion.early import EarlyFusion
    from plait.fusion.late import LateFusion


class FusionNetwork(nn.Module, ABC):
    """Makes one `Fused` of the tokens of any subset of the inputs, whose names it is built with.

    Attributes:
        width: of all tokens and vectors.
        branches: of a fusion whose branches each answer; None where it has none.
    """

    def __init__(self, width: int, branches: Branches | None = None) -> None:
        super().__init__()
        self.width, self.branches = width, branches

    @abstractmethod
    def forward(self, parts: Mapping[str, Tokens], present: Mapping[str, Tensor]) -> Fused:
        """Tokens of each input, all of one width, and (B,) bool, which records have it; absent
        inputs show their "missing" token."""


class NoFusionNetwork(FusionNetwork):
    """One input, handed on."""

    def forward(self, parts: Mapping[str, Tokens], present: Mapping[str, Tensor]) -> Fused:
        """The single part's tokens, and their mean as the pooled vector."""
        ((_, tokens),) = parts.items()
        return Fused(masked_mean(tokens.values, tokens.mask), tokens, parts)


class EarlyNetwork(FusionNetwork):
    """All inputs through one of the modules below, such as `Concat`."""

    def __init__(self, inputs: Sequence[str], fusion: EarlyFusion) -> None:
        width, dropout = fusion.width, fusion.dropout
        super().__init__(width)
        layers = fusion.heads, fusion.layers
        makers: dict[str, Callable[[], nn.Module]] = {
            "concat": lambda: Concat(inputs, width, dropout),
            "gated": lambda: Gated(inputs, width),
            "tensor": lambda: LowRankTensor(inputs, width, fusion.rank),
            "attention": lambda: JointAttention(inputs, width, *layers, dropout),
            "bottleneck": lambda: Bottleneck(inputs, width, *layers, fusion.shared, dropout),
        }
        self.join: nn.Module = makers[fusion.how]()

    def forward(self, parts: Mapping[str, Tokens], present: Mapping[str, Tensor]) -> Fused:
        """The parts' tokens side by side, and one vector made of them all."""
        pooled, tokens = self.join(parts)
        return Fused(pooled, tokens, parts)


class LateNetwork(FusionNetwork):
    """A branch for each input, with a weight that all records share."""

    def __init__(self, inputs: Sequence[str], fusion: LateFusion) -> None:
        super().__init__(fusion.width, fusion.branches(inputs))
        learned = fusion.how == "learned"
        self.score = nn.Parameter(torch.zeros(len(inputs))) if learned else None

    def forward(self, parts: Mapping[str, Tokens], present: Mapping[str, Tensor]) -> Fused:
        """A branch for each input; one that is absent does not count."""
        there = torch.stack([present[name] for name in parts], dim=1)  # (B, M)
        scores = torch.zeros_like(there, dtype=torch.float32)
        weights = shares(scores if self.score is None else scores + self.score, there)
        branches = {name: alone(name, part) for name, part in parts.items()}
        pooled = torch.stack([branch.pooled for branch in branches.values()], dim=1)  # (B, M, D)
        mean = (weights[..., None] * pooled).sum(dim=1)
        return Fused(mean, side_by_side(parts), parts, branches, weights)


class HybridNetwork(FusionNetwork):
    """A joint branch and one for each input; a gate that sees them all weighs their answers."""

    def __init__(self, joint: FusionNetwork, branches: Branches) -> None:
        super().__init__(joint.width, branches)
        self.joint, self.name, count = joint, branches.names[0], len(branches.names)
        self.gate = nn.Linear(count * joint.width, count)
        nn.init.zeros_(self.gate.weight)  # at first all branches count alike
        nn.init.zeros_(self.gate.bias)

    def forward(self, parts: Mapping[str, Tokens], present: Mapping[str, Tensor]) -> Fused:
        """The joint branch always counts; an input's only where the input is there."""
        joint = self.joint(parts, present)
        branches = {self.name: joint} | {name: alone(name, part) for name, part in parts.items()}
        pooled = torch.cat([branch.pooled for branch in branches.values()], dim=1)
        always = torch.ones_like(next(iter(present.values())))
        there = torch.stack([always, *(present[name] for name in parts)], dim=1)
        weights = shares(self.gate(pooled).float(), there)  # (B, 1 + M)
        return Fused(joint.pooled, joint.tokens, parts, branches, weights)


Joined = tuple[Tensor, Tokens]


def means(parts: Mapping[str, Tokens], inputs: Sequence[str]) -> list[Tensor]:
    """(B, D) of each input."""
    return [masked_mean(parts[name].values, parts[name].mask) for name in inputs]


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
    """Transformer blocks over all inputs' tokens; a learned vector marks each input's tokens."""

    def __init__(
        self, inputs: Sequence[str], width: int, heads: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.owner = nn.ParameterDict({name: torch.randn(width) * 0.02 for name in inputs})
        self.blocks = nn.ModuleList(EncoderBlock(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, parts: Mapping[str, Tokens]) -> Joined:
        """Tokens of each input -> (B, D) and all tokens, which have seen each other."""
        marked = {
            name: Tokens(part.values + self.owner[name], part.mask) for name, part in parts.items()
        }
        tokens = side_by_side(marked)
        x = tokens.values
        for block in self.blocks:
            x = block(x, tokens.mask)
        x = self.norm(x)
        return masked_mean(x, tokens.mask), Tokens(x, tokens.mask)


class Bottleneck(nn.Module):
    """Attention bottlenecks (Nagrani et al. 2021, arXiv:2107.00135): an input's tokens attend to
    each other and to a few shared tokens, the only way between the inputs."""

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
        latest = dict(parts)
        for layer in self.layers:
            each = []
            assert isinstance(layer, nn.ModuleDict)
            for name in self.inputs:
                own, latest[name] = self._exchange(layer[name], shared, latest[name])
                each.append(own)
            shared = torch.stack(each).mean(dim=0)
        tokens = side_by_side(latest)
        values = self.norm(tokens.values)
        return self.norm(shared).mean(dim=1), Tokens(values, tokens.mask)

    def _exchange(self, block: nn.Module, shared: Tensor, part: Tokens) -> tuple[Tensor, Tokens]:
        count = shared.shape[1]
        mask = torch.cat([part.mask.new_ones(shared.shape[0], count), part.mask], dim=1)
        x = block(torch.cat([shared, part.values], dim=1), mask)
        return x[:, :count], Tokens(x[:, count:], part.mask)
