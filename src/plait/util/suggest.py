"""Suggestions for misspelt names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(got: str, known: Iterable[str]) -> str:
    """``did you mean 'x'?``, or an empty string if no known name is close."""
    close = nearest(got, known)
    return "" if close is None else f"did you mean {close!r}?"


def listed(got: str, known: Iterable[str]) -> str:
    """The known names, and a suggestion if one is close: ``a, b; did you mean 'a'?``."""
    names = list(known)
    return f"{', '.join(names)}; {did_you_mean(got, names)}".removesuffix("; ")


def nearest(got: str, known: Iterable[str]) -> str | None:
    """The known name closest to ``got``; None if none is close."""
    return next(iter(difflib.get_close_matches(got, list(known), n=1, cutoff=0.6)), None)
