"""Records as the network is fed them: read, augmented, prepared by the frozen encoders, cached.

This is where tables (cells) become batches (tensors); the policy for bad cells is applied here,
and every bad cell is counted and named.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plait.data.cells import in_chunks, is_missing
from plait.data.digests import FileDigests, file_digests
from plait.data.media import MAX_BYTES
from plait.data.rows import Row, padded, to_row
from plait.modalities.base import Modality
from plait.network import Batch
from plait.nn.encoder import Encoder
from plait.pipeline.cache import CHUNK_ROWS, FeatureSpace
from plait.types import BadCell, State
from plait.util.digests import digest
from plait.util.files import is_file

SMALL_BATCH, LARGE_BATCH = 4, 64  # records computed at a time on a processor, on a GPU
READ_THREADS = 2
UNREADABLE = "unreadable:"
CACHE_FORMAT = "3"  # raise it when rows are kept or augmented otherwise: old caches must miss

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, and of how many."""
Item = tuple[Any, int, int]
"""A cell, the view of it that is wanted, and the seed that the view is drawn by."""
Outcome: TypeAlias = Row | BadCell
"""What a cell gave: its features, or what is wrong with it."""
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Corruption:
    """How records are made worse: one of ``Modality.corruptions``, and how much, 1 to 5."""

    kind: str
    strength: int

    def __str__(self) -> str:
        return f"{self.kind}-{self.strength}"


class PreparedInput:
    """One input's column: for each row and view the result of `Encoder.prepare`."""

    def __init__(
        self,
        name: str,
        modality: Modality,
        encoder: Encoder,
        state: State,
        root: Path,
        corruption: Corruption | None = None,
    ) -> None:
        """With a corruption, every record is made worse once it is read."""
        self.name, self.modality, self.encoder = name, modality.with_state(state), encoder
        self.root = root
        self.corruption = corruption
        self._example: Row | None = None

    def keys(self, cells: Iterable[Any]) -> list[str | None]:
        """`content_keys`, others for records that are made worse."""
        keys = content_keys(self.modality, cells, self.root)
        if self.corruption is None:
            return keys
        return [key and f"{key}-{self.corruption}" for key in keys]

    def read(self, cell: Any, view: int = 0, seed: int = 0) -> Tensor:
        """One record, read and augmented."""
        item = self.modality.read(cell, self.root)
        if self.corruption is not None:
            item = self.modality.corrupt(item, self.corruption.kind, self.corruption.strength)
        return as_tensor(self.modality.augment(item, view, seed))

    def space(self, device: torch.device) -> FeatureSpace:
        """The cache of this encoder's frozen part and this preprocessing."""
        trunk, kind = self.encoder.trunk, type(self.encoder).__qualname__
        weights = (_raw(weight) for weight in trunk.state_dict().values())
        reading = self.modality.fingerprint()
        name = digest(CACHE_FORMAT, reading, kind, repr(trunk), *weights)
        example = self.example(device)
        return FeatureSpace(name, example.shape, example.dtype)

    def example(self, device: torch.device) -> Row:
        """The features of a blank record, for their shape and type; computed once."""
        if self._example is None:
            blank = as_tensor(self.modality.example()).to(device)
            self._example = as_row(self.encoder.prepare([blank])[0])
        return self._example

    def prepare(self, items: Iterable[Item], device: torch.device) -> Iterator[Outcome]:
        """Read and prepare cells, in order; a bad cell gives its error instead of features."""
        chunks = in_chunks(items, SMALL_BATCH if device.type == "cpu" else LARGE_BATCH)
        with _workers() as pool:
            for outcomes in _ahead(pool, lambda chunk: self._prepare_chunk(chunk, device), chunks):
                yield from outcomes

    def features(self, items: Iterable[NDArray[Any]], device: torch.device) -> Iterator[Row]:
        """What the frozen encoder makes of items as they are read, in order."""

        def work(chunk: list[NDArray[Any]]) -> list[Row]:
            tensors = [as_tensor(item).to(device) for item in chunk]
            return [as_row(row) for row in self.encoder.prepare(tensors)]

        with _workers() as pool:
            for rows in _ahead(pool, work, in_chunks(items, SMALL_BATCH)):
                yield from rows

    def _prepare_chunk(self, items: Sequence[Item], device: torch.device) -> list[Outcome]:
        read: list[Tensor | BadCell] = []
        for cell, view, seed in items:
            try:
                read.append(self.read(cell, view, seed))
            except BadCell as error:
                read.append(_bare(error))
        good = [item for item in read if isinstance(item, Tensor)]
        if not good:
            return [item for item in read if isinstance(item, BadCell)]
        rows = iter(self.encoder.prepare([item.to(device) for item in good]))
        return [item if isinstance(item, BadCell) else as_row(next(rows)) for item in read]


