"""Remembers states fitted to a column of files, so that the files needn't be opened again.

A state's key names everything it depends on. A damaged state is fitted again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress

from plait.types import PlaitError, State
from plait.util.digests import digest
from plait.util.files import write_atomically
from plait.util.paths import cache_folder

FORMAT = "2"  # increase it when fitting changes, so that old states are not used
MOST = 200  # states kept; a visual vocabulary takes about 50 kB


def remembered(depends_on: str, learn: Callable[[], State]) -> State:
    """The remembered state for this key, or else the result of ``learn``, which is then kept."""
    folder = cache_folder() / "learned"
    path = folder / f"{digest(FORMAT, depends_on)}.json"
    with suppress(OSError, ValueError):
        found: State = json.loads(path.read_text())
        path.touch()
        return found
    state = learn()
    with suppress(PlaitError):  # remembering only saves time
        write_atomically(path, lambda part: part.write_text(json.dumps(state)))
    with suppress(OSError):
        by_age = sorted(folder.glob("*.json"), key=lambda kept: kept.stat().st_mtime)
        for old in by_age[:-MOST]:
            old.unlink()
    return state
