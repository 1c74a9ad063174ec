"""Optional libraries, and classes that are imported late."""

from __future__ import annotations

import importlib
import logging
from functools import cache
from typing import Any

from plait.types import PlaitError

log = logging.getLogger("plait")


def load(name: str) -> Any:
    """What a full name stands for, such as a network's class, whose module needs torch."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def needed(library: str, extra: str) -> Any:
    """Import an optional library. Raises PlaitError if it is not installed; the message names the
    extra to install."""
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise PlaitError(
            f"this needs the library {library}, which can't be imported: {error}",
            hint=f"pip install 'plait[{extra}]'",
        ) from None


@cache
def can_make(what: str, library: str, extra: str) -> bool:
    """Whether an optional library is there to make ``what``, which can be done without; where it
    is not, one line in the log says so, once."""
    try:
        needed(library, extra)
    except PlaitError as error:
        log.warning("no %s: %s", what, error)
        return False
    return True
