"""The classical baseline, to which every comparison holds its variants.

The inputs' classical representations as one long vector, and a linear model of it. It takes
seconds, and a network that isn't better is not worth its cost.
"""

from __future__ import annotations

from typing import Final

from plait.config import registry
from plait.config.recipe import Recipe, check_recipe
from plait.types import UsageError

NAME: Final = "classical"


def classical_recipe(recipe: Recipe, scored: str) -> Recipe:
    """The recipe with every input in its modality's classical representation, and a linear model
    of them; a representation that the recipe already has keeps its settings. Inputs whose modality
    has no classical one are left out, and so are outputs that have no linear model.

    Args:
        recipe: whose inputs and outputs they are.
        scored: the output that is compared.

    Raises:
        UsageError: no input is left, or no linear model gives the answers that are compared.
    """
    data = recipe.model_dump()
    for name, spec in list(data["inputs"].items()):
        classical = classical_name(spec["modality"])
        if classical is None:
            del data["inputs"][name]
        elif spec["representation"]["kind"] != classical:
            spec["representation"] = {"kind": classical}
    if not data["inputs"]:
        raise UsageError("no input has a classical representation")
    for name, output in recipe.outputs.items():
        if not output.component.linear:
            del data["outputs"][name]
    if scored not in data["outputs"]:
        raise UsageError("no linear model gives such answers")
    data["fusion"] = {"kind": "linear"}
    return check_recipe(data)


def classical_name(modality: str) -> str | None:
    """The representation of a modality that has nothing pretrained, and nothing that is learned by
    gradient, if any."""
    names = registry.names(modality)
    return next((n for n in names if registry.find(modality, n).cls.classical), None)
