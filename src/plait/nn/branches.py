"""Branches: parts of a model that each answer alone, and whose answers are combined.

A fusion with branches gives one `Fused` for each branch, and each branch's weight for each record.
Every output then has an answer for each branch, and `Blend` makes one of them.

Shapes: B records, M branches, K numbers of an answer, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from plait.types import Branches


class Blend(nn.Module):
    """Answers (..., M, K) and their weights (..., M) -> one answer (..., K), the weighted sum.

    With ``branches.stacked``, each number of each branch also has a learned factor, and the sum a
    learned constant: linear stacking with a weight for each class (Ting and Witten 1999, "Issues
    in stacked generalization", JAIR 10), learned on the training records beside the branches.
    """

    def __init__(self, branches: Branches, size: int) -> None:
        super().__init__()
        self.detached = branches.detached
        self.factor: nn.Parameter | None = None
        self.constant: nn.Parameter | None = None
        if branches.stacked:
            self.factor = nn.Parameter(torch.ones(len(branches.names), size))
            self.constant = nn.Parameter(torch.zeros(size))

    def forward(self, answers: Tensor, weights: Tensor) -> Tensor:
        """(..., M, K) and (..., M) -> (..., K)."""
        if self.detached and self.training:  # explanations need the gradient
            answers = answers.detach()
        if self.factor is not None:
            answers = answers * self.factor
        blended = (weights[..., None] * answers).sum(dim=-2)
        return blended if self.constant is None else blended + self.constant


def of_branch(module: nn.Module, name: str | None) -> nn.Module:
    """The part of an output's module that answers for a branch; the whole module for None."""
    if name is None:
        return module
    branches = module.branches
    assert isinstance(branches, nn.ModuleDict)
    return branches[name]
