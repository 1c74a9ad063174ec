"""Dates as tables have them: as objects (Parquet) or written in a form that has one meaning."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone
from typing import Any

KINDS = "a date such as 2024-12-31, 2024-12-31 18:30 or 31.12.2024"
_TIME = r"(?:[T ]+(\d{2}):(\d{2})(?::(\d{2})(?:[.,]\d+)?)?\s*(Z|[+-]\d{2}:?\d{2})?)?"
_YEAR_FIRST = re.compile(r"(?P<y>\d{4})([-/])(?P<m>\d{1,2})\2(?P<d>\d{1,2})" + _TIME)
_DAY_FIRST = re.compile(r"(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{4})" + _TIME)


def as_date(cell: Any) -> datetime | None:
    """A cell as a point in time, without a zone; None where it is no date.

    A time with a zone is brought to UTC; a date without a time is its midnight. 01/02/2024 is
    February to some and January to others, and so is none.
    """
    if isinstance(cell, datetime):
        return _without_zone(cell)
    if isinstance(cell, date):
        return datetime(cell.year, cell.month, cell.day)
    return _written(cell.strip()) if isinstance(cell, str) else None


def is_date(cell: Any) -> bool:
    """Whether a cell is one."""
    return as_date(cell) is not None


def _written(text: str) -> datetime | None:
    match = _YEAR_FIRST.fullmatch(text) or _DAY_FIRST.fullmatch(text)
    if match is None:
        return None
    hour, minute, second, zone = match.groups()[-4:]
    year, month, day = (int(match[part]) for part in "ymd")
    try:
        moment = datetime(year, month, day, int(hour or 0), int(minute or 0), int(second or 0))
        return _without_zone(moment.replace(tzinfo=_zone(zone)))
    except (ValueError, OverflowError):  # no such day; or its zone's offset leads out of year 1
        return None


def _zone(text: str | None) -> timezone | None:
    if text is None or text == "Z":
        return timezone.utc
    sign = -1 if text[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(text[1:3]), minutes=int(text[-2:])))


def _without_zone(moment: datetime) -> datetime:
    return moment if moment.tzinfo is None else moment.astimezone(timezone.utc).replace(tzinfo=None)
