"""What cells say, alike from every format: what is missing, what is a number, which class it is.

**Missing.** A cell is empty if it is None, NaN, blank, or one of the texts `MISSING`, which are
those that pandas reads so. In a column of numbers, a dash or a full stop is empty too (`GAPS`).

**Numbers and true or false.** A column is numbers if at least 95 in 100 of its cells are, or all
but one; the others stay as they are, and are bad cells for whoever reads numbers. Digits that begin
with 0 (``007``) are a name, and so is their column.

**Classes.** ``True``, ``true`` and ``"true"`` are one class, and so are ``1``, ``1.0`` and ``"1"``,
and texts that differ in Unicode's form, in spaces around them or, where no two classes differ in
nothing else, in case.
"""

from __future__ import annotations

import ast
import json
import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

MISSING = frozenset({
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>",
    "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
})  # fmt: skip
GAPS = frozenset({"-", "--", "–", "—", "."})
NUMBER = re.compile(r"[-+]?(0|[1-9]\d*)?(\.\d+)?(?<=\d)([eE][-+]?\d+)?")
MOSTLY = 0.95  # of a column's cells, which make the others odd ones

_NAME = re.compile(r"[-+]?0\d+")
_TRUTHS = {"true": True, "false": False}
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")
_APART = re.compile(rf"\s*(?:(?:{_QUOTED.pattern})\s+)+(?:{_QUOTED.pattern})\s*")


def is_missing(cell: Any) -> bool:
    """Whether a cell is empty, which is not an error: the input or target is missing."""
    if isinstance(cell, Mapping):  # several columns
        return all(map(is_missing, cell.values()))
    if isinstance(cell, (str, bytes, list)):
        return not (cell.strip() if isinstance(cell, str) else cell)
    return cell is None or _is_nan(cell)


def _is_nan(cell: Any) -> bool:
    """NaN, and pandas' NaT and NA, which is equal to nothing and can't be compared."""
    return type(cell).__name__ == "NAType" or (
        isinstance(cell, (Real, Decimal, date)) and cell != cell
    )


def is_gap(cell: Any) -> bool:
    """Whether a cell of a column of numbers is empty: a dash or a full stop."""
    return isinstance(cell, str) and cell.strip() in GAPS


def plain(cell: Any, missing: frozenset[str] = MISSING) -> Any:
    """A cell as a plain Python value: None if it is empty or one of the texts ``missing``; numpy's
    numbers and texts as Python's; lists without their missing items."""
    if isinstance(cell, np.generic):
        cell = cell.item()
    if isinstance(cell, str):
        text = cell.strip()
        return None if not text or text in missing else cell
    if isinstance(cell, Mapping):  # several columns
        return {name: plain(value, missing) for name, value in cell.items()}
    if isinstance(cell, (bytearray, memoryview)):
        return bytes(cell)
    if isinstance(cell, (set, frozenset)):
        cell = sorted(cell, key=str)
    if isinstance(cell, np.ndarray) and cell.dtype.kind in "OUSb":  # numbers may be a long series
        cell = cell.tolist()
    if isinstance(cell, tuple):
        cell = list(cell)
    if isinstance(cell, list):
        if not any(isinstance(item, (str, np.generic)) or item is None for item in cell):
            return cell  # numbers, as of a series
        return [value for item in cell if (value := plain(item, missing)) is not None]
    return None if cell is None or _is_nan(cell) else cell


def plain_column(
    cells: Sequence[Any], missing: frozenset[str] = MISSING
) -> tuple[list[Any], Counter[str]]:
    """The cells of a column as plain values, and how often each text stood for an empty cell.

    Args:
        cells: as a reader of files gives them.
        missing: the texts that stand for an empty cell.
    """
    values = [plain(cell, missing) for cell in cells]
    texts = [v for v in values if isinstance(v, str)]
    if texts:
        values = _typed(values, texts)
    gone = Counter(
        cell.strip()
        for cell, value in zip(cells, values, strict=True)
        if value is None and isinstance(cell, str) and cell.strip()
    )
    return values, gone


