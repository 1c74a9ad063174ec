"""The consoles that commands write to: standard output and the error stream."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

# No markup: file names and captions are shown as they are.
console = Console(highlight=False, markup=False)
errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def show_rows(headings: Iterable[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """Print a table."""
    table = Table(*headings, title=title or None)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def show_bad(problems: Sequence[str], count: int | None = None) -> None:
    """Print the first twenty bad cells, and how many more of the ``count`` there are."""
    count = len(problems) if count is None else count
    for line in problems[:20]:
        errors.print(f"bad: {line}")
    if count > 20:
        errors.print(f"... and {count - 20} more bad cells")
