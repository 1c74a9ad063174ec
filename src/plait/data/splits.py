"""Which rows train, which validate, which test; one photo is never in two of them."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from plait.data.digests import file_digests, is_plain_file
from plait.data.media import name_cell
from plait.data.tables import SPLIT_WORDS, Table, cell_key
from plait.types import Overlap, PlaitError, UsageError
from plait.util.digests import digest

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, Split, Split] = ("train", "val", "test")
Splits = dict[Split, list[int]]
Ratios = tuple[float, float, float]

log = logging.getLogger("plait")


def split_rows(
    table: Table,
    *,
    column: str | None,
    ratios: Ratios,
    group: str | None,
    media: Sequence[str],
    seed: int,
    overlap: Overlap = "stop",
    to_learn: bool = True,
) -> Splits:
    """The row numbers of each split, ascending.

    With a split ``column`` its words decide (train, val or validation or dev, test); rows with
    other words go unused, and a warning is logged that counts them; where none says val, some of
    the train rows do, as many as the ratios have it. Without a split column, rows go by
    ``ratios``: the order depends on the seed and on the photos' paths (or bytes) or the groups
    alone, so that it is the same on every machine and however the rows are sorted. Rows that
    have neither go by their number.

    Args:
        table: the records.
        column: the split column; None to split by ratios.
        ratios: shares of train, val, test; they sum to 1.
        group: rows with equal cells in this column stay together; None for none.
        media: columns of photos, sounds and the like; rows of one of them (same path or same
            bytes) stay together.
        seed: another seed, another split.
        overlap: what happens where a photo or group is in two splits of the column: ``stop``, or
            ``drop`` its rows from train (and from val, where it is in test too), or ``keep`` them
            in both, with a warning: for published splits that are so.
        to_learn: whether there must be training rows in the column; a table that is scored may
            hold others alone.

    Raises:
        PlaitError: a photo or group is in two splits of the column, there is no row to train
            on, or too few photos or groups for the splits asked for.
        UsageError: a column is missing, or the ratios are not shares.
    """
    keys: list[list[Hashable]] = []
    if group is not None:
        keys.append([cell_key(cell) for cell in table.column(group)])
    keys += [photo_keys(table.column(name), table.root) for name in media]
    if column is not None:
        splits = _by_column(table, column, keys, overlap, to_learn)
        if splits["val"] or not splits["train"]:
            return splits
        return _with_validation(table, splits, ratios, keys, seed)
    return _by_ratio(table, _checked(ratios), keys, seed)


def unused_words(table: Table, column: str) -> dict[str, int]:
    """The words of a split column that name no split, with how many rows have each."""
    words = Counter(
        "(empty)" if cell_key(c) is None else str(c)
        for c in table.column(column)
        if _split_of(c) is None
    )
    return dict(words.most_common())


def photo_keys(cells: Sequence[Any], root: Path) -> list[Hashable]:
    """A key for each image cell, equal where the photo is the same; None where there is none.

    Only files whose sizes are equal are read and compared by content, which is a few of them.
    The keys are strings that don't depend on where the table lies.
    """
    plain = [_name(cell) for cell in cells]
    sizes = {cell: _size(cell, root) for cell in dict.fromkeys(plain) if cell is not None}
    often = Counter(size for size in sizes.values() if size)
    first: dict[str, str] = {}  # content -> the key of the first cell that has it
    keys: dict[Hashable, str] = {}
    with file_digests() as files:
        for cell, size in sorted(sizes.items(), key=lambda item: repr(item[0])):  # of any order
            keys[cell] = cell.key if isinstance(cell, _Held) else str(cell)
            if size and often[size] > 1:
                content = cell.content if isinstance(cell, _Held) else files.of(root / str(cell))
                keys[cell] = first.setdefault(content, keys[cell])
    return [keys.get(cell) for cell in plain]


class _Held(NamedTuple):
    """A file inside the table, without its bytes: a column of them may not fit in memory."""

    key: str
    content: str
    size: int


def _name(cell: Any) -> Hashable:
    if isinstance(cell, bytes) and cell:
        return _Held(_digest(cell), digest(cell), len(cell))
    return cell_key(cell)


def _size(cell: Any, root: Path) -> int | None:
    """Bytes of a photo; None or 0 where it can't be used: opening the photo later says why."""
    if isinstance(cell, _Held):
        return cell.size
    path = root / str(cell)
    # One that can't be opened can't be compared.
    readable = is_plain_file(path) and os.access(path, os.R_OK)
    return path.stat().st_size if readable else None


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _split_of(cell: Any) -> Split | None:
    word = SPLIT_WORDS.get(str(cell).strip().lower())
    return next((split for split in SPLITS if split == word), None)


def _by_column(
    table: Table,
    column: str,
    keys: Sequence[Sequence[Hashable]],
    overlap: Overlap,
    to_learn: bool,
) -> Splits:
    found = [_split_of(cell) for cell in table.column(column)]
    if overlap == "drop":
        found = _without_overlap(found, keys)
    splits: Splits = {split: [i for i, s in enumerate(found) if s == split] for split in SPLITS}
    unused = unused_words(table, column)
    if not (splits["train"] if to_learn else any(splits.values())):
        words = list(dict.fromkeys(str(cell) for cell in table.column(column)))
        lacks = "train" if to_learn else "a split"
        raise PlaitError(
            f"column {column!r} of {table.path} puts no row in {lacks}",
            expected=f"words of: {', '.join(SPLIT_WORDS)}; got {', '.join(words[:5])}",
        )
    for key in keys:
        if overlap == "keep":
            _tell_shared(key, found)
        else:
            _check_apart(table, key, found, column)
    if unused:
        counts = ", ".join(f"{word} ({rows:,} rows)" for word, rows in list(unused.items())[:10])
        log.warning("column %r: unused are %s", column, counts)
    return splits


