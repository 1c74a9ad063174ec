"""Optional libraries."""

from __future__ import annotations

import importlib
from typing import Any

from plait.types import PlaitError


def needed(library: str, extra: str) -> Any:
    """Import an optional library.

    Raises:
        PlaitError: it is not installed; the message names the extra to install.
    """
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise PlaitError(
            f"this needs the library {library}, which can't be imported: {error}",
            hint=f"pip install 'plait[{extra}]'",
        ) from None
