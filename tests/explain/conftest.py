"""A model whose two inputs are both needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from plait.model import Model


@pytest.fixture(scope="package")
def both_table(both_folder: Path) -> Path:
    """Its table: photo, words, answer, split."""
    return both_folder / "table.jsonl"


@pytest.fixture(scope="package")
def both_package(both_folder: Path) -> Path:
    """The trained package."""
    return both_folder / "model"


@pytest.fixture(scope="package")
def both_model(both_package: Path) -> Model:
    from plait.model import load_model

    return load_model(both_package)
