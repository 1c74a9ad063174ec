"""The networks of the fusions.

Shapes: B records, T tokens, D width, M inputs, R rank, S shared tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import mul
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from plait.config import registry
from plait.nn.base import Encoder
from plait.nn.blocks import (
    EncoderBlock,
    NamedModules,
    alone,
    attribute,
    masked_mean,
    shares,
    side_by_side,
)
from plait.types import Branches, Fused, Tokens

if TYPE_CHECKING:
    from plait.fusion.base import NoFusion
    from plait.fusion.early import EarlyFusion
    from plait.fusion.hybrid import HybridFusion
    from plait.fusion.late import LateFusion
    from plait.fusion.linear import LinearFusion

SMALLEST = 1e-6  # deviation of a number that changes


class Adapter(nn.Module):
    """Brings an input's tokens to the fusion's width and adds their positions.

    A record without this input shows one learned token instead, in training and in use alike.
    In training some tokens of a record are left out at random (PatchDropout, Liu et al. 2023,
    arXiv:2208.07220), so that the model relies on no single one.
    """

    def __init__(self, ins: int, width: int, length: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.project = nn.Linear(ins, width)
        self.norm = nn.LayerNorm(width)
        self.position = nn.Parameter(torch.randn(length, width) * 0.3)
        self.missing = nn.Parameter(torch.randn(width) * 0.02)

    def forward(self, tokens: Tokens) -> Tokens:
        """Tokens (B, T, ins) -> Tokens (B, T, width); every row has at least one."""
        values = self.norm(self.project(tokens.values))  # (B, T, width)
        values = values + self.position[: values.shape[1]]
        absent = ~tokens.present  # (B,)
        first = torch.zeros_like(tokens.mask)
        first[:, 0] = absent
        values = torch.where(first[..., None], self.missing.to(values.dtype), values)
        mask = tokens.mask | first
        if self.training and self.dropout:
            kept = mask & (torch.rand(mask.shape, device=mask.device) >= self.dropout)
            mask = torch.where(kept.any(dim=1, keepdim=True), kept, mask)
        return replace(tokens, values=values, mask=mask)


class FusionNetwork(nn.Module, ABC):
    """Makes one `Fused` of the tokens of any subset of the inputs, whose names it is built with.

    Attributes:
        width: of all tokens and vectors.
        branches: of a fusion whose branches each answer; None where it has none.
    """

    takes_vectors: ClassVar[bool] = False
    """Whether it takes each input as one plain vector, see `VectorEncoder`."""

    def __init__(self, width: int, branches: Branches | None = None) -> None:
        super().__init__()
        self.width, self.branches = width, branches

    def adapters(self, encoders: Mapping[str, Encoder], dropout: float) -> dict[str, nn.Module]:
        """What stands between each input's encoder and the fusion; ``dropout`` is the share of
        tokens that are left out in training."""
        return {n: Adapter(e.width, self.width, e.length, dropout) for n, e in encoders.items()}

    @abstractmethod
    def forward(self, parts: Mapping[str, Tokens], present: Mapping[str, Tensor]) -> Fused:
        """Tokens of each input, all of one width, and (B,) bool, which records have it; absent
        inputs show their "missing" token."""


class NoFusionNetwork(FusionNetwork):
    """One input, handed on."""

    def __init__(self, inputs: Sequence[str], fusion: NoFusion) -> None:
        super().__init__(fusion.width)

    def forward(self, parts: Mapping[str, Tokens], present: Mapping[str, Tensor]) -> Fused:
        """The single part's tokens, and their mean as the pooled vector."""
        ((name, tokens),) = parts.items()
        return alone(name, tokens)


