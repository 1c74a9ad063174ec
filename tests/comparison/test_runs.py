"""One run of a comparison."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from both import RECIPE, write_table

from plait.comparison import runs
from plait.comparison.results import Result
from plait.comparison.runs import Job, answered, finished, keep, run
from plait.config.recipe import check_recipe
from plait.data.cells import OnBad
from plait.data.tables import Table, read_table


def job(folder: Path, table: Table, on_bad: OnBad = "stop", **changes: Any) -> Job:
    recipe: Mapping[str, Any] = RECIPE | {"training": RECIPE["training"] | {"epochs": 1}} | changes
    return Job(check_recipe(recipe), table, "digest", "val", on_bad, folder / "run")


def test_a_run_that_crashes_is_one_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = job(tmp_path, read_table(write_table(tmp_path, ("train", "val"))))
    monkeypatch.setattr(runs.sys, "executable", shutil.which("false"))
    found = run(asked, None)
    assert found == finished(asked)
    assert found is not None
    assert "ended without a result (exit code 1; there may be too little memory)" in found.failed
    assert "run.log" in found.failed


def test_another_recipe_or_table_leaves_a_result_as_it_is(tmp_path: Path) -> None:
    table = Table(tmp_path / "t.csv", tmp_path, {"photo": ["1.png"], "words": ["a"]})
    first = job(tmp_path, table)
    first.folder.mkdir(parents=True)
    keep(first, Result(learned=3))
    for other in (job(tmp_path, table, name="other"), replace(first, digest="other")):
        assert finished(other) is None
        other.folder.mkdir()
        keep(other, Result(failed="broken"))
        assert other.folder.name.startswith("seed-0-")
    again = job(tmp_path, table, about="what it says of itself")
    assert finished(again) == Result(learned=3)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="as Linux counts")
@pytest.mark.slow
def test_a_run_s_memory_is_not_its_caller_s() -> None:
    held = np.ones(64 << 20)  # 512 MiB
    code = "from plait.comparison.runs import memory; print(memory())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert 50 < float(found.stdout) < held.nbytes / (1 << 20)


def test_a_bad_cell_does_not_stop_the_clock(tmp_path: Path) -> None:
    path = write_table(tmp_path, ("train", "val"))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[4]["photo"] = "gone.png"  # the first row of val
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = answered(job(tmp_path, read_table(path), "missing"))
    assert found.failed == ""
    assert len(found.rows) == 48
    assert found.milliseconds is not None
    assert found.milliseconds > 0
