"""The contract of a fusion."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

from plait.nn.branches import Branches
from plait.types import Fused, Tokens


class Fusion(nn.Module, ABC):
    """Makes one `Fused` of the tokens of any subset of the inputs, whose names it is built with."""

    width: int
    branches: Branches | None = None
    """Where the fusion has branches that each answer: their names and how they learn."""

    @abstractmethod
    def forward(self, parts: Mapping[str, Tokens], present: Mapping[str, Tensor]) -> Fused:
        """Tokens of each input, all of one width, and (B,) bool, which records have it; absent
        inputs show their "missing" token."""
