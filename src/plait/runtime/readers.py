"""Reads cells by the modality that the model was trained with, from its settings and state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from plait.config import registry
from plait.modalities.base import Modality
from plait.types import State

Reader = Callable[[Any, Path], NDArray[Any]]
"""A cell, and the folder where relative paths begin -> the record, as far as numpy prepares it.
BadCell where the cell can't be used."""


def make_reader(settings: State) -> Reader:
    """The reader of an exported input, of its ``modality``, ``representation`` and ``state``."""
    modality: Modality = registry.build(settings["modality"], settings["representation"])
    fitted = modality.with_state(settings["state"])
    return lambda cell, root: fitted.prepare(fitted.read(cell, root))