def _typed(values: list[Any], texts: Sequence[str]) -> list[Any]:
    """A column's values, some of them texts, as numbers, truths or lists where nearly all are."""
    if any(_NAME.fullmatch(text.strip()) for text in texts):
        return values
    filled = [v for v in values if v is not None]
    numbers = [v for v in filled if _is_number(v) or is_gap(v)]
    if mostly(len(numbers), len(filled)) and any(map(_is_number, numbers)):
        whole = all(
            isinstance(v, int) or (isinstance(v, str) and v.strip().lstrip("+-").isdigit())
            for v in numbers
            if _is_number(v)
        )
        kind = int if whole else float
        return [_as_number(v, kind) for v in values]
    truths = [v for v in filled if isinstance(v, bool) or _is_truth(v)]
    if mostly(len(truths), len(filled)):
        return [_TRUTHS[v.strip().lower()] if _is_truth(v) else v for v in values]
    lists = [as_list(v) if isinstance(v, str) else v for v in values]
    # Half of them: what would be a list of one is often written without brackets.
    return lists if 2 * sum(isinstance(v, list) for v in lists) >= len(filled) else values


def mostly(count: int, of: int) -> bool:
    """Whether so many of a column's cells say what it holds: 95 in 100, or all but one of five or
    more."""
    return of > 0 and (count >= MOSTLY * of or (of - count == 1 and of >= 5))


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return NUMBER.fullmatch(value.strip()) is not None
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _as_number(value: Any, kind: type) -> Any:
    if is_gap(value):
        return None
    return kind(value) if _is_number(value) else value


def _is_truth(value: Any) -> bool:
    return isinstance(value, str) and value.strip().lower() in _TRUTHS


def as_list(text: str) -> Any:
    """A list, tuple or set that is written in a cell as JSON, Python or numpy write one, without
    what is missing in it; the text if it isn't one.

    Examples:
        >>> as_list("['a dog', 'it runs']")
        ['a dog', 'it runs']
    """
    found = text.strip()
    if found[:1] + found[-1:] not in ("[]", "()", "{}") or (found[0] == "(" and "," not in found):
        return text
    inside = found[1:-1]
    if _APART.fullmatch(inside):  # numpy puts no commas
        return ["".join(pair) for pair in _QUOTED.findall(inside)]
    written = f"[{inside}]"
    gaps = re.sub(r"(?<=[\[,\s])nan(?=[\],\s])", "NaN", written)
    for read, source in (
        (json.loads, written), (_literal, written),
        (json.loads, gaps), (_literal, gaps.replace("NaN", "None")), (_numbers, inside),
    ):  # fmt: skip
        try:
            value = read(source)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        return plain(value)
    return text


def _numbers(text: str) -> list[float]:
    """Numbers with spaces between them, as numpy writes them."""
    return [int(n) if n.lstrip("+-").isdigit() else float(n) for n in text.split()]


def _literal(text: str) -> Any:
    with warnings.catch_warnings():  # of backslashes, as in 'C:\d'
        warnings.simplefilter("ignore")
        return ast.literal_eval(text)


def class_key(value: Any) -> str:
    """What makes two cells the same class: a text in Unicode's form NFC without spaces around it,
    ``true`` or ``false`` however written, a whole number without point."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = unicodedata.normalize("NFC", str(value)).strip()
    if text.lower() in _TRUTHS:
        return text.lower()
    whole = re.fullmatch(r"\+?(-?(?:0|[1-9]\d*))(?:\.0+)?", text)
    return whole.group(1) if whole else text


class ClassIds:
    """The number of each class, found by what a cell means rather than by how it is written.

    Examples:
        >>> ids = ClassIds(["no", "yes"])
        >>> ids.get(" Yes "), ids.get("maybe")
        (1, None)
    """

    def __init__(self, classes: Iterable[Any]) -> None:
        self._exact: dict[str, int] = {}
        for number, value in enumerate(classes):
            self._exact.setdefault(class_key(value), number)
        folded = Counter(key.casefold() for key in self._exact)
        self._folded = {
            key.casefold(): number
            for key, number in self._exact.items()
            if folded[key.casefold()] == 1
        }

    def __getitem__(self, value: Any) -> int:
        """The number of a class; raises KeyError for any other value."""
        number = self.get(value)
        if number is None:
            raise KeyError(value)
        return number

    def get(self, value: Any) -> int | None:
        """The number of the class that a cell means; None if it means none of them."""
        key = class_key(value)
        return self._exact.get(key, self._folded.get(key.casefold()))


def same_but_for_case(classes: Iterable[Any]) -> list[list[Any]]:
    """Classes that differ in case alone, in groups: each of them keeps its own spelling."""
    groups: dict[str, list[Any]] = {}
    for value in classes:
        groups.setdefault(class_key(value).casefold(), []).append(value)
    return [group for group in groups.values() if len(group) > 1]
