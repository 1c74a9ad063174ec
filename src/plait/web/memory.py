"""Memory that is not in use, given back.

The C library keeps what was freed, for each thread apart: after a large picture hundreds of
megabytes would stay with a server that has nothing to do.
"""

from __future__ import annotations

import ctypes
import gc
from functools import cache
from typing import Any


def settle() -> None:
    """What is there now will stay: collecting passes over it, and takes no time."""
    gc.collect()
    gc.freeze()


def give_back() -> None:
    """Collect, and hand freed memory to the system where the C library can (glibc)."""
    gc.collect()
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
