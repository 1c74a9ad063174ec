"""What a training run was made of, so that it can be repeated: command, table, versions, commit."""

from __future__ import annotations

import platform
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import plait
from plait.data.tables import Table
from plait.types import ColumnName, column_names

LIBRARIES = ("torch", "numpy", "transformers", "opencv-python-headless")
"""Libraries whose versions may change a result."""
GIT_SECONDS = 5


def provenance(table: Table, digest: str, command: str) -> dict[str, Any]:
    """What is recorded of a run, as plain JSON.

    Args:
        table: that it learned from.
        digest: of the table's cells.
        command: that started it.
    """
    return {
        "command": command,
        "table": {"path": str(table.path), "digest": digest},
        "versions": versions(),
        "commit": commit(),
    }


def train_command(
    recipe: str,
    table: str,
    out: str,
    overrides: Iterable[str],
    columns: Mapping[str, ColumnName],
    on_bad: str | None,
) -> str:
    """The command line that repeats a run, with the paths as the user gave them."""
    words = ["plait", "train", recipe, table, "--out", out]
    for name, column in columns.items():
        words += ["--column", f"{name}={','.join(column_names(column))}"]
    for override in overrides:
        words += ["--set", override]
    return shlex.join([*words, *(["--on-bad", on_bad] if on_bad else [])])


def versions() -> dict[str, str]:
    """plait, Python and the libraries that are installed -> version."""
    found = {"plait": plait.__version__, "python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """The commit of plait's own checkout, with ``+`` if changed since; None for a release."""
    root = Path(plait.__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        head, changed = (
            subprocess.run(
                ["git", "-C", str(root), *arguments],
                capture_output=True, text=True, timeout=GIT_SECONDS, check=True,
            ).stdout.strip()
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", "src"])
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head}+" if changed else head
