"""The contract of a fusion: its settings, without torch; its network is built on demand. And
`none`, which fuses nothing."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from plait.config.registry import Component, register
from plait.types import Branches
from plait.util.imports import load

if TYPE_CHECKING:
    from plait.fusion.networks import FusionNetwork

Width = Annotated[int, Field(ge=8, le=8192, description="width of a token")]


class Fusion(Component, ABC):
    """How a model's inputs meet."""

    network_class: ClassVar[str]
    """Full name of the `FusionNetwork`, which is built from the inputs' names and the fusion."""
    several_inputs: ClassVar[bool] = True
    """Whether it takes more than one input."""
    fitted_at_once: ClassVar[bool] = False
    """Whether it is fitted in one go rather than trained step by step."""
    has_branches: ClassVar[bool] = False
    """Whether it has branches that each answer, see `branches`."""

    def branches(self, inputs: Sequence[str]) -> Branches | None:
        """The branches for these inputs, and how they learn; None where it has none.

        Raises:
            UsageError: the settings don't go with these inputs.
        """
        return None

    def network(self, inputs: Sequence[str]) -> FusionNetwork:
        """The network that fuses any subset of these inputs."""
        return load(self.network_class)(inputs, self)


@register("fusion", "none")
class NoFusion(Fusion):
    """One input only: its tokens go to the output as they are."""

    network_class = "plait.fusion.networks.NoFusionNetwork"
    several_inputs: ClassVar[bool] = False

    width: Width = 384
