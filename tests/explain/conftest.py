"""A model whose two inputs are both needed."""

from __future__ import annotations

from pathlib import Path

import both
import pytest
import yaml

from plait.model import Model


@pytest.fixture(scope="package")
def both_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its table: photo, words, answer, split."""
    return both.write_table(tmp_path_factory.mktemp("both"), ["train", "train", "val"])


@pytest.fixture(scope="package")
def both_package(both_table: Path) -> Path:
    """The trained package."""
    from plait.training.train import train

    recipe, out = both_table.with_name("recipe.yaml"), both_table.with_name("model")
    recipe.write_text(yaml.safe_dump(both.RECIPE))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLAIT_CACHE", str(out.with_name("cache")))
        train(str(recipe), both_table, out)
    return out


@pytest.fixture(scope="package")
def both_model(both_package: Path) -> Model:
    from plait.model import load

    return load(both_package)
