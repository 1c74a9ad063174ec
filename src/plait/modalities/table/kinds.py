"""The kinds of plain column: what each takes for a value, learns, and makes of a value.

A value becomes an id and some numbers. Id 0 is a missing value; what the others mean depends on
the kind. Numbers are of about the size of 1, and 0 where there is nothing to say.
"""

from __future__ import annotations

import math
import unicodedata
from abc import ABC, abstractmethod
from calendar import isleap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from numbers import Real
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np

from plait.data.dates import KINDS as DATES
from plait.data.dates import as_date
from plait.data.tables import cell_key
from plait.data.values import NUMBER, ClassIds
from plait.types import BadCell, PlaitError, State

KindName = Literal["number", "category", "date"]
Coded: TypeAlias = tuple[int, list[float]]
"""What a value becomes: its id and its numbers."""

MISSING, THERE = 0, 1
UNSEEN, FIRST = 1, 2  # ids of a category that was not learned, and of the first that was
LARGEST = 1e100  # of a number, so that squares and sums stay finite
LONGEST = 200  # letters of a category
EXAMPLES = 50  # categories that a schema names
MOSTLY = 0.8  # the share of a column's values that decides its kind
TRUTHS = {"true": 1.0, "false": 0.0}
YES_NO = "true or false"


def is_empty(value: Any) -> bool:
    """A missing value: nothing, blank, NaN (also written so)."""
    blank = isinstance(value, str) and value.strip().lower() in {"", "nan"}
    return blank or cell_key(value) is None


class Kind(ABC):
    """What a column holds."""

    name: ClassVar[KindName]
    expected: ClassVar[str]
    """What a value must be, for messages."""
    numbers: ClassVar[int]
    """How many numbers a value gives."""

    @abstractmethod
    def parse(self, value: Any) -> Any:
        """A value that is not missing, as `fit` and `code` take it, or BadCell for others."""

    @abstractmethod
    def fit(self, values: Sequence[Any]) -> State:
        """What must be known of the training values, at least one, to code others.

        Raises:
            PlaitError: nothing can be learned from them.
        """

    @abstractmethod
    def code(self, value: Any, state: State) -> Coded:
        """The value's id, 1 or more, and its numbers."""

    def words(self, state: State) -> Sequence[str]:
        """What the ids from `FIRST` on are called, where they are called something."""
        return ()

    def ids(self, state: State) -> int:
        """How many ids there are: missing, there, and those that the kind adds."""
        return THERE + 1

    @abstractmethod
    def schema(self, state: State) -> dict[str, Any]:
        """Its values as JSON Schema, with examples; null if there is none."""

    def accepts(self, value: Any) -> bool:
        """Whether a value is of this kind."""
        try:
            self.parse(value)
        except BadCell:
            return False
        return True

    def refuse(self, value: Any, why: str = "") -> BadCell:
        """The error for a value that is not of this kind."""
        return BadCell(f"{value!r:.60} {why or f'is not a {self.name}'}", expected=self.expected)


class Number(Kind):
    """A number, or true and false as 1 and 0; id 1, and one number: (value - mean) / deviation.

    The mean and the standard deviation are the training values'; where all are the same, the
    deviation counts as 1.
    """

    name = "number"
    expected = f"a finite number, or {YES_NO}"
    numbers = 1

    def parse(self, value: Any) -> float:
        """As a float; strings are read where they are written as numbers are."""
        plain = value
        if isinstance(value, str):
            text = value.strip().lower()
            infinite = text.lstrip("+-") in {"inf", "infinity"}
            plain = TRUTHS.get(text, text if infinite or NUMBER.fullmatch(text) else None)
        elif not isinstance(value, (Real, Decimal)):
            plain = None
        if plain is None:
            raise self.refuse(value)
        try:
            number = float(plain)
        except OverflowError:  # a whole number of more than 308 digits
            number = math.inf
        if not abs(number) <= LARGEST:
            raise self.refuse(value, "is infinite, or as good as that")
        return number

    def fit(self, values: Sequence[float]) -> State:
        """Mean and standard deviation."""
        if min(values) == max(values):
            return {"mean": values[0], "deviation": 1.0}
        return {"mean": float(np.mean(values)), "deviation": float(np.std(values)) or 1.0}

    def code(self, value: float, state: State) -> Coded:
        """The scaled number."""
        return THERE, [(value - state["mean"]) / state["deviation"]]

    def schema(self, state: State) -> dict[str, Any]:
        """The mean as the example."""
        return {"type": ["number", "null"], "examples": [float(f"{state['mean']:.3g}")]}


