"""The feature cache: what frozen encoders gave, kept on disk and never computed twice.

A *space* is a folder named by the encoder's weights and the preprocessing; inside it a row is
found by the content of the file it came from and the augmented view. So neither batch size,
dropout nor output matter, renamed files hit, and changed files miss.

Rows are float16 or int32, each of its own length, in append-only chunks. A chunk appears by
renaming, with its index beside it, so a kill loses at most the chunk in the making. One lock a
space lets a second process wait and then find everything done. Rows are read with plain file reads
instead of a memory map: the operating system's page cache is the same, but the process's own
memory stays small.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plait.types import PlaitError
from plait.util.paths import cache_folder

FREE_DISK = 1 << 30  # bytes always left free
DEFAULT_LIMIT = 20 << 30  # bytes; PLAIT_CACHE_GB changes it
CHUNK_ROWS = 512
ENOUGH_ROWS = 256  # to know how long rows are
HALF, WHOLE = np.dtype("<f2"), np.dtype("<i4")
IDLE_SECONDS = 600  # a space that nobody touched for so long is not in use


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a row lies: in which chunk, after how many items, how many items long."""

    chunk: Path
    start: int
    length: int


def cache_limit() -> int:
    """Bytes that all spaces together may take."""
    return int(float(os.environ.get("PLAIT_CACHE_GB", DEFAULT_LIMIT / (1 << 30))) * (1 << 30))