def _workers() -> ThreadPoolExecutor:
    """As many as torch has threads. Each computes a few records at a time on one thread: their
    activations stay in the processor's cache, which makes convolutions about twice as fast as one
    large batch."""
    workers = torch.get_num_threads()
    return ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))


def _bare(error: BadCell) -> BadCell:
    """Without the frames that it came through: they hold the file, and those who keep the error, a
    circle that would stay until it is collected."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def content_keys(modality: Modality, cells: Iterable[Any], root: Path) -> list[str | None]:
    """Each cell's content as a key; None where it is missing. Files that are as they were when
    their digest was last taken are not read."""
    with file_digests() as files, ThreadPoolExecutor(READ_THREADS) as pool:
        return list(_ahead(pool, partial(_content_key, modality, root, files), cells))


def _content_key(modality: Modality, root: Path, files: FileDigests, cell: Any) -> str | None:
    if is_missing(cell):
        return None
    try:
        return _content_digest(modality, root, files, cell)
    except BadCell:  # `read` will say what is wrong with it
        return f"{UNREADABLE}{digest(repr(cell))}"


def _content_digest(modality: Modality, root: Path, files: FileDigests, cell: Any) -> str:
    if modality.media and isinstance(cell, (str, Path)) and str(cell).strip():
        path = root / cell
        if is_file(path) and 0 < path.stat().st_size <= MAX_BYTES:
            with suppress(OSError):  # `content` will say what is wrong with it
                return files.of(path)
    return digest(modality.content(cell, root))


@contextmanager
def few_threads(records: int) -> Iterator[None]:
    """One thread of torch's for a few records: what there is to multiply is not worth waking a
    second for, and beside busy programs waiting for it takes many times as long as the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if records <= SMALL_BATCH else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def as_tensor(item: NDArray[Any]) -> Tensor:
    """An item as it was read, for `Encoder.prepare`."""
    return torch.from_numpy(np.ascontiguousarray(item))


def view_seed(key: str) -> int:
    """What the views of a record are drawn by: its content alone decides."""
    return zlib.crc32(key.encode())


def as_row(features: Tensor) -> Row:
    """As they are kept, see `to_row`."""
    whole = not features.is_floating_point()
    return to_row((features if whole else features.float()).cpu().numpy())


def pad_rows(rows: Sequence[Row | None], example: Row) -> tuple[Tensor, Tensor]:
    """`padded`, as tensors."""
    values, lengths = padded(rows, example)
    return torch.from_numpy(values), torch.from_numpy(lengths)


