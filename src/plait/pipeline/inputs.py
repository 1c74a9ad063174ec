"""One input of a model: its cells read, prepared by the frozen part of the encoder, and cached."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from numpy.typing import NDArray

from plait.data.cells import MAX_BYTES, in_chunks
from plait.data.digests import file_digests
from plait.data.paths import find_file
from plait.data.values import is_missing
from plait.modalities.base import Modality
from plait.pipeline.cache import CHUNK_ROWS, FeatureSpace
from plait.pipeline.engine import EncoderEngine, Row
from plait.render.progress import Progress
from plait.types import BadCell
from plait.util.files import digest, is_file

READ_THREADS = 2
LOOKAHEAD = 8  # chunks that are computed before they are asked for
UNREADABLE = "unreadable:"
CACHE_FORMAT = "3"  # raise it when rows are kept otherwise: old caches must miss

Item = tuple[Any, int, int]
"""A cell, the view of it that is wanted, and the seed of its views."""
Outcome: TypeAlias = Row | BadCell | None
"""A cell's features, what is wrong with it, or None if it is empty."""
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Corruption:
    """How records are made worse: one of ``Modality.corruptions``, and its strength, 1 to 5."""

    kind: str
    strength: int

    def __str__(self) -> str:
        return f"{self.kind}-{self.strength}"


@dataclass
class InputReader:
    """Reads an input's cells and prepares them for the network.

    Attributes:
        name: the input's.
        modality: fitted.
        engine: runs the frozen part of the encoder.
        root: relative paths start here.
        corruption: makes every record worse once it is read.
    """

    name: str
    modality: Modality
    engine: EncoderEngine
    root: Path
    corruption: Corruption | None = None

    def keys(self, cells: Iterable[Any]) -> list[str | None]:
        """`content_keys`; those of corrupted records differ from those of the originals."""
        keys = content_keys(self.modality, cells, self.root)
        if self.corruption is None:
            return keys
        return [key and f"{key}-{self.corruption}" for key in keys]

    def read(self, cell: Any, view: int = 0, seed: int = 0) -> NDArray[Any]:
        """One cell, read, corrupted and augmented, (L, ...)."""
        item = self.modality.read(cell, self.root)
        if self.corruption is not None:
            item = self.modality.corrupt(item, self.corruption.kind, self.corruption.strength)
        return self.modality.augment(item, view, seed)

    @cached_property
    def example(self) -> Row:
        """The features of a blank record, for their shape and type."""
        return self.engine.prepare(self.name, [self.modality.example()])[0]

    def space(self) -> FeatureSpace:
        """The cache of this preprocessing and this frozen network; the shapes tell apart what is
        cut to another length, which a fingerprint need not."""
        shapes = f"{self.modality.example().shape} -> {self.example.shape}"
        frozen = self.engine.frozen_digest(self.name)
        name = digest(CACHE_FORMAT, self.modality.fingerprint(), frozen, shapes)
        return FeatureSpace(name, self.example.shape, self.example.dtype)

    def rows(self, items: Iterable[Item]) -> Generator[Outcome, None, None]:
        """Read and prepare cells, in order; a bad cell gives its error instead of features."""
        return self._in_parallel(self._prepare, items)

    def features(self, items: Iterable[NDArray[Any]]) -> Iterator[Row]:
        """The features of items that are read already, in order."""
        return self._in_parallel(partial(self.engine.prepare, self.name), items)

    def _in_parallel(
        self, work: Callable[[list[T]], Sequence[R]], items: Iterable[T]
    ) -> Generator[R, None, None]:
        with ThreadPoolExecutor(self.engine.workers, initializer=self.engine.start_worker) as pool:
            for results in ahead(pool, work, in_chunks(items, self.engine.chunk)):
                yield from results

    def _prepare(self, items: Sequence[Item]) -> list[Outcome]:
        read: list[NDArray[Any] | BadCell | None] = []
        for cell, view, seed in items:
            try:
                read.append(None if is_missing(cell) else self.read(cell, view, seed))
            except BadCell as error:
                # Its frames hold the file, in a circle that would stay until it is collected.
                error.__cause__ = error.__context__ = None
                read.append(error.with_traceback(None))
        full = [item for item in read if not (item is None or isinstance(item, BadCell))]
        rows = iter(self.engine.prepare(self.name, full) if full else ())
        return [i if i is None or isinstance(i, BadCell) else next(rows) for i in read]


