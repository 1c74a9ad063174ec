"""Tiny models, and a server of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Running, run

from plait.model import Model
from plait.runtime.engines import load


@pytest.fixture(scope="session")
def two_inputs(both_folder: Path) -> Model:
    """Tells a colour by a photo and a place by words."""
    return load(both_folder / "model")


@pytest.fixture(scope="session")
def squares_model(trained: Path) -> Model:
    return load(trained)


@pytest.fixture(scope="session")
def served(two_inputs: Model, squares_model: Model) -> Iterator[Running]:
    with run({"both": two_inputs, "squares": squares_model}) as running:
        yield running
