"""What outputs with one answer a record share: a head on the pooled vector, its temperature."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plait.nn.branches import Branches, make_scores, of_branch
from plait.outputs.answers import make_answers
from plait.outputs.base import Head
from plait.outputs.options import Options
from plait.outputs.scores import check_paired as check_paired
from plait.types import Alternative, Fused, Prediction

TEMPERATURES = np.geomspace(0.2, 5.0, 97)


class PooledHead(Head):
    """Layer norm, dropout and a linear layer on the pooled vector: ``outs`` values a record."""

    def __init__(
        self,
        width: int,
        outs: int,
        dropout: float,
        branches: Branches | None,
        normalise: Callable[[Tensor], Tensor] = lambda scores: scores,
    ) -> None:
        """``normalise`` makes a branch's values such that their mean over branches means
        something (log-probabilities, say)."""
        super().__init__()
        self.raw = make_scores(width, outs, dropout, branches, normalise)

    def begin(self, targets: Sequence[Any]) -> None:
        """Nothing: what must be known of the targets is in the state."""

    def scores(self, fused: Fused, branch: str | None = None) -> Tensor:
        """(B, outs) float32: of all, or of a branch to what it sees."""
        return of_branch(self.raw, branch)(fused)

    def reinforce(
        self, fused: Fused, targets: Sequence[Any], samples: int, branch: str | None = None
    ) -> Tensor:
        """The loss: the answer is not made step by step."""
        return self.loss(fused, targets, branch)

    def steps(self, fused: Fused, answer: Any) -> tuple[Tensor, Tensor]:
        """The support and (B, 0): the answer is not made step by step."""
        count = len(fused.pooled)
        return self.support(fused, [answer] * count), torch.zeros(count, 0)

    def looks(self, fused: Fused, answer: Any) -> dict[str, Tensor]:
        """Nothing: the answer is not made step by step."""
        return {}

    def alternatives(self, fused: Fused, answer: Any, count: int) -> list[tuple[Alternative, ...]]:
        """None: the answer is not made step by step."""
        return []

    def graph(self, examples: Sequence[Mapping[str, Tensor]]) -> None:
        """None: all is in the numbers."""

    def decoding_options(self, **options: Any) -> Options:
        """What can be chosen of such answers."""
        return make_answers(self.answers()).options(**options)

    @torch.no_grad()
    def decode(self, fused: Fused, **options: Any) -> list[Prediction]:
        """An answer a record."""
        numbers = {name: value.cpu().numpy() for name, value in self.numbers(fused).items()}
        return make_answers(self.answers()).predictions(numbers, **options)


def best_temperature(loss: Callable[[float], Tensor]) -> float:
    """What logits are to be divided by for the least loss (Guo et al. 2017, arXiv:1706.04599)."""
    losses = [float(loss(float(temperature))) for temperature in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])


def is_empty(cell: Any) -> bool:
    """Whether a cell holds no answer: None, NaN or blank."""
    return cell is None or cell != cell or (isinstance(cell, str) and not cell.strip())
