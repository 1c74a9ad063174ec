"""Tiny models, and a server of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from both import RECIPE, write_table
from servers import Running, run

from plait.model import Model
from plait.runtime.engines import load


@pytest.fixture(scope="session")
def two_inputs(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Tells a colour by a photo and a place by words."""
    from plait.training.train import train

    folder = tmp_path_factory.mktemp("both")
    table = write_table(folder, ["train", "train", "val"])
    (folder / "both.yaml").write_text(yaml.safe_dump(RECIPE))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLAIT_CACHE", str(folder / "cache"))
        return train(str(folder / "both.yaml"), table, folder / "model")


@pytest.fixture(scope="session")
def squares_model(trained: Path) -> Model:
    return load(trained)


@pytest.fixture(scope="session")
def served(two_inputs: Model, squares_model: Model) -> Iterator[Running]:
    with run({"both": two_inputs, "squares": squares_model}) as running:
        yield running
