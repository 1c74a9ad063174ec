"""The fusion ``average``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from plait.config.registry import register
from plait.fusion.base import Fusion

if TYPE_CHECKING:
    from plait_pointcloud.networks import AverageNetwork


@register("fusion", "average")
class Average(Fusion):
    """The mean of the inputs that are there, through one layer."""

    width: Annotated[int, Field(ge=8, le=512, description="width of a token")] = 32

    def network(self, inputs: Sequence[str]) -> AverageNetwork:
        """The same for any inputs."""
        from plait_pointcloud.networks import AverageNetwork

        return AverageNetwork(self.width)
