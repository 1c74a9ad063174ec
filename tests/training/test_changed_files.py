"""A run belongs to the files that it read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plait.config.recipe import load_recipe
from plait.data.tables import as_table
from plait.training.train import run_folder

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
    table, out, told = as_table({"image": ["1", "2", "3"]}), tmp_path / "m", []
    with run_folder(out, recipe, table, BEFORE) as folder:
        for name in (".", "refit"):
            (folder / name).mkdir(exist_ok=True)
            (folder / name / "checkpoint.pt").write_text("weights")
    with run_folder(out, recipe, table, files, told.append) as folder:
        assert (folder / "checkpoint.pt").exists() == kept
        assert (folder / "refit" / "checkpoint.pt").exists() == kept
        assert json.loads((folder / "files.json").read_text()) == files
    wanted = [] if event is None else [{"event": "changed", "folder": str(folder), **event}]
    assert told == wanted
