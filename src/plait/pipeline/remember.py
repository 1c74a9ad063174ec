"""What was learned of a column of files, remembered, so that the files need not be opened again.

What a state is found by names all that it depends on; should it be damaged, it is learned again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress

from plait.types import PlaitError, State
from plait.util.digests import digest
from plait.util.files import write_atomically
from plait.util.paths import cache_folder

FORMAT = "1"  # raise it when a modality learns otherwise from the same: old states must miss
MOST = 200  # that are kept; a visual vocabulary takes about 50 kB


def remembered(depends_on: str, learn: Callable[[], State]) -> State:
    """The state that was learned of the same before, else what ``learn`` gives, which is kept."""
    folder = cache_folder() / "learned"
    path = folder / f"{digest(FORMAT, depends_on)}.json"
    with suppress(OSError, ValueError):
        found: State = json.loads(path.read_text())
        path.touch()
        return found
    state = learn()
    with suppress(PlaitError):  # a help, never needed
        write_atomically(path, lambda part: part.write_text(json.dumps(state)))
    with suppress(OSError):
        by_age = sorted(folder.glob("*.json"), key=lambda kept: kept.stat().st_mtime)
        for old in by_age[:-MOST]:
            old.unlink()
    return state
