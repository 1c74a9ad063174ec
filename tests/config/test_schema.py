"""The JSON Schema of recipes, as an editor or a validator uses it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from plait.config.recipe import recipe_text, shipped
from plait.config.schema import recipe_schema


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = recipe_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("name", shipped())
def test_shipped_recipes_are_valid(name: str, validator: Draft202012Validator) -> None:
    assert not list(validator.iter_errors(yaml.safe_load(recipe_text(name))))


@pytest.mark.parametrize(
    "path",
    [
        "sead",
        "training.epoch",
        "fusion.widht",
        "inputs.image.representation.view",
        "outputs.caption.settings.min_counts",
        "outputs.caption.settings.decoder.layer",
    ],
)
def test_a_misspelled_setting_is_refused(path: str, validator: Draft202012Validator) -> None:
    recipe: Any = yaml.safe_load(recipe_text("captioning"))
    *parents, last = path.split(".")
    section = recipe
    for parent in parents:
        section = section[parent]
    section[last] = 1
    (error,) = validator.iter_errors(recipe)
    assert set(error.absolute_path) <= set(parents)
    del section[last]
    assert validator.is_valid(recipe)
