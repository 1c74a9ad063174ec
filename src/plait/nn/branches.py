"""Branches: parts of a model that each answer alone, and whose answers are combined.

A fusion that has branches gives one `Fused` for each, and how much each counts for each record.
Every output then answers once a branch; here the answers become one.

Shapes: B records, M branches, K numbers of an answer, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from plait.nn.blocks import NamedModules
from plait.types import Fused


@dataclass(frozen=True)
class Branches:
    """What an output must know of a fusion's branches.

    Attributes:
        names: of the branches; those of inputs are called as these.
        own: how much each branch's own loss counts.
        apart: each branch learns from its own loss alone; the combination learns from their
            answers, and changes none of them.
        stacked: the combination weighs every number of every branch's answer.
    """

    names: tuple[str, ...]
    own: float
    apart: bool
    stacked: bool


class Blend(nn.Module):
    """Answers (..., M, K) and their weights (..., M) -> one answer (..., K), the weighted sum.

    Stacked, each number has a learned factor more, and a learned constant is added: linear
    stacking with weights by class (Ting and Witten 1999, "Issues in stacked generalization",
    JAIR 10). It learns on the training records, beside the branches.
    """

    def __init__(self, branches: Branches, size: int) -> None:
        super().__init__()
        self.apart = branches.apart
        self.factor: nn.Parameter | None = None
        self.constant: nn.Parameter | None = None
        if branches.stacked:
            self.factor = nn.Parameter(torch.ones(len(branches.names), size))
            self.constant = nn.Parameter(torch.zeros(size))

    def forward(self, answers: Tensor, weights: Tensor) -> Tensor:
        """(..., M, K) and (..., M) -> (..., K)."""
        if self.apart and self.training:  # in use, explanations follow the gradient
            answers = answers.detach()
        if self.factor is not None:
            answers = answers * self.factor
        blended = (weights[..., None] * answers).sum(dim=-2)
        return blended if self.constant is None else blended + self.constant


class Scores(nn.Module):
    """Fused -> (B, K), from the pooled vector."""

    def __init__(self, width: int, size: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.drop = nn.LayerNorm(width), nn.Dropout(dropout)
        self.out = nn.Linear(width, size)

    def forward(self, fused: Fused) -> Tensor:
        """(B, K) float32."""
        return self.out(self.drop(self.norm(fused.pooled))).float()


class BlendedScores(nn.Module):
    """Fused with branches -> (B, K): the branches' `Scores`, blended."""

    def __init__(
        self, width: int, size: int, dropout: float, branches: Branches,
        normalise: Callable[[Tensor], Tensor],
    ) -> None:  # fmt: skip
        super().__init__()
        self.branches = NamedModules(
            {name: Scores(width, size, dropout) for name in branches.names}
        )
        self.blend, self.normalise = Blend(branches, size), normalise

    def forward(self, fused: Fused) -> Tensor:
        """(B, K) float32."""
        assert fused.weights is not None
        each = [self.normalise(m(fused.branches[name])) for name, m in self.branches.items()]
        return self.blend(torch.stack(each, dim=1), fused.weights)


def make_scores(
    width: int,
    size: int,
    dropout: float,
    branches: Branches | None,
    normalise: Callable[[Tensor], Tensor],
) -> nn.Module:
    """Fused -> (B, size) scores of an output, whether the fusion has branches or not.

    Args:
        normalise: makes scores such that their mean over branches means something
            (log-probabilities, say).
    """
    if branches is None:
        return Scores(width, size, dropout)
    return BlendedScores(width, size, dropout, branches, normalise)


def of_branch(module: nn.Module, name: str | None) -> nn.Module:
    """The part of an output's module that answers for a branch; all of it where None."""
    if name is None:
        return module
    branches = module.branches
    assert isinstance(branches, nn.ModuleDict)
    return branches[name]
