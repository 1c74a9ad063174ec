"""Memory that is not in use, given back.

The C library keeps what was freed, for each thread apart: after a large picture hundreds of
megabytes would stay with a server that has nothing to do.
"""

from __future__ import annotations

import ctypes
import gc
from functools import cache
from typing import Any


def give_back() -> None:
    """Collect, and hand freed memory to the system where the C library can (glibc)."""
    gc.collect()
    if _trim() is not None:
        _trim()(0)


@cache
def _trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
