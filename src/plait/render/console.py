"""Where commands write to people: the terminal and its error stream."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

# File names and captions are shown as they are: no markup in them.
console = Console(highlight=False, markup=False)
errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def show_bad(problems: Sequence[str], count: int | None = None) -> None:
    """The first twenty bad cells, and how many more there are, of ``count`` in all."""
    count = len(problems) if count is None else count
    for line in problems[:20]:
        errors.print(f"bad: {line}")
    if count > 20:
        errors.print(f"... and {count - 20} more bad cells")
