"""Cells that are missing or can't be used, and the policy for them. Knows no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from numbers import Real
from typing import Any, Literal, TypeVar, cast, get_args

from plait.types import BadCell, PlaitError, UnseenLabel, UsageError

OnBad = Literal["stop", "skip", "missing"]
T = TypeVar("T")


@dataclass
class ErrorPolicy:
    """The cells that could not be used, each named.

    Attributes:
        policy: ``stop`` at the first; ``skip`` its record; or take the input as ``missing``.
        problems: one line each.
        met: (row, input) of each, where the caller counts rows of its own.
        in_table: whether rows and columns mean something to the user; else the cell's name does.
    """

    policy: OnBad = "stop"
    failures: list[str] = field(default_factory=list)
    met: set[tuple[int, str]] = field(default_factory=set)
    in_table: bool = True

    def handle(self, number: int, column: str, error: BadCell) -> None:
        """Stop, or count it and go on; ``number`` is the row's in the table, from 1."""
        line = self._line(number, column, error)
        if self.policy == "stop":
            what = "the cell" if self.in_table else "the file"
            raise PlaitError(
                line, hint=f"mend {what}, or go on with --on-bad skip or --on-bad missing"
            ) from None
        self.failures.append(line)

    def note_unseen_labels(self, column: str, errors: Mapping[int, UnseenLabel]) -> None:
        """Name a column's answers that no model could give, in one line; their records stay.

        Args:
            column: where they stand.
            errors: the row's number -> its answer.
        """
        if errors:
            first, *others = errors
            line = f"{self._line(first, column, errors[first])}; it counts as wrong"
            if others:
                some = ", ".join(map(str, others[:10])) + (", ..." if len(others) > 10 else "")
                line += f", and so do rows like it, {len(others):,} in all: {some}"
            self.failures.append(line)

    def _line(self, number: int, column: str, error: BadCell) -> str:
        return f"row {number}, column {column!r}: {error}" if self.in_table else str(error)


def check_policy(name: str) -> OnBad:
    """The policy of that name. Raises UsageError where there is none."""
    if name not in get_args(OnBad):
        raise UsageError(f"there is no policy {name!r}", expected=" or ".join(get_args(OnBad)))
    return cast(OnBad, name)


def is_missing(cell: Any) -> bool:
    """An empty cell: the input is absent, which is no error."""
    if isinstance(cell, Mapping):  # of several columns
        return all(map(is_missing, cell.values()))
    nothing = cell is None or (isinstance(cell, (Real, date)) and cell != cell)  # NaN, pandas' NaT
    return nothing or (isinstance(cell, (str, bytes, list)) and len(cell) == 0)


def is_blank(cell: Any) -> bool:
    """Whether a cell holds no answer: None, NaN, or text of spaces at most."""
    return cell is None or cell != cell or (isinstance(cell, str) and not cell.strip())


def in_chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of that size; the last may be shorter."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