def _with_validation(
    table: Table, splits: Splits, ratios: Ratios, keys: Sequence[Sequence[Hashable]], seed: int
) -> Splits:
    """The splits with validation rows taken from the training rows."""
    share = ratios[1] / (ratios[0] + ratios[1])
    rows = splits["train"]
    own = [[column[row] for row in rows] for column in keys]
    parted = _by_ratio(table.where(rows), (1 - share, share, 0.0), own, seed)
    return splits | {name: [rows[at] for at in parted[name]] for name in ("train", "val")}


def _without_overlap(
    found: Sequence[Split | None], keys: Sequence[Sequence[Hashable]]
) -> list[Split | None]:
    """Each row's split, or None where a later split has one of the row's photos or groups too."""
    kept = list(found)
    for key in keys:
        latest: dict[Hashable, int] = {}
        for cell, split in zip(key, found, strict=True):
            if cell is not None and split is not None:
                latest[cell] = max(latest.get(cell, 0), SPLITS.index(split))
        for row, (cell, split) in enumerate(zip(key, found, strict=True)):
            if cell in latest and split is not None and SPLITS.index(split) < latest[cell]:
                kept[row] = None
    dropped = sum(a != b for a, b in zip(kept, found, strict=True))
    if dropped:
        log.warning("%d rows are left out: another split has their photo or group too", dropped)
    return kept


def _tell_shared(keys: Sequence[Hashable], found: Sequence[Split | None]) -> None:
    """Warn of what the scores do not tell then: how it does with photos that it has not seen."""
    splits: dict[Hashable, set[Split]] = {}
    for key, split in zip(keys, found, strict=True):
        if key is not None and split is not None:
            splits.setdefault(key, set()).add(split)
    shared = sum(len(each) > 1 for each in splits.values())
    if shared:
        log.warning("%d of %d photos or groups are in two splits or more", shared, len(splits))


def _check_apart(
    table: Table, keys: Sequence[Hashable], found: Sequence[Split | None], column: str
) -> None:
    seen: dict[Hashable, tuple[Split, int]] = {}
    for row, (key, split) in enumerate(zip(keys, found, strict=True)):
        if key is None or split is None:
            continue
        other, before = seen.setdefault(key, (split, row))
        if other != split:
            raise PlaitError(
                f"{name_cell(key)} is in {other} (row {table.number(before)}) and in {split} "
                f"(row {table.number(row)}) by column {column!r}",
                hint="give all its rows one split, or: --set data.overlap=drop leaves them out of "
                "train, =keep in both",
            )


def _checked(ratios: Ratios) -> Ratios:
    whole = abs(sum(ratios) - 1) < 1e-6
    if len(ratios) != 3 or min(ratios) < 0 or ratios[0] <= 0 or not whole:
        raise UsageError(
            f"the split ratios are {list(ratios)}",
            expected="three shares of train, val, test that sum to 1, train above 0",
        )
    return ratios


def _by_ratio(
    table: Table, ratios: Ratios, keys: Sequence[Sequence[Hashable]], seed: int
) -> Splits:
    units = _shuffled(_units(len(table), keys), keys, seed)
    wanted = [s for s, ratio in zip(SPLITS, ratios, strict=True) if ratio > 0]
    if len(units) < len(wanted):
        raise PlaitError(
            f"{table.path} has {len(units)} photos or groups to split into {' and '.join(wanted)}",
            expected="at least one for each",
            hint="give more rows",
        )
    parts = _deal(units, ratios)
    for split in wanted:
        if not parts[split]:  # a small table: the fullest split gives one
            parts[split].append(max(parts.values(), key=len).pop())
    return {split: sorted(row for unit in parts[split] for row in unit) for split in SPLITS}


def _deal(units: Sequence[list[int]], ratios: Ratios) -> dict[Split, list[list[int]]]:
    """Cuts the line of units where the ratios say; a unit goes where its middle lies."""
    total, before = sum(map(len, units)), 0
    parts: dict[Split, list[list[int]]] = {split: [] for split in SPLITS}
    for unit in units:
        place = (before + len(unit) / 2) / total
        late = place > ratios[0] + ratios[1] and ratios[2] > 0
        parts["train" if place <= ratios[0] else "test" if late else "val"].append(unit)
        before += len(unit)
    return parts


def _units(rows: int, keys: Sequence[Sequence[Hashable]]) -> list[list[int]]:
    """Rows that share a photo or a group, also through other rows, as one unit."""
    parent = list(range(rows))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]  # halves the path for the next time
            row = parent[row]
        return row

    for column in keys:
        first: dict[Hashable, int] = {}
        for row, key in enumerate(column):
            if key is not None:
                parent[root(row)] = root(first.setdefault(key, row))
    units: dict[int, list[int]] = {}
    for row in range(rows):
        units.setdefault(root(row), []).append(row)
    return list(units.values())


def _shuffled(
    units: list[list[int]], keys: Sequence[Sequence[Hashable]], seed: int
) -> list[list[int]]:
    """Units in an order drawn from the seed and each unit's own keys: its group's where it has
    one, which doesn't name the place of a file."""

    def draw(unit: list[int]) -> str:
        each = ([repr(column[row]) for row in unit if column[row] is not None] for column in keys)
        names = next(filter(None, each), [str(unit[0])])
        return _digest(f"{seed}:{min(names)}".encode())

    return sorted(units, key=draw)
