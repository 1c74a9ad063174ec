"""States that are remembered: a help that may be damaged, full or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plait.pipeline import cache
from plait.pipeline.cache import remembered
from plait.types import State
from plait.util.files import cache_folder


def _never() -> State:
    raise AssertionError("it is known")


def test_a_state_is_learned_once() -> None:
    assert remembered("a", lambda: {"mean": [0.1, 1e-30]}) == {"mean": [0.1, 1e-30]}
    assert remembered("a", _never) == {"mean": [0.1, 1e-30]}
    assert remembered("b", lambda: {"mean": [2.0]}) == {"mean": [2.0]}


def test_a_damaged_state_is_learned_again() -> None:
    remembered("a", lambda: {"mean": [1.0]})
    for path in (cache_folder() / "learned").glob("*.json"):
        path.write_text(path.read_text()[:-4])
    assert remembered("a", lambda: {"mean": [2.0]}) == {"mean": [2.0]}
    assert remembered("a", _never) == {"mean": [2.0]}


def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_STATES", 2)
    for place, name in enumerate("abc"):
        remembered(name, lambda name=name: {"name": name})
        for path in (cache_folder() / "learned").glob("*.json"):
            if f'"{name}"' in path.read_text():
                os.utime(path, (place, place))
    assert remembered("c", _never) == {"name": "c"}
    assert remembered("a", lambda: {"name": "again"}) == {"name": "again"}


def test_without_a_cache_folder_it_is_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path / "file"))
    assert remembered("a", lambda: {"mean": [1.0]}) == {"mean": [1.0]}
