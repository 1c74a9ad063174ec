"""Dates in tables: as objects (Parquet), or written in an unambiguous form."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone
from typing import Any

KINDS = "a date such as 2024-12-31, 2024-12-31 18:30 or 31.12.2024"
_TIME = r"(?:[T ]+(\d{2}):(\d{2})(?::(\d{2})(?:[.,]\d+)?)?\s*(Z|[+-]\d{2}:?\d{2})?)?"
_YEAR_FIRST = re.compile(r"(?P<y>\d{4})([-/])(?P<m>\d{1,2})\2(?P<d>\d{1,2})" + _TIME)
_DAY_FIRST = re.compile(r"(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{4})" + _TIME)


def as_date(cell: Any) -> datetime | None:
    """A cell as a point in time, without a time zone; None if it is not a date.

    A time with a zone is converted to UTC; a date without a time means midnight. 01/02/2024 is
    ambiguous, and not taken for a date.
    """
    if isinstance(cell, datetime):
        return _without_zone(cell)
    if isinstance(cell, date):
        return datetime(cell.year, cell.month, cell.day)
    text = cell.strip() if isinstance(cell, str) else ""
    match = _YEAR_FIRST.fullmatch(text) or _DAY_FIRST.fullmatch(text)
    if match is None:
        return None
    hour, minute, second, zone = match.groups()[-4:]
    year, month, day = (int(match[part]) for part in "ymd")
    offset = timedelta()
    if zone not in (None, "Z"):
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
        offset = -offset if zone[0] == "-" else offset
    try:
        moment = datetime(year, month, day, int(hour or 0), int(minute or 0), int(second or 0))
        return _without_zone(moment.replace(tzinfo=timezone(offset)))
    except (ValueError, OverflowError):  # no such day, or the zone's offset leads before year 1
        return None


def is_date(cell: Any) -> bool:
    """Whether a cell is a date, see `as_date`."""
    return as_date(cell) is not None


def _without_zone(moment: datetime) -> datetime:
    return moment if moment.tzinfo is None else moment.astimezone(timezone.utc).replace(tzinfo=None)