class Category(Kind):
    """One of a few values: an id each, the commonest first, and one for all that are unseen.

    A value is known again however it is written, as `plait.data.values` says of classes.
    """

    name = "category"
    expected = f"a text of at most {LONGEST} characters, a finite number, a date, or {YES_NO}"
    numbers = 0

    def __init__(self, min_count: int, most: int) -> None:
        self.min_count, self.most = min_count, most

    def parse(self, value: Any) -> str:
        """As text."""
        if not isinstance(value, (str, Real, Decimal, date)):
            raise self.refuse(value)
        if isinstance(value, (float, Decimal)):
            if not math.isfinite(value):
                raise self.refuse(value, "is infinite")
            value = int(value) if value == int(value) else value
        text = unicodedata.normalize("NFC", str(value)).strip()
        if len(text) > LONGEST:
            raise self.refuse(value, f"has {len(text):,} letters")
        return text

    def fit(self, values: Sequence[str]) -> State:
        """The id of each value that is seen often enough."""
        counts = Counter(values)
        often = [value for value, count in counts.items() if count >= self.min_count]
        if not often:
            raise PlaitError(
                f"{len(counts):,} different values and none of them {self.min_count} times",
                expected="numbers, dates, or a few values that recur",
                hint="leave the column out, or lower the representation's min_count",
            )
        often.sort(key=lambda value: (-counts[value], value))
        return {"ids": {value: FIRST + n for n, value in enumerate(often[: self.most])}}

    def code(self, value: str, state: State) -> Coded:
        """The value's id."""
        ids: dict[str, int] = state["ids"]
        if value in ids:
            return ids[value], []
        number = _classes(tuple(ids)).get(value)
        return UNSEEN if number is None else list(ids.values())[number], []

    def schema(self, state: State) -> dict[str, Any]:
        """The commonest ones as examples; others are allowed."""
        return {"type": ["string", "null"], "examples": list(state["ids"])[:EXAMPLES]}

    def words(self, state: State) -> Sequence[str]:
        """The categories."""
        return list(state["ids"])

    def ids(self, state: State) -> int:
        """Missing, unseen, and those seen."""
        return FIRST + len(state["ids"])


@lru_cache
def _classes(values: tuple[str, ...]) -> ClassIds:
    return ClassIds(values)


class Date(Kind):
    """A point in time; id 1, and seven numbers: the time since the middle of the training range in
    halves of that range, so that it lies between -1 and 1 there, and sine and cosine of the place
    within the year, the week and the day."""

    name = "date"
    expected = DATES
    numbers = 7

    def parse(self, value: Any) -> datetime:
        """As a point in time, in UTC where it has a zone."""
        found = as_date(value)
        if found is None:
            raise self.refuse(value)
        return found

    def fit(self, values: Sequence[datetime]) -> State:
        """The first and the last."""
        return {"first": min(values).isoformat(), "last": max(values).isoformat()}

    def code(self, value: datetime, state: State) -> Coded:
        """When, on the whole and within the year, the week and the day."""
        first, last = map(datetime.fromisoformat, (state["first"], state["last"]))
        half = (last - first) / 2 or timedelta(days=1)
        day = (value - datetime(value.year, value.month, value.day)) / timedelta(days=1)
        year = timedelta(days=366 if isleap(value.year) else 365)
        # Which share of its year, its week (from Monday) and its day has gone by.
        shares = (value - datetime(value.year, 1, 1)) / year, (value.weekday() + day) / 7, day
        turns = [2 * math.pi * share for share in shares]
        waves = [wave(turn) for turn in turns for wave in (math.sin, math.cos)]
        return THERE, [(value - first) / half - (last > first), *waves]

    def schema(self, state: State) -> dict[str, Any]:
        """The last one as the example."""
        return {"type": ["string", "null"], "format": "date-time", "examples": [state["last"]]}


def likely_kind(values: Iterable[Any], kinds: Mapping[KindName, Kind]) -> KindName:
    """The kind of at least four values in five, numbers before dates; else categories.

    So one value of a wrong kind does not turn a column of numbers into categories: it is named
    when it is read.
    """
    sample = list(values)
    for name in ("number", "date"):
        if sum(map(kinds[name].accepts, sample)) >= MOSTLY * len(sample):
            return name
    return "category"
