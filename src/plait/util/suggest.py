"""What a misspelt name was meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(got: str, known: Iterable[str]) -> str:
    """``did you mean 'x'?`` for a near miss, else an empty string."""
    close = nearest(got, known)
    return "" if close is None else f"did you mean {close!r}?"


def nearest(got: str, known: Iterable[str]) -> str | None:
    """The known name that is spelt nearly so."""
    return next(iter(difflib.get_close_matches(got, list(known), n=1, cutoff=0.6)), None)
