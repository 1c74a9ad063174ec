"""`hybrid`: a joint branch and one for each input, each with its own answer and its own loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from plait.config import registry
from plait.config.registry import Nested, register
from plait.fusion.base import Fusion
from plait.types import Branches, UsageError

JOINT = "joint"


@register("fusion", "hybrid")
class HybridFusion(Fusion):
    """A joint branch and one for each input; a gate that sees all weights their answers."""

    network_class = "plait.fusion.networks.HybridNetwork"
    has_branches: ClassVar[bool] = True

    joint: Annotated[
        dict[str, Any], Nested("fusion"), Field(description="the joint branch's fusion")
    ] = {"kind": "early"}
    branch_loss_weight: Annotated[
        float, Field(ge=0, description="weight of each branch's own loss")
    ] = 0.3

    def branches(self, inputs: Sequence[str]) -> Branches:
        """The joint branch, and one for each input.

        Raises:
            UsageError: the joint fusion has branches itself, or an input has its name.
        """
        joint: Any = registry.find("fusion", self.joint["kind"]).cls
        if JOINT in inputs or joint.has_branches:
            what = "an input" if JOINT in inputs else f"fusion {self.joint['kind']!r}"
            raise UsageError(
                f"hybrid fusion: {what} can't be the joint branch",
                expected=f"a fusion without branches, and no input called {JOINT!r}",
            )
        return Branches((JOINT, *inputs), self.branch_loss_weight, detached=False, stacked=False)
