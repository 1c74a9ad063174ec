"""Splits rows into training, validation and test rows, and keeps each photo in one split."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from plait.data.cells import name_cell
from plait.data.digests import file_digests
from plait.data.paths import WebAddress, find_file
from plait.data.split_column import EXPECTED, SPLITS, Split, read_split_column
from plait.data.tables import Table, cell_key
from plait.data.values import class_key, is_missing
from plait.types import BadCell, Overlap, PlaitError, UsageError
from plait.util.files import digest, is_file

TOGETHER = 8  # downloads at a time

Splits = dict[Split, list[int]]
Ratios = tuple[float, float, float]
_Keys = Sequence[Hashable]
"""What photo or group each row belongs to; None for neither."""

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

    A split ``column`` says train, val (or validation, dev) or test; rows with other words are
    unused, and counted in a warning. If it has no validation rows, some training rows become
    validation rows, in proportion to the ratios. Without a split column, rows are split by
    ``ratios``, in an order drawn from the seed and the photos' paths (or bytes) or groups, whatever
    the machine and the order of the rows; rows with neither are drawn by their number.

    Args:
        table: the records.
        column: the split column; None to split by ratios.
        ratios: shares of train, val and test; they sum to 1.
        group: rows with equal cells in this column stay together; None for no such column.
        media: columns of images, audio and so on; rows with the same file (same path or same
            bytes) stay together.
        seed: of the order.
        overlap: what to do if a photo or group is in two splits of the column: ``stop``, ``drop``
            its rows from train (and from val if it is in test too), or ``keep`` it in both and
            warn, for published splits that overlap.
        to_learn: whether the column must have training rows; a table to score needs none.

    Raises:
        PlaitError: a photo or group is in two splits of the column, there are no training rows, or
            too few photos or groups for the splits.
        UsageError: a column is missing, or the ratios are not valid.
    """
    keys: list[list[Hashable]] = []
    if group is not None:
        keys.append([cell_key(cell) for cell in table.column(group)])
    keys += [photo_keys(table.column(name), table.root) for name in media]
    if column is not None:
        splits = _by_column(table, column, keys, overlap, to_learn)
        if splits["val"] or not splits["train"]:
            return splits
        rows, share = splits["train"], ratios[1] / (ratios[0] + ratios[1])
        own = [[each[row] for row in rows] for each in keys]
        parted = _by_ratio(table.where(rows), (1 - share, share, 0.0), own, seed)
        return splits | {name: [rows[at] for at in parted[name]] for name in ("train", "val")}
    whole = abs(sum(ratios) - 1) < 1e-6  # False for NaN too
    if len(ratios) != 3 or min(ratios) < 0 or ratios[0] <= 0 or not whole:
        raise UsageError(
            f"the split ratios are {list(ratios)}",
            expected="three shares (train, val, test) that sum to 1, with train above 0",
        )
    return _by_ratio(table, ratios, keys, seed)


def splits_of(table: Table, column: str) -> list[Split | None]:
    """Each row's split by a split column; None where its cell names none."""
    cells = table.column(column)
    meant = read_split_column(column, cells)
    return [None if is_missing(cell) else meant.get(class_key(cell)) for cell in cells]


def photo_keys(cells: Sequence[Any], root: Path) -> list[Hashable]:
    """A key for each cell, equal for equal photos; None for empty cells.

    Only the few files of equal size are read and compared. The keys are strings that don't depend
    on the table's folder.
    """
    names: list[Hashable] = [
        _embedded(cell) if isinstance(cell, bytes) and cell else cell_key(cell) for cell in cells
    ]
    distinct = [name for name in dict.fromkeys(names) if name is not None]
    with ThreadPoolExecutor(TOGETHER) as pool:  # for downloads; files are found faster without
        each = pool.map if any(isinstance(name, WebAddress) for name in distinct) else map
        found = dict(zip(distinct, each(partial(_file, root), distinct), strict=True))
    sizes = {name: _size(file) for name, file in found.items()}
    often = Counter(size for size in sizes.values() if size)
    first: dict[str, str] = {}  # content -> the key of the first cell that has it
    keys: dict[Hashable, str] = {}
    with file_digests() as files:
        for name in sorted(distinct, key=repr):  # in a fixed order
            file = found[name]
            keys[name] = file.key if isinstance(file, _Embedded) else str(name)
            if file is not None and often[sizes[name]] > 1:
                content = file.content if isinstance(file, _Embedded) else files.of(file)
                keys[name] = first.setdefault(content, keys[name])
    return [keys.get(name) for name in names]


class _Embedded(NamedTuple):
    """A file in the table, without its bytes: a column of them may not fit in memory."""

    key: str
    content: str
    size: int


def _embedded(data: bytes) -> _Embedded:
    return _Embedded(_digest(data), digest(data), len(data))


def _file(root: Path, name: Hashable) -> Path | _Embedded | None:
    """What a cell names; None if it can't be used (opening it later tells why)."""
    if isinstance(name, _Embedded):
        return name
    try:
        found = find_file(name if isinstance(name, str) else str(name), root)
    except BadCell:
        return None
    if isinstance(found, bytes):
        return _embedded(found)
    return found if is_file(found) and os.access(found, os.R_OK) else None


