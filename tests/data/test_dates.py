from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest

from plait.data.dates import as_date, is_date


@pytest.mark.parametrize(
    ("cell", "moment"),
    [
        ("2024-02-29", datetime(2024, 2, 29)),
        (" 2024/2/9 ", datetime(2024, 2, 9)),
        ("29.02.2024", datetime(2024, 2, 29)),
        ("29.2.2024 18:30", datetime(2024, 2, 29, 18, 30)),
        ("2024-02-29T18:30:05", datetime(2024, 2, 29, 18, 30, 5)),
        ("2024-02-29 18:30:05.25", datetime(2024, 2, 29, 18, 30, 5)),
        ("2024-02-29T18:30Z", datetime(2024, 2, 29, 18, 30)),
        ("2024-02-29T18:30:00+05:30", datetime(2024, 2, 29, 13, 0)),
        ("2024-02-29T18:30-0800", datetime(2024, 3, 1, 2, 30)),
        (date(2024, 2, 29), datetime(2024, 2, 29)),
        (datetime(2024, 2, 29, 1, tzinfo=timezone(timedelta(hours=2))), datetime(2024, 2, 28, 23)),
    ],
)
def test_dates(cell: Any, moment: datetime) -> None:
    assert as_date(cell) == moment


@pytest.mark.parametrize(
    "cell",
    [
        "01/02/2024", "2024-02-30", "2023-02-29", "2024-13-01", "2024-02/03", "2024-02-29 25:00",
        "20240229", 20240229, 2024.5, True, None, "", "soon", "0001-01-01T00:00+05:00",
        "2024-01-01T00:00+99:00",
    ],
)  # fmt: skip
def test_what_is_no_date(cell: Any) -> None:
    assert not is_date(cell)