def ahead(
    pool: ThreadPoolExecutor,
    work: Callable[[T], R],
    items: Iterable[T],
    most: int = LOOKAHEAD,
) -> Iterator[R]:
    """Like ``pool.map``, but a result comes as soon as it is there, and at most so many are
    computed before they are asked for, so that memory stays small. If ``items`` raises, what was
    computed before comes first."""
    waiting: deque[Future[R]] = deque()
    failed: Exception | None = None
    coming = iter(items)
    while True:
        try:
            waiting.append(pool.submit(work, next(coming)))
        except StopIteration:
            break
        except Exception as error:  # whatever it is, it is raised below
            failed = error
            break
        while len(waiting) > most or (waiting and waiting[0].done()):
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
    if failed is not None:
        raise failed


def content_keys(modality: Modality, cells: Iterable[Any], root: Path) -> list[str | None]:
    """Each cell's content as a key; None where it is missing. Files that have not changed since
    their digest was last taken are not read."""

    def key(cell: Any) -> str | None:
        if is_missing(cell):
            return None
        if modality.media and isinstance(cell, (str, Path)) and str(cell).strip():
            path = find_file(cell, root)
            if isinstance(path, Path) and is_file(path) and 0 < path.stat().st_size <= MAX_BYTES:
                with suppress(OSError):  # `content` will say what is wrong with it
                    return files.of(path)
        try:
            return digest(modality.content(cell, root))
        except BadCell:  # `read` will say what is wrong with it
            return f"{UNREADABLE}{digest(repr(cell))}"

    with file_digests() as files, ThreadPoolExecutor(READ_THREADS) as pool:
        return list(ahead(pool, key, cells))


def view_seed(key: str) -> int:
    """The seed of a record's augmented views, from its content key."""
    return int(digest(key)[:8], 16)


def view_key(key: str, view: int) -> str:
    """A row's key for one of its views."""
    return f"{key}.{view}"


@dataclass(frozen=True)
class Features:
    """One input of a table's records, prepared and cached.

    Attributes:
        space: the cache.
        keys: each record's content key; None where the input is missing.
        views: how many augmented versions of each there are; version 0 is the original.
    """

    space: FeatureSpace
    keys: Sequence[str | None]
    views: int = 1


def cache_features(
    reader: InputReader,
    cells: Sequence[Any],
    views: int,
    handle: Callable[[int, BadCell], None],
    progress: Progress | None = None,
) -> Features:
    """Compute what the cache lacks of a column.

    Args:
        reader: of the input.
        cells: one per record, fetched as they are needed: a column may be larger than memory.
        views: augmented versions of each.
        handle: called with the row of every bad cell; it may raise at the first.
        progress: called while features are computed.
    """
    space, keys = reader.space(), reader.keys(cells)
    first: dict[str, int] = {}
    for row, key in enumerate(keys):
        if key is not None:
            first.setdefault(key, row)
    failed: dict[str, BadCell] = {}
    with space.lock:
        space.refresh()
        every = [(key, row, view) for key, row in first.items() for view in range(views)]
        wanted = {view_key(key, view) for key, _, view in every}
        todo = [(key, row, view) for key, row, view in every if view_key(key, view) not in space]
        done = 0
        # Once a few are there the space knows how long rows are, and so what the rest will need.
        for part in (todo[:CHUNK_ROWS], todo[CHUNK_ROWS:]):
            left = [item for item in part if item[0] not in failed]
            space.make_room(len(left), wanted)
            kept: dict[str, Row] = {}
            outcomes = reader.rows((cells[row], view, view_seed(key)) for key, row, view in left)
            for number, ((key, row, view), outcome) in enumerate(
                zip(left, outcomes, strict=True), start=1
            ):
                if isinstance(outcome, BadCell):
                    if key not in failed:
                        failed[key] = outcome
                        handle(row, outcome)
                elif outcome is not None:
                    kept[view_key(key, view)] = outcome
                if kept and (len(kept) >= CHUNK_ROWS or number == len(left)):
                    space.add(kept)
                    kept = {}
                if progress and (number % 16 == 0 or number == len(left)):
                    progress(f"features of {reader.name}", done + number, len(todo))
            done += len(part)
    for row, key in enumerate(keys):
        if key is not None and key in failed and row != first[key]:
            handle(row, failed[key])
    return Features(space, [None if key in failed else key for key in keys], views)