def _raw(weight: Tensor) -> memoryview:
    """A tensor's bytes, whatever its type."""
    flat = weight.detach().cpu().reshape(-1).contiguous()
    return flat.view(torch.uint8).numpy().data


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T], ahead: int = 8
) -> Iterator[R]:
    """Like ``pool.map``, but with only a few results waiting, so that memory stays small."""
    waiting: deque[Future[R]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def fill_cache(
    source: PreparedInput,
    cells: Sequence[Any],
    views: int,
    meet: Callable[[int, BadCell], None],
    device: torch.device,
    progress: Progress | None = None,
) -> tuple[FeatureSpace, list[str | None]]:
    """Compute what the cache lacks; return it with each row's key (None: missing or bad).

    ``meet`` is called with the row of every bad cell; should it raise, it does so at the first.
    """
    space = source.space(device)
    keys = source.keys(cells)
    first: dict[str, int] = {}
    for row, key in enumerate(keys):
        if key is not None:
            first.setdefault(key, row)
    with space.lock:
        space.refresh()
        todo = [
            (key, row, view)
            for key, row in first.items()
            for view in range(views)
            if view_key(key, view) not in space
        ]
        wanted = {view_key(key, view) for key in first for view in range(views)}
        failed: dict[str | None, BadCell] = {}
        # Once a few are there the space knows how long rows are, and so what the rest will need.
        for before, some in ((0, todo[:CHUNK_ROWS]), (CHUNK_ROWS, todo[CHUNK_ROWS:])):
            left = [item for item in some if item[0] not in failed]
            space.make_room(len(left), wanted)
            shown = progress and _shifted(progress, before, len(todo))
            failed |= _compute(source, space, cells, left, meet, device, shown)
    for row, key in enumerate(keys):
        if key is not None and key in failed and row != first[key]:
            meet(row, failed[key])
    return space, [None if key in failed else key for key in keys]


def _shifted(progress: Progress, before: int, total: int) -> Progress:
    """Progress of a part of a work, of which so many are done before."""
    return lambda what, done, _: progress(what, before + done, total)


def view_key(key: str, view: int) -> str:
    """A row's key for one of its views."""
    return f"{key}.{view}"


def _compute(
    source: PreparedInput,
    space: FeatureSpace,
    cells: Sequence[Any],
    todo: Sequence[tuple[str, int, int]],
    meet: Callable[[int, BadCell], None],
    device: torch.device,
    progress: Progress | None,
) -> dict[str | None, BadCell]:
    """Prepare and keep (key, row, view)s; keys of bad cells are returned with their errors."""
    failed: dict[str | None, BadCell] = {}
    rows: dict[str, Row] = {}
    # Cells are fetched as they are needed: a column may be larger than the memory.
    outcomes = source.prepare(
        ((cells[row], view, view_seed(key)) for key, row, view in todo), device
    )
    for done, ((key, row, view), outcome) in enumerate(zip(todo, outcomes, strict=True), start=1):
        if not isinstance(outcome, BadCell):
            rows[view_key(key, view)] = outcome
        elif key not in failed:
            failed[key] = outcome
            meet(row, outcome)
        if rows and (len(rows) >= CHUNK_ROWS or done == len(todo)):
            space.add(rows)
            rows = {}
        if progress and (done % 16 == 0 or done == len(todo)):
            progress(f"features of {source.name}", done, len(todo))
    return failed


@dataclass
class CachedRecords:
    """Records whose inputs lie prepared in the cache; batches come in any order.

    Attributes:
        inputs: input name -> (its cache, each record's key or None, number of views).
        targets: output name -> each record's target.
    """

    inputs: Mapping[str, tuple[FeatureSpace, list[str | None], int]]
    targets: Mapping[str, list[Any]]
    count: int

    def __len__(self) -> int:
        return self.count

    def with_inputs(self, names: Collection[str]) -> CachedRecords:
        """The same records with all other inputs missing."""
        nothing: list[str | None] = [None] * self.count
        inputs = {
            name: (space, keys if name in names else nothing, views)
            for name, (space, keys, views) in self.inputs.items()
        }
        return replace(self, inputs=inputs)

    def with_swapped(self, name: str, seed: int = 0) -> CachedRecords:
        """The same records, each with the input of another one whose content is not its own."""
        space, keys, views = self.inputs[name]
        order = np.random.default_rng(seed).permutation(self.count).tolist()
        others = {
            row: next((k for k in _turned(order, place, keys) if k != keys[row]), keys[row])
            for place, row in enumerate(order)
        }
        swapped = [others[row] for row in range(self.count)]
        return replace(self, inputs={**self.inputs, name: (space, swapped, views)})

    def batch(self, rows: Sequence[int], rng: np.random.Generator | None = None) -> Batch:
        """The rows as a batch; with ``rng`` each in a random view, else as they are."""
        prepared, lengths = {}, {}
        for name, (space, keys, views) in self.inputs.items():
            picked = rng.integers(0, views, len(rows)) if rng is not None else [0] * len(rows)
            wanted = {
                at: view_key(key, int(view))
                for at, (row, view) in enumerate(zip(rows, picked, strict=True))
                if (key := keys[row]) is not None
            }
            found = dict(zip(wanted, space.get(list(wanted.values())), strict=True))
            padded = pad_rows([found.get(at) for at in range(len(rows))], space.example)
            prepared[name], lengths[name] = padded
        targets = {name: [values[row] for row in rows] for name, values in self.targets.items()}
        return Batch(prepared, lengths, targets)

    def batches(self, size: int) -> Iterator[Batch]:
        """All rows in order."""
        for start in range(0, self.count, size):
            yield self.batch(range(start, min(start + size, self.count)))


def _turned(order: Sequence[int], place: int, keys: Sequence[str | None]) -> Iterator[str]:
    """The contents that follow a place in the order, round to it; missing ones are passed over."""
    for step in range(1, len(order)):
        key = keys[order[(place + step) % len(order)]]
        if key is not None:
            yield key
