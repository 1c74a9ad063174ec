"""Small packages and photos that the assistant's tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from assistants import QUESTIONS, SEEING, TRANSLATOR, write_questions, write_translations
from samples import COLOURS, draw


@pytest.fixture(scope="session")
def make_package(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Trains a recipe on the table that a function writes into a folder."""

    def make(recipe: dict[str, Any], write: Callable[[Path], Path]) -> Path:
        from plait.training.train import train

        folder = tmp_path_factory.mktemp(recipe["name"])
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PLAIT_CACHE", str(folder / "cache"))
            train(str(folder / "recipe.yaml"), write(folder), folder / "model")
        return folder / "model"

    return make


@pytest.fixture(scope="session")
def questions(make_package: Callable[..., Path]) -> Path:
    """Answers two questions about a square."""
    return make_package(QUESTIONS, write_questions)


@pytest.fixture(scope="session")
def translator(make_package: Callable[..., Path]) -> Path:
    """Knows six words of German."""
    return make_package(TRANSLATOR, write_translations)


@pytest.fixture(scope="session")
def seeing(make_package: Callable[..., Path]) -> Path:
    """Makes a text of a text and a photo."""
    return make_package(SEEING, write_questions)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of six photos, two of each colour, at different places."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, colour in enumerate(COLOURS):
        for place in ("left", "right"):
            draw(colour, place, 900 + number).save(folder / f"{colour}-{place}.png")
    return folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A green square at the left."""
    path = tmp_path / "photo.png"
    draw("green", "left", 77).save(path)
    return path
