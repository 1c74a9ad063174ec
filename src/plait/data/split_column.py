"""What a split column says: which rows train, which validate and which test.

Words are read in many spellings (``train``, ``Training``, ``training_set``, ``dev``,
``validation``, ``holdout``). Numbers are splits in a column that is named so: the lowest is train,
the highest is test, and one in between is val. In columns such as ``is_train`` and ``is_test``,
true or 1 names the split.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from plait.data.values import class_key, is_missing
from plait.types import UsageError

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, Split, Split] = ("train", "val", "test")
NAMES = ("split", "splits", "partition", "subset", "set", "fold")
"""Usual names of a split column, the likeliest first."""
EXPECTED = (
    "words such as train, val and test, the numbers 0, 1 and 2, or a column such as is_test of "
    "true and false"
)

_WORDS: dict[str, Split] = {
    **dict.fromkeys(("train", "training", "trn", "tr", "restval", "learn"), "train"),
    **dict.fromkeys(
        ("val", "valid", "validation", "validate", "dev", "devel", "development", "eval",
         "evaluation"),
        "val",
    ),
    **dict.fromkeys(
        ("test", "testing", "tst", "te", "holdout", "heldout"), "test",
    ),
}  # fmt: skip
_SHORT = {"tr", "te", "trn", "tst", "learn"}  # only in a column that is named as a split
_FILLERS = {"set", "split", "data", "dataset", "sample", "samples", "subset", "partition", "rows",
            "the", "is", "in", "for", "public", "private"}  # fmt: skip
_TRUE, _FALSE = {"true", "1", "yes"}, {"false", "0", "no"}


def split_of(word: Any) -> Split | None:
    """The split that a word names, such as ``Validation set``; None if it names none."""
    if not isinstance(word, str):
        return None
    tokens = _tokens(re.sub("(?i)hold[ _-]out", "holdout", word))
    named = {_WORDS.get(token.removesuffix("set")) for token in tokens if token not in _FILLERS}
    only = named.pop() if len(named) == 1 else None
    return only if re.fullmatch(r"[\w .:()-]*", word.strip()) else None


def _tokens(name: str) -> list[str]:
    """The words of a name, also of one in camel case."""
    return re.findall("[a-z]+", re.sub("([a-z])([A-Z])", r"\1_\2", name).lower())


def split_in_name(name: str) -> Split | None:
    """The split in the name of a file or folder, such as ``captions_train2017.json``; None if it
    names no split, or several."""
    tokens = re.findall("[a-z]+", name.lower())
    named = {_WORDS.get(token.removesuffix("set")) for token in tokens if token not in _SHORT}
    named.discard(None)
    return named.pop() if len(named) == 1 else None


def read_split_column(name: str, cells: Sequence[Any]) -> Mapping[str, Split]:
    """What each value of a column means, by `class_key`; values that name no split are left out.

    Args:
        name: the column's.
        cells: of the column.

    Returns:
        Value -> split; empty if no value names one.

    Examples:
        >>> read_split_column("split", [0, 0, 1, 2])
        {'0': 'train', '1': 'val', '2': 'test'}
    """
    counts = Counter(class_key(cell) for cell in cells if not is_missing(cell))
    words = {value: split for value in counts if (split := split_of(value))}
    if not _is_named(name):
        words = {value: split for value, split in words.items() if value.lower() not in _SHORT}
    if words:
        return words
    flag = _flagged(name)
    if flag and set(map(str.lower, counts)) <= _TRUE | _FALSE:
        return _flags(flag, counts)
    if _is_named(name) and 2 <= len(counts) <= 3 and all(v.isdigit() for v in counts):
        ordered = sorted(counts, key=int)
        consecutive = int(ordered[-1]) - int(ordered[0]) == len(ordered) - 1
        if consecutive and counts[ordered[0]] == max(counts.values()):
            splits: Sequence[Split] = SPLITS if len(ordered) == 3 else ("train", "test")
            return dict(zip(ordered, splits, strict=True))
    return {}


def split_key(name: str, cells: Sequence[Any]) -> Callable[[Any], str]:
    """The key of a cell of a split column, equal for cells that mean the same split."""
    meant = read_split_column(name, cells)

    def key(cell: Any) -> str:
        value = "" if is_missing(cell) else class_key(cell)
        return meant.get(value, value)

    return key


def _is_named(name: str) -> bool:
    """Whether a column has the name of a split."""
    tokens = re.findall("[a-z]+", name.lower())
    return bool(tokens) and tokens[-1] in NAMES and "fold" not in tokens


def _flagged(name: str) -> Split | None:
    """The split that a column such as ``is_test`` is about."""
    tokens = _tokens(re.sub("(?i)^is(?=test|train|val)", "is_", name))
    about = tokens[0] in {"is", "in", "for"} if tokens else False
    about = about or tokens in (["train"], ["training"])
    return split_of(" ".join(tokens)) if about else None


def _flags(flag: Split, counts: Mapping[str, int]) -> Mapping[str, Split]:
    """True rows are of the split ``flag``. Most rows train: a flag of which that can't be so says
    something else, such as whether a record is valid."""
    yes = sum(count for value, count in counts.items() if value.lower() in _TRUE)
    trains = yes if flag == "train" else sum(counts.values()) - yes
    if 2 * trains < sum(counts.values()) or len(counts) < 2:
        return {}
    others: Split = "test" if flag == "train" else "train"
    return {value: flag if value.lower() in _TRUE else others for value in counts}


def find_split_column(columns: Mapping[str, Sequence[Any]]) -> str | None:
    """The column that says which rows train; None if there is none.

    Args:
        columns: name -> some of its cells, without empty ones.
    """
    read = {name: read_split_column(name, cells) for name, cells in columns.items()}
    shares = {
        name: sum(class_key(cell) in meant for cell in columns[name]) / max(1, len(columns[name]))
        for name, meant in read.items()
    }
    named = sorted(filter(_is_named, columns), key=lambda name: name.lower() not in NAMES)
    for name in [*named, *columns]:
        if shares[name] > (0.5 if name in named else 0.8):
            return name
    return None


def check_flags(columns: Mapping[str, Sequence[Any]]) -> None:
    """Raises UsageError if columns such as ``is_val`` and ``is_test`` put a row in different
    splits: one of them alone would have the rows of the other learned from.

    Args:
        columns: name -> its cells.
    """
    flags = {name: cells for name, cells in columns.items() if _flagged(name)}
    meant = {name: read_split_column(name, cells) for name, cells in flags.items()}
    names = [name for name in flags if meant[name]]
    rows = zip(*([meant[n].get(class_key(cell)) for cell in flags[n]] for n in names), strict=True)
    if any(len(set(row)) > 1 for row in rows):
        raise UsageError(
            f"the columns {' and '.join(names)} put rows in different splits",
            expected="one column of splits, such as train, val and test",
            hint=f"write them as one, or choose one with --set data.split={names[0]}",
        )


def check_split_names(columns: Mapping[str, Sequence[Any]]) -> None:
    """Raises UsageError if a column is named as a split is and its values name none: splitting at
    random would pass over what it says.

    Args:
        columns: name -> some of its cells, without empty ones.
    """
    for name, cells in columns.items():
        if name.lower() in ("split", "splits", "partition") and cells:
            values = ", ".join(dict.fromkeys(map(class_key, cells)))
            raise UsageError(
                f"the values of the column {name!r} name no split: {values:.60}",
                expected=EXPECTED,
                hint="rename the column, or split at random with --set data.split=random",
            )
