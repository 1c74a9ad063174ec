"""`late`: every input has its own answer, and the answers are combined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from plait.config.registry import register
from plait.fusion.base import Fusion
from plait.types import Branches

if TYPE_CHECKING:
    from plait.fusion.networks import FusionNetwork


@register("fusion", "late")
class LateFusion(Fusion):
    """Every input has its own head or decoder; their log-probabilities are combined."""

    has_branches: ClassVar[bool] = True

    how: Annotated[
        Literal["mean", "learned", "stacking"],
        Field(
            description="mean: all count alike; learned: a weight an input; stacking: a "
            "weight for each class (or number, or word) of each input"
        ),
    ] = "learned"
    width: Annotated[int, Field(ge=8, le=8192, description="width of a token")] = 128

    def branches(self, inputs: Sequence[str]) -> Branches:
        """Each input's branch learns from its own loss, as if it were alone."""
        stacked = self.how == "stacking"
        return Branches(tuple(inputs), branch_loss_weight=1.0, detached=True, stacked=stacked)

    def network(self, inputs: Sequence[str]) -> FusionNetwork:
        """A branch for each input, and their weights."""
        from plait.fusion.networks import LateNetwork

        return LateNetwork(inputs, self)
