"""Where plait keeps files that it can compute again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$PLAIT_CACHE`` if set, else ``plait`` in the user's cache folder."""
    named = os.environ.get("PLAIT_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "plait"
