"""Records as the network is fed them: read, augmented, prepared by the frozen encoders, cached.

This is where tables (cells) become batches (tensors); the policy for bad cells is applied here,
and every bad cell is counted and named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from plait.components import Encoder, Modality
from plait.data.cache import CHUNK_ROWS, FeatureSpace, digest
from plait.network import Batch
from plait.types import BadCell, PlaitError, State

OnBad = Literal["stop", "skip", "missing"]
PREPARE_BATCH = 32
READ_THREADS = 2
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, and of how many."""


@dataclass
class BadCells:
    """The cells that could not be used, by row."""

    policy: OnBad = "stop"
    problems: list[str] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)

    def meet(self, row: int, column: str, error: BadCell) -> None:
        """Stop, or count it and go on."""
        line = f"row {row + 1}, column {column!r}: {error}"
        if self.policy == "stop":
            raise PlaitError(
                line, mend="mend the cell, or go on with --on-bad skip or --on-bad missing"
            ) from None
        self.problems.append(line)
        self.rows.append(row)


def is_missing(cell: Any) -> bool:
    """An empty cell: the input is absent, which is no error."""
    return cell is None or (isinstance(cell, (str, bytes, list)) and len(cell) == 0)


class PreparedInput:
    """One input's column: for each row and view the result of `Encoder.prepare`."""

    def __init__(
        self, name: str, modality: Modality, encoder: Encoder, state: State, root: Path
    ) -> None:
        self.name, self.modality, self.encoder = name, modality, encoder
        self.state, self.root = state, root

    def keys(self, cells: Sequence[Any]) -> list[str | None]:
        """A row's content as a key; None where the input is missing or its file unreadable."""
        with ThreadPoolExecutor(READ_THREADS) as pool:
            return list(pool.map(self._key, cells))

    def _key(self, cell: Any) -> str | None:
        if is_missing(cell):
            return None
        if isinstance(cell, bytes):
            return digest(cell)
        if isinstance(cell, (str, Path)):
            path = self.root / cell
            return digest(path.read_bytes()) if path.is_file() else None
        return digest(repr(cell))

    def read(self, cell: Any, view: int = 0) -> Tensor:
        """One record, read and augmented."""
        return self.modality.augment(self.modality.read(cell, self.root, self.state), view)

    def space(self, device: torch.device) -> FeatureSpace:
        """The cache of this encoder's frozen part and this preprocessing."""
        weights = [p.detach().cpu().numpy().tobytes() for p in self.encoder.trunk.parameters()]
        name = digest(self.modality.fingerprint(self.state), repr(self.encoder.trunk), *weights)
        return FeatureSpace(name, self._shape(device))

    def _shape(self, device: torch.device) -> tuple[int, ...]:
        example = self.modality.example(self.state)
        prepared = self.encoder.prepare(self.modality.collate([example]).to(device))
        return tuple(prepared.shape[1:])


def fill_cache(
    source: PreparedInput,
    cells: Sequence[Any],
    views: int,
    bad: BadCells,
    device: torch.device,
    progress: Progress | None = None,
) -> tuple[FeatureSpace, list[str | None]]:
    """Compute what the cache lacks; return it with each row's key (None: missing or bad)."""
    space = source.space(device)
    keys = source.keys(cells)
    with space.lock:
        space.refresh()
        todo = _lacking(space, keys, cells, views)
        space.make_room(len(todo))
        failed = _compute(source, space, cells, todo, bad, device, progress)
    keys = [None if row in failed else key for row, key in enumerate(keys)]
    return space, keys


def view_key(key: str, view: int) -> str:
    """A row's key for one of its views."""
    return f"{key}.{view}"


def _lacking(
    space: FeatureSpace, keys: Sequence[str | None], cells: Sequence[Any], views: int
) -> list[tuple[int, int, str]]:
    """(row, view, key) to compute, each content once; unreadable files too, to name them."""
    todo, seen = [], set[str]()
    for row, key in enumerate(keys):
        if key is None and is_missing(cells[row]):
            continue
        for view in range(views if key else 1):
            name = view_key(key or f"unreadable{row}", view)
            if name not in space and name not in seen:
                seen.add(name)
                todo.append((row, view, name))
    return todo


def _compute(
    source: PreparedInput,
    space: FeatureSpace,
    cells: Sequence[Any],
    todo: Sequence[tuple[int, int, str]],
    bad: BadCells,
    device: torch.device,
    progress: Progress | None,
) -> set[int]:
    """Read, prepare and keep; rows whose cell is bad are returned."""
    failed: set[int] = set()

    def read(item: tuple[int, int, str]) -> Tensor | BadCell:
        try:
            return source.read(cells[item[0]], item[1])
        except BadCell as error:
            return error

    keys: list[str] = []
    rows: list[np.ndarray] = []
    with ThreadPoolExecutor(READ_THREADS) as pool:
        for start in range(0, len(todo), PREPARE_BATCH):
            items = todo[start : start + PREPARE_BATCH]
            good: list[Tensor] = []
            for item, tensor in zip(items, pool.map(read, items), strict=True):
                if isinstance(tensor, BadCell):
                    if item[0] not in failed:
                        bad.meet(item[0], source.name, tensor)
                    failed.add(item[0])
                else:
                    good.append(tensor)
                    keys.append(item[2])
            if good:
                batch = source.modality.collate(good).to(device)
                rows.append(source.encoder.prepare(batch).to(torch.float16).cpu().numpy())
            if len(keys) >= CHUNK_ROWS or start + PREPARE_BATCH >= len(todo):
                if keys:
                    space.add(keys, np.concatenate(rows))
                keys, rows = [], []
            if progress:
                progress(
                    f"features of {source.name}", min(start + PREPARE_BATCH, len(todo)), len(todo)
                )
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

    def batch(self, rows: Sequence[int], rng: np.random.Generator | None = None) -> Batch:
        """The rows as a batch; with ``rng`` each in a random view, else as they are."""
        prepared, present = {}, {}
        for name, (space, keys, views) in self.inputs.items():
            there = [keys[row] is not None for row in rows]
            picked = rng.integers(0, views, len(rows)) if rng is not None else [0] * len(rows)
            wanted = [
                view_key(key, int(view))
                for row, view in zip(rows, picked, strict=True)
                if (key := keys[row]) is not None
            ]
            values = np.zeros((len(rows), *space.shape), dtype=np.float16)
            values[there] = space.get(wanted)
            prepared[name] = torch.from_numpy(values).float()
            present[name] = torch.tensor(there)
        targets = {name: [values[row] for row in rows] for name, values in self.targets.items()}
        return Batch(prepared, present, targets)

    def batches(self, size: int) -> Iterator[Batch]:
        """All rows in order."""
        for start in range(0, self.count, size):
            yield self.batch(range(start, min(start + size, self.count)))
