"""Describes what a table contains, before anything is trained on it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from plait.data.cells import name_cell
from plait.data.images import open_image
from plait.data.tables import Table, cell_key
from plait.data.values import is_missing
from plait.pipeline.columns import modality_of, numbers_rows
from plait.types import BadCell
from plait.util.arguments import checked
from plait.util.files import digest

OnPhoto = Callable[[int, int], None]
"""Called after each photo with how many are opened, and how many there are in all."""

WORD = re.compile(r"\w+(?:['’-]\w+)*")
SEEN = 5  # occurrences from which a word can be learned
NAMED = 20  # bad files listed


@checked
def profile(
    table: Table,
    image: str | None,
    text: str | None,
    vocabulary: Mapping[str, int] | None = None,
    on_progress: OnPhoto | None = None,
) -> dict[str, Any]:
    """Describe a table, as plain JSON.

    Args:
        table: the records.
        image: the column of photos, each of which is decoded; None to leave photos out.
        text: the column of captions (strings or lists of strings); None to leave captions out.
        vocabulary: a model's words, lower-case; adds the share of the words that it knows.
        on_progress: called after each photo with the numbers of photos opened and in all.

    Returns:
        ``rows``; ``columns`` (kind, empty and distinct cells of each; ``emptied``: how often each
        text, such as NA, stood for an empty cell; ``note``: why nothing can be learned from it);
        with ``image``: ``photos``
        (column, count, width and height in pixels, bad); with ``text``: ``captions`` (column,
        count, words and per_row as min, mean, median, p95, max; vocabulary).

    Raises:
        UsageError: a column is missing.

    Examples:
        >>> found = plait.profile(plait.read_table("photos"), image="image", text=None)
        >>> found["rows"], found["photos"]["width"]["max"]
        (6, 640)
    """
    described: dict[str, Any] = {
        "rows": len(table),
        "columns": {
            name: _column(cells)
            | {"emptied": dict(table.empty.get(name, {})), "note": numbers_rows(name, cells)}
            for name, cells in table.columns.items()
        },
    }
    if image is not None:
        described["photos"] = _photos(table, image, on_progress)
    if text is not None:
        described["captions"] = {"column": text, **_captions(table.column(text), vocabulary)}
        if image is not None:
            described["captions"]["per_photo"] = _per_photo(table, image, text)
    return described


def words(caption: str) -> list[str]:
    """A caption's words, lower-case, without punctuation."""
    return WORD.findall(caption.lower())


def _column(cells: Sequence[Any]) -> dict[str, Any]:
    kinds: set[str] = set()
    distinct: set[Hashable] = set()
    empty = 0
    for cell in cells:  # cells are not kept: they may be larger than memory
        if _is_empty(cell):
            empty += 1
        else:
            kinds.add(_kind_of(cell))
            distinct.add(digest(cell) if isinstance(cell, bytes) else str(cell))
    kind = next(iter(kinds), "empty")
    if len(kinds) > 1:
        kind = "text" if kinds == {"text", "word"} else "mixed"
        kind = "audio" if kinds == {"audio", "video"} else kind  # sounds in files of videos
    return {"kind": kind, "empty": empty, "distinct": len(distinct)}


def _is_empty(cell: Any) -> bool:
    if isinstance(cell, list):
        return all(map(_is_empty, cell))
    return is_missing(cell) or (isinstance(cell, bytes) and not cell.strip())


def _kind_of(cell: Any) -> str:
    if isinstance(cell, bytes):
        return modality_of(cell) or "bytes"
    if isinstance(cell, str):
        return modality_of(cell) or ("text" if " " in cell.strip() else "word")
    if isinstance(cell, (bool, int, float)):
        return "yes/no" if isinstance(cell, bool) else "number"
    if isinstance(cell, list):
        return "texts" if all(isinstance(item, str) for item in cell) else "list"
    return type(cell).__name__


def _photos(table: Table, image: str, on_progress: OnPhoto | None) -> dict[str, Any]:
    """Opens every photo, as only decoding it tells whether it can be used."""
    rows: dict[Hashable, int] = {}
    cells = table.column(image)
    for row, cell in enumerate(cells):
        if not _is_empty(cell):
            rows.setdefault(cell_key(cell), row)
    shapes: list[tuple[int, int]] = []
    bad: list[dict[str, Any]] = []
    for done, row in enumerate(rows.values(), start=1):
        try:
            shapes.append(open_image(cells[row], table.root).shape[:2])
        except BadCell as error:
            bad.append({"row": row + 1, "file": name_cell(cells[row]), "why": str(error)})
        if on_progress is not None:
            on_progress(done, len(rows))
    return {
        "column": image,
        "count": len(rows),
        "height": _spread([height for height, _ in shapes]),
        "width": _spread([width for _, width in shapes]),
        "bad": {"count": len(bad), "first": bad[:NAMED]},
    }


def _captions(cells: Sequence[Any], known: Mapping[str, int] | None) -> dict[str, Any]:
    """Counts, lengths, and the share of all words that occur often enough."""
    split = [words(caption) for cell in cells for caption in _texts(cell)]
    counts = Counter(word for caption in split for word in caption)
    total = max(1, counts.total())
    often = [n for n in counts.values() if n >= SEEN]
    vocabulary: dict[str, Any] = {
        "distinct": len(counts),
        "running": counts.total(),
        f"seen_{SEEN}_times": len(often),
        "coverage": sum(often) / total,
    }
    if known is not None:
        vocabulary["known"] = sum(n for word, n in counts.items() if word in known) / total
    return {
        "count": len(split),
        "words": _spread([len(caption) for caption in split]),
        "per_row": _spread([len(_texts(cell)) for cell in cells]),
        "vocabulary": vocabulary,
    }


def _texts(cell: Any) -> list[str]:
    return [str(t) for t in (cell if isinstance(cell, list) else [cell]) if not _is_empty(t)]


def _per_photo(table: Table, image: str, text: str) -> dict[str, float] | None:
    counts: Counter[Any] = Counter()
    for photo, cell in zip(table.column(image), table.column(text), strict=True):
        if not _is_empty(photo):
            counts[cell_key(photo)] += len(_texts(cell))
    return _spread(list(counts.values()))


def _spread(values: Sequence[int]) -> dict[str, float] | None:
    """Minimum, mean, median, 95th percentile (nearest rank) and maximum; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    return {
        "min": ordered[0],
        "mean": fmean(ordered),
        "median": median(ordered),
        "p95": ordered[(95 * len(ordered) + 99) // 100 - 1],
        "max": ordered[-1],
    }
