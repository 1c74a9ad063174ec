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
        load_recipe("sentiment", ["inputs.text.representation={kind: bag-of-words, min_count: 7}"]),
        "sentiment",
    )
    assert recipe.inputs["text"].representation["min_count"] == 7
    assert recipe.inputs["image"].representation["kind"] == "visual-words"


def test_outputs_without_a_linear_model_are_left_out() -> None:
    with pytest.raises(UsageError, match="no linear model gives such answers"):
        classical.classical_recipe(load_recipe("captioning"), "caption")


def test_there_is_none_where_only_another_output_has_a_linear_model() -> None:
    raw = load_recipe("sentiment").model_dump()
    raw["outputs"]["says"] = {"kind": "text"}
    recipe = load_recipe(raw)
    assert list(classical.classical_recipe(recipe, "sentiment").outputs) == ["sentiment"]
    with pytest.raises(UsageError, match="no linear model gives such answers"):
        classical.classical_recipe(recipe, "says")