class Standardised(nn.Module):
    """An input's plain vector (B, 1, D), and whether the record has it -> Tokens (B, 1, D + 1).

    Numbers are centred and multiplied by ``scale``, which were fitted to the training records. A
    missing input is zeros: it says what the mean of all records says.
    """

    mean: Tensor
    scale: Tensor
    missing: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.register_buffer("missing", torch.zeros(width + 1), persistent=False)

    def forward(self, tokens: Tokens) -> Tokens:
        """Tokens (B, 1, D) -> Tokens (B, 1, D + 1), none of them masked."""
        there = tokens.mask[..., None]  # (B, 1, 1)
        values = torch.where(there, (tokens.values - self.mean) * self.scale, 0.0)
        return replace(
            tokens,
            values=torch.cat([values, there.to(values.dtype)], dim=2),
            mask=torch.ones_like(tokens.mask),
        )

    def fit(self, mean: Tensor, deviation: Tensor) -> None:
        """To the mean and the deviation (D,) of training records: each number gets the same
        deviation, and a whole vector about the length 1. Numbers that never change become 0."""
        changes = deviation > SMALLEST
        self.mean.copy_(mean)
        self.scale.copy_(changes / (deviation.clamp(min=SMALLEST) * changes.sum().sqrt()))


class VectorsNetwork(FusionNetwork):
    """The inputs' plain vectors side by side."""

    takes_vectors = True

    def __init__(self, inputs: Sequence[str], fusion: LinearFusion) -> None:
        super().__init__(0)

    def adapters(self, encoders: Mapping[str, Encoder], dropout: float) -> dict[str, nn.Module]:
        """One `Standardised` for each input; now the width is known."""
        self.width = sum(encoder.width + 1 for encoder in encoders.values())
        return {name: Standardised(encoder.width) for name, encoder in encoders.items()}

    def forward(self, parts: Mapping[str, Tokens], present: Mapping[str, Tensor]) -> Fused:
        """One vector (B, width) that is also the only token."""
        values = torch.cat([part.values for part in parts.values()], dim=2)  # (B, 1, width)
        return Fused(values[:, 0], Tokens(values, torch.ones_like(values[..., 0]) > 0), parts)


class EarlyNetwork(FusionNetwork):
    """All inputs through one of the modules below, such as `Concat`."""

    def __init__(self, inputs: Sequence[str], fusion: EarlyFusion) -> None:
        super().__init__(fusion.width)
        modules: dict[str, type[Join]] = {
            "concat": Concat,
            "gated": Gated,
            "tensor": LowRankTensor,
            "attention": JointAttention,
            "bottleneck": Bottleneck,
        }
        self.join = modules[fusion.how](inputs, fusion)

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

    def __init__(self, inputs: Sequence[str], fusion: HybridFusion) -> None:
        branches = fusion.branches(inputs)
        joint: FusionNetwork = registry.build("fusion", fusion.joint).network(inputs)
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


class Join(nn.Module):
    """How the inputs of an `EarlyNetwork` become one vector; by default from their means."""

    def __init__(self, inputs: Sequence[str], fusion: EarlyFusion) -> None:
        super().__init__()
        self.inputs = tuple(inputs)

    def forward(self, parts: Mapping[str, Tokens]) -> tuple[Tensor, Tokens]:
        """Tokens of each input -> (B, D) and all tokens."""
        means = [masked_mean(parts[name].values, parts[name].mask) for name in self.inputs]
        return self.pool(means), side_by_side(parts)

    def pool(self, means: Sequence[Tensor]) -> Tensor:
        """The mean of each input's tokens, (B, D) each -> (B, D)."""
        raise NotImplementedError


class Concat(Join):
    """The inputs' means side by side, through a small network."""

    def __init__(self, inputs: Sequence[str], fusion: EarlyFusion) -> None:
        super().__init__(inputs, fusion)
        self.mix = nn.Sequential(
            nn.Linear(len(inputs) * fusion.width, fusion.width),
            nn.GELU(),
            nn.Dropout(fusion.dropout),
            nn.Linear(fusion.width, fusion.width),
        )

    def pool(self, means: Sequence[Tensor]) -> Tensor:
        """M of (B, D) -> (B, D)."""
        return self.mix(torch.cat([*means], dim=-1))


