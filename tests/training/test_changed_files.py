"""A run belongs to the files that it read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.config.recipe import load_recipe
from plait.training.train import _changed, run_folder
from plait.types import UsageError

BEFORE, NOW = {"image": ["a", "b", ""]}, {"image": ["a", "c", ""]}


@pytest.mark.parametrize(
    ("changed", "files", "kept", "event"),
    [
        ("restart", BEFORE, True, None),
        ("restart", NOW, False, {"restarted": True, "inputs": {"image": 1}}),
        ("continue", NOW, True, {"restarted": False, "inputs": {"image": 1}}),
    ],
)
def test_a_run_whose_files_have_changed_starts_again(
    changed: str, files: dict[str, list[str]], kept: bool, event: object, tmp_path: Path
) -> None:
    recipe = load_recipe("captioning", [f"data.changed={changed}"])
    out, told = tmp_path / "m", []
    with run_folder(out, recipe, ["digest"], BEFORE) as folder:
        for name in (".", "refit"):
            (folder / name).mkdir(exist_ok=True)
            (folder / name / "checkpoint.pt").write_text("weights")
    with run_folder(out, recipe, ["digest"], files, told.append) as folder:
        assert (folder / "checkpoint.pt").exists() == kept
        assert (folder / "refit" / "checkpoint.pt").exists() == kept
        assert json.loads((folder / "files.json").read_text()) == files
    wanted = [] if event is None else [{"event": "changed", "folder": str(folder), **event}]
    assert told == wanted


def test_a_run_without_sources_is_written_as_ever(tmp_path: Path) -> None:
    """So that one that was begun by an earlier version is resumed."""
    recipe = load_recipe("captioning")
    with run_folder(tmp_path / "m", recipe, ["digest"]) as folder:
        found = json.loads((folder / "run.json").read_text())
    assert list(found) == ["recipe", "table"]
    assert found["table"] == "digest"


def test_a_run_of_another_source_is_refused(tmp_path: Path) -> None:
    recipe = load_recipe("captioning")
    with run_folder(tmp_path / "m", recipe, ["table", "source"]) as folder:
        (folder / "checkpoint.pt").write_text("weights")
    with (
        pytest.raises(UsageError, match="a run of another recipe or table"),
        run_folder(tmp_path / "m", recipe, ["table", "changed"]),
    ):
        pass


@given(st.lists(st.sampled_from(["a", "b", ""]), max_size=9), st.data())
def test_every_changed_file_is_counted(keys: list[str], data: Any) -> None:
    now = [data.draw(st.sampled_from(["a", "b", ""])) for _ in keys]
    changed = sum(one != other for one, other in zip(keys, now, strict=True))
    found = _changed({"image": keys}, {"image": now})
    assert found == ({"image": changed} if changed else {})


def test_a_run_of_a_start_model_that_was_trained_again_is_refused(tmp_path: Path) -> None:
    """Its checkpoint has the weights of the words and classes that the model had."""
    start = tmp_path / "start"
    start.mkdir()
    (start / "manifest.json").write_text("before")
    recipe = load_recipe("captioning", [f"training.start={start}"])

    def begin() -> None:
        with run_folder(tmp_path / "m", recipe, ["table"]) as folder:
            (folder / "checkpoint.pt").write_text("weights")

    begin()
    begin()
    (start / "manifest.json").write_text("after")
    with pytest.raises(UsageError, match="a run of another recipe, table or start model"):
        begin()
