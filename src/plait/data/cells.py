"""Missing and bad cells, and the policy for them."""

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
    """What to do with bad cells, and the list of them.

    Attributes:
        policy: ``stop`` at the first bad cell, ``skip`` its record, or treat the input as
            ``missing``.
        failures: one line for each bad cell.
        handled: (row, input) of each bad cell, with rows as the caller counts them.
        in_table: whether messages name the row and column; False for files named one by one.
    """

    policy: OnBad = "stop"
    failures: list[str] = field(default_factory=list)
    handled: set[tuple[int, str]] = field(default_factory=set)
    in_table: bool = True

    def handle(self, number: int, column: str, error: BadCell) -> None:
        """Stop, or note the bad cell; ``number`` is its row in the table, counted from 1."""
        line = self._line(number, column, error)
        if self.policy == "stop":
            what = "the cell" if self.in_table else "the file"
            raise PlaitError(
                line, hint=f"fix {what}, or continue with --on-bad skip or --on-bad missing"
            ) from None
        self.failures.append(line)

    def note_unseen_labels(self, column: str, errors: Mapping[int, UnseenLabel]) -> None:
        """Note targets that the model has never seen, in one line. Their records are kept.

        Args:
            column: the column with the targets.
            errors: row number -> error.
        """
        if errors:
            first, *others = errors
            line = f"{self._line(first, column, errors[first])}; it counts as wrong"
            if others:
                some = ", ".join(map(str, others[:10])) + (", ..." if len(others) > 10 else "")
                line += f", and so do {len(others):,} other rows: {some}"
            self.failures.append(line)

    def _line(self, number: int, column: str, error: BadCell) -> str:
        return f"row {number}, column {column!r}: {error}" if self.in_table else str(error)


def check_policy(name: str) -> OnBad:
    """Check the name of a policy; raises UsageError for an unknown one."""
    if name not in get_args(OnBad):
        raise UsageError(f"there is no policy {name!r}", expected=" or ".join(get_args(OnBad)))
    return cast(OnBad, name)


def is_missing(cell: Any) -> bool:
    """Whether a cell is empty: its input is missing, which is not an error."""
    if isinstance(cell, Mapping):  # several columns
        return all(map(is_missing, cell.values()))
    nothing = cell is None or (isinstance(cell, (Real, date)) and cell != cell)  # NaN, pandas' NaT
    return nothing or (isinstance(cell, (str, bytes, list)) and len(cell) == 0)


def is_blank(cell: Any) -> bool:
    """Whether a cell has no answer: None, NaN, or blank text."""
    return cell is None or cell != cell or (isinstance(cell, str) and not cell.strip())


def in_chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of ``size``; the last one may be shorter."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
