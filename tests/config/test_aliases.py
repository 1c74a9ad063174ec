"""Old names of settings."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import yaml

from plait.config import registry
from plait.config.recipe import ALIASES, check_recipe, load_recipe, rename

OLD: dict[str, Any] = {
    "name": "old",
    "inputs": {
        "photo": {"modality": "image", "representation": {"kind": "pixels", "fit": "crop"}},
        "words": {
            "modality": "text",
            "representation": {"kind": "bag-of-words", "of": "letters", "shortest": 2,
                               "longest": 3},
        },
        "said": {
            "modality": "text",
            "representation": {"kind": "hub:some/model", "longest": 9},
        },
        "clip": {
            "modality": "video",
            "representation": {"kind": "frames", "reader": "mean",
                               "image": {"kind": "pixels", "fit": "crop"}},
        },
    },
    "fusion": {"kind": "early"},
    "outputs": {"y": {"kind": "category"}},
}  # fmt: skip


def test_old_names_are_read_and_told_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "plait"):
        inputs = check_recipe(OLD).inputs
    (line,) = (record.message for record in caplog.records)
    assert "inputs.photo.representation.fit is now resize" in line
    assert "inputs.clip.representation.image.fit is now resize" in line
    assert inputs["photo"].representation["resize"] == "crop"
    words = inputs["words"].representation
    assert (words["unit"], words["min_n"], words["max_n"]) == ("letters", 2, 3)
    assert inputs["said"].representation["max_length"] == 9
    assert inputs["clip"].representation["sequence_encoder"] == "mean"
    assert inputs["clip"].representation["image"]["resize"] == "crop"
    assert OLD["inputs"]["photo"]["representation"] == {"kind": "pixels", "fit": "crop"}


def test_a_package_s_old_names_are_read_quietly(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "plait"):
        check_recipe(OLD, warn=False)
    assert not caplog.records


def test_an_override_may_use_an_old_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(OLD))
    recipe = load_recipe(
        str(path),
        ["inputs.photo.representation.fit=squash", "inputs.words.representation.max_n=4"],
    )
    assert recipe.inputs["photo"].representation["resize"] == "squash"
    assert recipe.inputs["words"].representation["max_n"] == 4


def test_every_new_name_is_a_setting() -> None:
    for place, names in ALIASES.items():
        kind, slash, name = place.partition("/")
        if not slash:
            continue
        components = registry.names(kind) if name == "*" else [name]
        known = {key for c in components for key in registry.find(kind, c).cls.model_fields}
        assert set(names.values()) <= known, place
        assert not set(names) & known or name == "*", place


def test_what_is_no_recipe_at_all_stays_as_it_is() -> None:
    for raw in ({"inputs": 3}, {"inputs": {"a": None}, "fusion": "early"}, {"outputs": [1]}):
        assert rename(raw) == (raw, [])
