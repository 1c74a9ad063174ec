"""`linear`: one linear layer on all inputs' plain vectors, fitted at once."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from plait.config.registry import register
from plait.fusion.base import Fusion

Penalty = Annotated[float, Field(gt=0)]


@register("fusion", "linear")
class LinearFusion(Fusion):
    """A linear model of all inputs' plain vectors side by side, fitted in seconds.

    It is a support vector machine or logistic regression for classes and labels, and ridge
    regression for numbers. Nothing is learned by gradient. The penalty on the squared weights is
    the one whose model scores best on the validation rows.
    """

    network_class = "plait.fusion.networks.VectorsNetwork"
    fitted_at_once: ClassVar[bool] = True

    loss: Annotated[
        Literal["hinge", "log"],
        Field(description="for classes and labels: of support vectors, or of logistic regression"),
    ] = "hinge"
    penalties: Annotated[
        tuple[Penalty, ...],
        Field(min_length=1, description="penalties to try, the inverse of scikit-learn's C"),
    ] = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1)
