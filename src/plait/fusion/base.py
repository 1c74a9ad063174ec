"""The contract of a fusion: its settings, without torch; its network is built on demand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from plait.config.registry import Component
from plait.types import Branches

if TYPE_CHECKING:
    from plait.fusion.networks import FusionNetwork


class Fusion(Component, ABC):
    """How a model's inputs meet."""

    several_inputs: ClassVar[bool] = True
    """Whether it takes more than one input."""
    has_branches: ClassVar[bool] = False
    """Whether it has branches that each answer, see `branches`."""

    def branches(self, inputs: Sequence[str]) -> Branches | None:
        """The branches for these inputs, and how they learn; None where it has none.

        Raises:
            UsageError: the settings don't go with these inputs.
        """
        return None

    @abstractmethod
    def network(self, inputs: Sequence[str]) -> FusionNetwork:
        """The network that fuses any subset of these inputs."""