class FeatureSpace:
    """One encoder's rows, (L, ...) each, found by key.

    ``shape`` is that of a row as long as they come; rows may be shorter along their first axis.
    """

    def __init__(
        self,
        name: str,
        shape: Sequence[int],
        dtype: np.dtype[Any] = HALF,
        folder: Path | None = None,
    ) -> None:
        self.shape, self.dtype = tuple(shape), dtype
        self.example = np.broadcast_to(np.zeros((), dtype), self.shape)  # no memory of its own
        self.item_bytes = int(np.prod(self.shape[1:])) * dtype.itemsize  # of a row of length 1
        self.row_bytes = self.shape[0] * self.item_bytes
        self.folder = (folder or cache_folder()) / "features" / name
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(self.folder, error) from None
        from filelock import FileLock  # slow to import, and whoever answers a photo needs none

        self._touched = 0.0
        self.lock = FileLock(self.folder / "lock")
        self._rows: dict[str, _Place] = {}
        self._read_indexes: set[str] = set()
        self.refresh()

    def refresh(self) -> None:
        """See what other processes have added."""
        self._touch()
        for index in sorted(self.folder.glob("*.json")):
            if index.name in self._read_indexes:
                continue
            self._read_indexes.add(index.name)
            chunk = index.with_suffix(".rows")
            lengths: dict[str, int] = json.loads(index.read_text())
            # A chunk cut short (a full disk, a copy that failed) counts as absent.
            whole = sum(lengths.values()) * self.item_bytes
            if chunk.is_file() and chunk.stat().st_size == whole:
                self._place(chunk, lengths)

    def _place(self, chunk: Path, lengths: Mapping[str, int]) -> None:
        start = 0
        for key, length in lengths.items():
            self._rows[key] = _Place(chunk, start, length)
            start += length

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def add(self, rows: Mapping[str, np.ndarray]) -> None:
        """Keep a chunk: key -> row (L, ...). Atomic."""
        self._touch()
        name = uuid.uuid4().hex
        chunk, index = self.folder / f"{name}.rows", self.folder / f"{name}.json"
        lengths = {key: len(row) for key, row in rows.items()}
        try:
            with chunk.open("wb") as file:
                for row in rows.values():
                    file.write(row.astype(self.dtype).tobytes())
            temporary = self.folder / f"{name}.part"
            temporary.write_text(json.dumps(lengths))
            temporary.rename(index)
        except OSError as error:
            for path in (chunk, self.folder / f"{name}.part"):
                path.unlink(missing_ok=True)
            raise _unwritable(self.folder, error) from None
        self._read_indexes.add(index.name)
        self._place(chunk, lengths)

    def get(self, keys: Sequence[str]) -> list[np.ndarray]:
        """The keys' rows, (L, ...) each."""
        places = [self._rows[key] for key in keys]
        out = [np.empty((place.length, *self.shape[1:]), self.dtype) for place in places]
        by_chunk: dict[Path, list[tuple[int, int]]] = {}
        for at, place in enumerate(places):
            by_chunk.setdefault(place.chunk, []).append((place.start, at))
        for chunk, wanted in by_chunk.items():
            with chunk.open("rb", buffering=0) as file:
                for start, at in sorted(wanted):
                    row: Any = out[at].reshape(-1).view(np.uint8)
                    file.seek(start * self.item_bytes)
                    if file.readinto(row) != len(row):
                        raise PlaitError(
                            f"the feature cache's {chunk} is damaged",
                            hint=f"remove {self.folder}; it will be computed again",
                        )
        self._touch()
        return out

    def make_room(self, rows: int, wanted: Collection[str] = ()) -> None:
        """Check the disk and the cache's limit before computing; drop what was unused longest.

        Rows are taken to be as long as those that are there are on average, or, where they are
        few, as long as they come.

        First spaces that nobody uses go, then this space's chunks without a row of ``wanted``.

        Raises:
            PlaitError: there isn't the disk, or the limit is too low, for that many rows.
        """
        need = rows * self._mean_bytes()
        free = shutil.disk_usage(self.folder).free
        if need + FREE_DISK > free:
            raise PlaitError(
                f"the features need {need / 1e9:.1f} GB of disk, {self.folder} has "
                f"{free / 1e9:.1f} GB free",
                expected=f"{(need + FREE_DISK) / 1e9:.1f} GB",
                hint="free some disk, set PLAIT_CACHE to another folder, or lower 'views'",
            )
        over = self._used() + need - cache_limit()
        for path in self._unused_spaces():
            if over > 0:
                over -= _size(path)
                shutil.rmtree(path, ignore_errors=True)
        for chunk in self._unwanted_chunks(wanted):
            if over > 0:
                over -= chunk.stat().st_size
                self._drop(chunk)
        if over > 0 and rows:
            raise PlaitError(
                f"the features need {need / 1e9:.1f} GB, the cache may take "
                f"{cache_limit() / 1e9:.1f} GB",
                hint="raise PLAIT_CACHE_GB, or lower 'views'",
            )

    def _mean_bytes(self) -> int:
        """Of a row: a text may have ten terms where it could have thousands."""
        if len(self._rows) < ENOUGH_ROWS:
            return self.row_bytes
        lengths = sum(place.length for place in self._rows.values())
        return lengths * self.item_bytes // len(self._rows) + 1

    def _used(self) -> int:
        return sum(_size(path) for path in self.folder.parent.iterdir() if path.is_dir())

    def _unused_spaces(self) -> list[Path]:
        """Other spaces that were not used for a while, the longest unused first."""
        others = [p for p in self.folder.parent.iterdir() if p.is_dir() and p != self.folder]
        idle = [p for p in others if time.time() - p.stat().st_mtime > IDLE_SECONDS]
        return sorted(idle, key=lambda path: path.stat().st_mtime)

    def _unwanted_chunks(self, wanted: Collection[str]) -> list[Path]:
        kept = {self._rows[key].chunk for key in wanted if key in self._rows}
        chunks = {place.chunk for place in self._rows.values()} - kept
        return sorted(chunks, key=lambda chunk: chunk.stat().st_mtime)

    def _drop(self, chunk: Path) -> None:
        chunk.with_suffix(".json").unlink(missing_ok=True)
        chunk.unlink(missing_ok=True)
        self._rows = {key: place for key, place in self._rows.items() if place.chunk != chunk}

    def _touch(self) -> None:
        """Say that the space is in use."""
        if time.time() - self._touched > IDLE_SECONDS / 10:
            self._touched = time.time()
            os.utime(self.folder)


def _unwritable(folder: Path, error: OSError) -> PlaitError:
    return PlaitError(
        f"the feature cache {folder} can't be written: {error.strerror}",
        hint="free some disk, or set PLAIT_CACHE to another folder",
    )


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