def _size(file: Path | _Embedded | None) -> int:
    """In bytes; 0 if there is none."""
    if isinstance(file, Path):
        return file.stat().st_size
    return 0 if file is None else file.size


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _by_column(
    table: Table, column: str, keys: Sequence[_Keys], overlap: Overlap, to_learn: bool
) -> Splits:
    cells = table.column(column)
    by_row = splits_of(table, column)
    unused = Counter(
        "(empty)" if is_missing(cell) else str(cell)
        for cell, split in zip(cells, by_row, strict=True)
        if split is None
    )
    if overlap == "drop":
        by_row = _without_overlap(by_row, keys)
    splits: Splits = {split: [i for i, s in enumerate(by_row) if s == split] for split in SPLITS}
    if not (splits["train"] if to_learn else any(splits.values())):
        words = list(dict.fromkeys(map(str, cells)))
        lacks = "train" if to_learn else "a split"
        raise PlaitError(
            f"column {column!r} of {table.path} puts no row in {lacks}",
            expected=f"{EXPECTED}; got {', '.join(words[:5])}",
        )
    for each in keys:
        _check_apart(table, each, by_row, column, overlap)
    if unused:
        counts = ", ".join(f"{word} ({rows:,} rows)" for word, rows in unused.most_common(10))
        log.warning("column %r: rows that it puts in no split are left out: %s", column, counts)
    return splits


def _first_rows(keys: _Keys, by_row: Sequence[Split | None]) -> dict[Hashable, dict[Split, int]]:
    """Photo or group -> each split that it is in -> its first row there."""
    found: dict[Hashable, dict[Split, int]] = {}
    for row, (key, split) in enumerate(zip(keys, by_row, strict=True)):
        if key is not None and split is not None:
            found.setdefault(key, {}).setdefault(split, row)
    return found


def _without_overlap(by_row: Sequence[Split | None], keys: Sequence[_Keys]) -> list[Split | None]:
    """Each row's split, or None if a later split has the row's photo or group too."""
    kept = list(by_row)
    for each in keys:
        found = _first_rows(each, by_row)
        last = {key: max(splits, key=SPLITS.index) for key, splits in found.items()}
        for row, (key, split) in enumerate(zip(each, by_row, strict=True)):
            if split != last.get(key, split):
                kept[row] = None
    dropped = sum(a != b for a, b in zip(kept, by_row, strict=True))
    if dropped:
        log.warning("%d rows are left out: their photo or group is in another split too", dropped)
    return kept


def _check_apart(
    table: Table, keys: _Keys, by_row: Sequence[Split | None], column: str, overlap: Overlap
) -> None:
    """Refuse photos or groups in several splits; with the overlap ``keep`` warn of them, as the
    scores don't measure unseen photos then."""
    found = _first_rows(keys, by_row)
    shared = {key: list(splits.items()) for key, splits in found.items() if len(splits) > 1}
    if shared and overlap == "keep":
        log.warning("%d of %d photos or groups are in more than one split", len(shared), len(found))
    elif shared:
        key = min(shared, key=lambda key: shared[key][1][1])  # the first that a row repeats
        (one, before), (other, row), *_ = shared[key]
        raise PlaitError(
            f"{name_cell(key)} is in {one} (row {table.number(before)}) and in {other} "
            f"(row {table.number(row)}) by column {column!r}",
            hint="put all its rows in one split, or set data.overlap to drop or keep",
        )


def _by_ratio(table: Table, ratios: Ratios, keys: Sequence[_Keys], seed: int) -> Splits:
    units = _shuffled(_units(len(table), keys), keys, seed)
    wanted = [s for s, ratio in zip(SPLITS, ratios, strict=True) if ratio > 0]
    if len(units) < len(wanted):
        raise PlaitError(
            f"{table.path} has {len(units)} photos or groups to split into {' and '.join(wanted)}",
            expected="at least one for each",
            hint="add rows",
        )
    parts: dict[Split, list[list[int]]] = {split: [] for split in SPLITS}
    before = 0
    for unit in units:  # it goes where its middle lies in the sequence cut by the ratios
        middle = (before + len(unit) / 2) / len(table)
        late = middle > ratios[0] + ratios[1] and ratios[2] > 0
        parts["train" if middle <= ratios[0] else "test" if late else "val"].append(unit)
        before += len(unit)
    for split in wanted:
        if not parts[split]:  # a small table: the fullest split gives one
            parts[split].append(max(parts.values(), key=len).pop())
    return {split: sorted(row for unit in parts[split] for row in unit) for split in SPLITS}


def _units(rows: int, keys: Sequence[_Keys]) -> list[list[int]]:
    """Units of rows that share a photo or a group, directly or through other rows."""
    parent = list(range(rows))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]  # halves the path for next time
            row = parent[row]
        return row

    for each in keys:
        first: dict[Hashable, int] = {}
        for row, key in enumerate(each):
            if key is not None:
                parent[root(row)] = root(first.setdefault(key, row))
    units: dict[int, list[int]] = {}
    for row in range(rows):
        units.setdefault(root(row), []).append(row)
    return list(units.values())


def _shuffled(units: list[list[int]], keys: Sequence[_Keys], seed: int) -> list[list[int]]:
    """The units in an order drawn from the seed and each unit's keys: its group if it has one,
    which doesn't depend on where files lie."""

    def draw(unit: list[int]) -> str:
        each = ([repr(column[row]) for row in unit if column[row] is not None] for column in keys)
        names = next(filter(None, each), [str(unit[0])])
        return _digest(f"{seed}:{min(names)}".encode())

    return sorted(units, key=draw)