class Gated(Join):
    """Gated multimodal unit (Arevalo et al. 2017, arXiv:1702.01992): every feature of every input
    is weighed by a gate that sees all inputs; the weights of a feature sum to 1 over the inputs."""

    def __init__(self, inputs: Sequence[str], fusion: EarlyFusion) -> None:
        super().__init__(inputs, fusion)
        width = fusion.width
        self.value = nn.ModuleList(nn.Linear(width, width) for _ in inputs)
        self.gate = nn.Linear(len(inputs) * width, len(inputs) * width)

    def pool(self, means: Sequence[Tensor]) -> Tensor:
        """M of (B, D) -> (B, D)."""
        each = [layer(mean).tanh() for layer, mean in zip(self.value, means, strict=True)]
        values = torch.stack(each, dim=1)  # (B, M, D)
        gates = self.gate(torch.cat([*means], dim=-1)).view_as(values).softmax(dim=1)  # (B, M, D)
        return (gates * values).sum(dim=1)


class LowRankTensor(Join):
    """Low-rank tensor fusion (Liu et al. 2018, arXiv:1806.00064): all products of the inputs'
    features, their weights a sum of ``rank`` products of one matrix for each input."""

    def __init__(self, inputs: Sequence[str], fusion: EarlyFusion) -> None:
        super().__init__(inputs, fusion)
        width, self.rank = fusion.width, fusion.rank
        # With 1 beside its features every input can also act alone.
        self.factor = nn.ModuleList(nn.Linear(width, self.rank * width) for _ in inputs)
        self.mix = nn.Parameter(torch.randn(self.rank) / self.rank)
        self.bias = nn.Parameter(torch.zeros(width))

    def pool(self, means: Sequence[Tensor]) -> Tensor:
        """M of (B, D) -> (B, D)."""
        each = [layer(mean) for layer, mean in zip(self.factor, means, strict=True)]
        product = reduce(mul, (factor.view(factor.shape[0], self.rank, -1) for factor in each))
        return torch.einsum("r,brd->bd", self.mix, product) + self.bias


class JointAttention(Join):
    """Transformer blocks over all inputs' tokens; a learned vector marks each input's tokens."""

    def __init__(self, inputs: Sequence[str], fusion: EarlyFusion) -> None:
        super().__init__(inputs, fusion)
        width = fusion.width
        marks = {attribute(name): torch.randn(width) * 0.02 for name in inputs}
        self.owner = nn.ParameterDict(marks)
        self.blocks = nn.ModuleList(
            EncoderBlock(width, fusion.heads, fusion.dropout) for _ in range(fusion.layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, parts: Mapping[str, Tokens]) -> tuple[Tensor, Tokens]:
        """Tokens of each input -> (B, D) and all tokens, which have seen each other."""
        tokens = side_by_side(
            {
                name: Tokens(part.values + self.owner[attribute(name)], part.mask)
                for name, part in parts.items()
            }
        )
        x = tokens.values
        for block in self.blocks:
            x = block(x, tokens.mask)
        x = self.norm(x)
        return masked_mean(x, tokens.mask), Tokens(x, tokens.mask)


class Bottleneck(Join):
    """Attention bottlenecks (Nagrani et al. 2021, arXiv:2107.00135): an input's tokens attend to
    each other and to a few shared tokens, the only way between the inputs."""

    def __init__(self, inputs: Sequence[str], fusion: EarlyFusion) -> None:
        super().__init__(inputs, fusion)
        width, heads = fusion.width, fusion.heads
        self.shared = nn.Parameter(torch.randn(fusion.shared, width) * 0.02)
        self.layers = nn.ModuleList(
            NamedModules({name: EncoderBlock(width, heads, fusion.dropout) for name in inputs})
            for _ in range(fusion.layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, parts: Mapping[str, Tokens]) -> tuple[Tensor, Tokens]:
        """Tokens of each input -> (B, D), the shared tokens' mean, and all tokens."""
        batch = next(iter(parts.values())).values.shape[0]
        shared = self.shared.expand(batch, -1, -1)  # (B, S, D)
        count, latest = shared.shape[1], dict(parts)
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleDict)
            each = []
            for name in self.inputs:
                part = latest[name]
                mask = torch.cat([part.mask.new_ones(batch, count), part.mask], dim=1)
                x = layer[name](torch.cat([shared, part.values], dim=1), mask)
                each.append(x[:, :count])
                latest[name] = Tokens(x[:, count:], part.mask)
            shared = torch.stack(each).mean(dim=0)
        tokens = side_by_side(latest)
        return self.norm(shared).mean(dim=1), Tokens(self.norm(tokens.values), tokens.mask)
