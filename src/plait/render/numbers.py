"""Numbers and answers as people read them."""

from __future__ import annotations

from typing import Any


def number(value: float) -> str:
    """A score: three decimals, more digits where it would round to 0; whole numbers with commas."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.2e}" if 0 < abs(value) < 0.001 else f"{value:.3f}"


def counted(count: int, what: str) -> str:
    """``1 row``, ``2,000 rows``; ``what`` is one of them."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def signed(value: float, digits: int = 3) -> str:
    """With its sign; a value that rounds to 0 has none."""
    text = f"{value:+.{digits}f}"
    return text if text.strip("+-0.") else text[1:]


def shown(value: Any) -> str:
    """An answer: several labels with commas between them, the rest as it is written."""
    if isinstance(value, (tuple, list)):
        return ", ".join(map(str, value)) or "(none)"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
