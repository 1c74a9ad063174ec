"""The classical baseline's recipe."""

from __future__ import annotations

import pytest

from plait.comparison import classical
from plait.config import registry
from plait.config.recipe import load_recipe
from plait.types import UsageError


@pytest.mark.parametrize("modality", registry.modalities())
def test_every_modality_has_one_classical_representation(modality: str) -> None:
    found = [
        name for name in registry.names(modality) if registry.find(modality, name).cls.classical
    ]
    assert found == [classical.classical_name(modality)]


def test_the_recipe_keeps_a_classical_representation_as_it_is() -> None:
    recipe = classical.classical_recipe(
        load_recipe("sentiment", ["inputs.text.representation={kind: bag-of-words, min_count: 7}"])
    )
    assert recipe.inputs["text"].representation["min_count"] == 7
    assert recipe.inputs["image"].representation["kind"] == "visual-words"


def test_outputs_without_a_linear_model_are_left_out() -> None:
    with pytest.raises(UsageError, match="no linear model gives such answers"):
        classical.classical_recipe(load_recipe("captioning"))
