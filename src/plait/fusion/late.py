"""`late`: every input has its own answer, and the answers are combined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from plait.config.registry import register
from plait.fusion.base import Fusion, Width
from plait.types import Branches


@register("fusion", "late")
class LateFusion(Fusion):
    """Every input has its own head or decoder; their log-probabilities are combined."""

    network_class = "plait.fusion.networks.LateNetwork"
    has_branches: ClassVar[bool] = True

    how: Annotated[
        Literal["mean", "learned", "stacking"],
        Field(
            description="mean: all inputs count equally; learned: a weight for each input; "
            "stacking: a weight for each class (or number, or word) of each input"
        ),
    ] = "learned"
    width: Width = 128

    def branches(self, inputs: Sequence[str]) -> Branches:
        """Each input's branch learns from its own loss, as if it were alone."""
        stacked = self.how == "stacking"
        return Branches(tuple(inputs), branch_loss_weight=1.0, detached=True, stacked=stacked)
