"""The feature cache: the results of frozen encoders, kept on disk and never computed twice.

A *space* is a folder named by the encoder's weights and preprocessing. In it a row is found by the
content of its file and the augmented view. So batch size, dropout and outputs don't matter, renamed
files hit, and changed files miss.

Rows are float16 or int32, each with its own length, in append-only chunks. A chunk becomes visible
by renaming its index, so a kill loses at most the chunk being written. Each space has a lock: a
second process waits, and then finds everything done. Rows are read with plain file reads instead of
a memory map: the operating system's page cache is the same, but the process's own memory stays
small.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from plait.types import PlaitError, State
from plait.util.files import cache_folder, digest, write_atomically

FREE_DISK = 1 << 30  # bytes that are always left free
DEFAULT_LIMIT = 20 << 30  # bytes; PLAIT_CACHE_GB changes it
CHUNK_ROWS = 512
ENOUGH_ROWS = 256  # to estimate the length of rows
HALF, WHOLE = np.dtype("<f2"), np.dtype("<i4")
IDLE_SECONDS = 600  # a space untouched for this long is not in use
STATE_FORMAT = "2"  # increase it when fitting changes, so that old states are not used
MAX_STATES = 200  # remembered; a visual vocabulary takes about 50 kB


class _Place(NamedTuple):
    """The position of a row: its chunk, its first item, and its number of items."""

    chunk: Path
    start: int
    length: int


def cache_limit() -> int:
    """The maximum size of all spaces together, in bytes."""
    return int(float(os.environ.get("PLAIT_CACHE_GB", DEFAULT_LIMIT / (1 << 30))) * (1 << 30))


class FeatureSpace:
    """The rows of one encoder, (L, ...) each, by key.

    ``shape`` is the shape of the longest possible row; rows may be shorter along the first axis.
    """

    def __init__(
        self,
        name: str,
        shape: Sequence[int],
        dtype: np.dtype[Any] = HALF,
        folder: Path | None = None,
    ) -> None:
        self.shape, self.dtype = tuple(shape), dtype
        self.example = np.broadcast_to(np.zeros((), dtype), self.shape)  # takes no memory
        self.item_bytes = int(np.prod(self.shape[1:])) * dtype.itemsize  # per row of length 1
        self.row_bytes = self.shape[0] * self.item_bytes
        self.folder = (folder or cache_folder()) / "features" / name
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(self.folder, error) from None
        from filelock import FileLock  # here: slow to import, and prediction doesn't need it

        self._touched = 0.0
        self.lock = FileLock(self.folder / "lock")
        self._rows: dict[str, _Place] = {}
        self._read_indexes: set[str] = set()
        self.refresh()

    def refresh(self) -> None:
        """Load what other processes have added."""
        self._touch()
        for index in sorted(self.folder.glob("*.json")):
            if index.name in self._read_indexes:
                continue
            self._read_indexes.add(index.name)
            chunk = index.with_suffix(".rows")
            lengths: dict[str, int] = json.loads(index.read_text())
            # A truncated chunk (a full disk, a failed copy) counts as missing.
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
        """Store a chunk of rows by key, (L, ...) each, atomically."""
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
        """The rows of the keys, (L, ...) each."""
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
        """Check the free disk space and the cache's limit for new rows, and make room if necessary.

        Other spaces that are not in use are removed first, the least recently used first; then
        chunks of this space without a row of ``wanted``. Rows are assumed to have the mean length
        of the stored ones, or the maximum length if there are few.

        Raises:
            PlaitError: the disk or the cache's limit is too small for that many rows.
        """
        mean = self.row_bytes
        if len(self._rows) >= ENOUGH_ROWS:  # a text may have ten terms out of thousands possible
            lengths = sum(place.length for place in self._rows.values())
            mean = lengths * self.item_bytes // len(self._rows) + 1
        need = rows * mean
        free = shutil.disk_usage(self.folder).free
        if need + FREE_DISK > free:
            raise PlaitError(
                f"the features need {need / 1e9:.1f} GB of disk, {self.folder} has "
                f"{free / 1e9:.1f} GB free",
                expected=f"{(need + FREE_DISK) / 1e9:.1f} GB",
                hint="free some disk space, set PLAIT_CACHE to another folder, or lower 'views'",
            )
        spaces = [path for path in self.folder.parent.iterdir() if path.is_dir()]
        over = sum(map(_size, spaces)) + need - cache_limit()
        used = {path: path.stat().st_mtime for path in spaces if path != self.folder}
        for path in sorted(used, key=used.__getitem__):
            if over > 0 and time.time() - used[path] > IDLE_SECONDS:
                over -= _size(path)
                shutil.rmtree(path, ignore_errors=True)
        kept = {self._rows[key].chunk for key in wanted if key in self._rows}
        others = {place.chunk for place in self._rows.values()} - kept
        for chunk in sorted(others, key=lambda chunk: chunk.stat().st_mtime):
            if over > 0:
                over -= chunk.stat().st_size
                chunk.with_suffix(".json").unlink(missing_ok=True)
                chunk.unlink(missing_ok=True)
                self._rows = {key: at for key, at in self._rows.items() if at.chunk != chunk}
        if over > 0 and rows:
            raise PlaitError(
                f"the features need {need / 1e9:.1f} GB, but the cache is limited to "
                f"{cache_limit() / 1e9:.1f} GB",
                hint="raise PLAIT_CACHE_GB, or lower 'views'",
            )

    def _touch(self) -> None:
        """Mark the space as in use."""
        if time.time() - self._touched > IDLE_SECONDS / 10:
            self._touched = time.time()
            os.utime(self.folder)


def _unwritable(folder: Path, error: OSError) -> PlaitError:
    return PlaitError(
        f"the feature cache {folder} can't be written: {error.strerror}",
        hint="free some disk space, or set PLAIT_CACHE to another folder",
    )


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def remembered(depends_on: str, learn: Callable[[], State]) -> State:
    """The remembered state for this key, or else the result of ``learn``, which is then kept."""
    folder = cache_folder() / "learned"
    path = folder / f"{digest(STATE_FORMAT, depends_on)}.json"
    with suppress(OSError, ValueError):
        found: State = json.loads(path.read_text())
        path.touch()
        return found
    state = learn()
    with suppress(PlaitError):  # remembering only saves time
        write_atomically(path, lambda part: part.write_text(json.dumps(state)))
    with suppress(OSError):
        by_age = sorted(folder.glob("*.json"), key=lambda kept: kept.stat().st_mtime)
        for old in by_age[:-MAX_STATES]:
            old.unlink()
    return state
