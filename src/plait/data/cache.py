"""The feature cache: what frozen encoders gave, kept on disk and never computed twice.

A *space* is a folder named by the encoder's weights and the preprocessing; inside it a row is
found by the content of the file it came from and the augmented view. So neither batch size,
dropout nor output matter, renamed files hit, and changed files miss.

Rows are float16 in append-only chunks. A chunk appears by renaming, with its index beside it,
so a kill loses at most the chunk in the making. One lock a space lets a second process wait and
then find everything done. Rows are read with plain file reads instead of a memory map: the
operating system's page cache is the same, but the process's own memory stays small.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock

from plait.types import PlaitError

FREE_DISK = 1 << 30  # bytes always left free
DEFAULT_LIMIT = 20 << 30  # bytes; PLAIT_CACHE_GB changes it
CHUNK_ROWS = 512
IDLE_SECONDS = 600  # a space that nobody touched for so long is not in use


def cache_folder() -> Path:
    """``PLAIT_CACHE``, else ``plait`` in the user's cache folder."""
    named = os.environ.get("PLAIT_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "plait"


def cache_limit() -> int:
    """Bytes that all spaces together may take."""
    return int(float(os.environ.get("PLAIT_CACHE_GB", DEFAULT_LIMIT / (1 << 30))) * (1 << 30))


def digest(*parts: bytes | str | memoryview) -> str:
    """Hex digest of the parts, each closed off from the next."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        state.update(len(raw).to_bytes(8, "little"))
        state.update(raw)
    return state.hexdigest()


class FeatureSpace:
    """One encoder's rows: ``shape`` float16 each, found by key."""

    def __init__(self, name: str, shape: Sequence[int], folder: Path | None = None) -> None:
        self.shape = tuple(shape)
        self.row_bytes = int(np.prod(self.shape)) * 2
        self.folder = (folder or cache_folder()) / "features" / name
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(self.folder, error) from None
        self._touched = 0.0
        self.lock = FileLock(self.folder / "lock")
        self._rows: dict[str, tuple[Path, int]] = {}
        self._read_indexes: set[str] = set()
        self.refresh()

    def refresh(self) -> None:
        """See what other processes have added."""
        self._touch()
        for index in sorted(self.folder.glob("*.json")):
            if index.name in self._read_indexes:
                continue
            self._read_indexes.add(index.name)
            chunk = index.with_suffix(".f16")
            keys = json.loads(index.read_text())
            # A chunk cut short (a full disk, a copy that failed) counts as absent.
            if chunk.is_file() and chunk.stat().st_size == len(keys) * self.row_bytes:
                self._rows.update((key, (chunk, row)) for row, key in enumerate(keys))

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def add(self, keys: Sequence[str], rows: np.ndarray) -> None:
        """Keep a chunk: ``rows`` (len(keys), *shape). Atomic."""
        self._touch()
        name = uuid.uuid4().hex
        chunk, index = self.folder / f"{name}.f16", self.folder / f"{name}.json"
        # float16 ends at 65,504; beyond it a feature would come back infinite.
        data = np.clip(rows, -65504, 65504).astype("<f2")
        try:
            chunk.write_bytes(data.tobytes())
            temporary = self.folder / f"{name}.part"
            temporary.write_text(json.dumps(list(keys)))
            temporary.rename(index)
        except OSError as error:
            for path in (chunk, self.folder / f"{name}.part"):
                path.unlink(missing_ok=True)
            raise _unwritable(self.folder, error) from None
        self._read_indexes.add(index.name)
        self._rows.update((key, (chunk, row)) for row, key in enumerate(keys))

    def get(self, keys: Sequence[str]) -> np.ndarray:
        """(len(keys), *shape) float16."""
        out = np.empty((len(keys), *self.shape), dtype="<f2")
        by_chunk: dict[Path, list[tuple[int, int]]] = {}
        for at, key in enumerate(keys):
            chunk, row = self._rows[key]
            by_chunk.setdefault(chunk, []).append((row, at))
        for chunk, wanted in by_chunk.items():
            with chunk.open("rb", buffering=0) as file:
                for row, at in sorted(wanted):
                    file.seek(row * self.row_bytes)
                    if file.readinto(memoryview(out[at]).cast("B")) != self.row_bytes:
                        raise PlaitError(
                            f"the feature cache's {chunk} is damaged",
                            mend=f"remove {self.folder}; it will be computed again",
                        )
        self._touch()
        return out

    def make_room(self, rows: int, wanted: Collection[str] = ()) -> None:
        """Check the disk and the cache's limit before computing; drop what was unused longest.

        First spaces that nobody uses go, then this space's chunks without a row of ``wanted``.

        Raises:
            PlaitError: there isn't the disk, or the limit is too low, for that many rows.
        """
        need = rows * self.row_bytes
        free = shutil.disk_usage(self.folder).free
        if need + FREE_DISK > free:
            raise PlaitError(
                f"the features need {need / 1e9:.1f} GB of disk, {self.folder} has "
                f"{free / 1e9:.1f} GB free",
                expected=f"{(need + FREE_DISK) / 1e9:.1f} GB",
                mend="free some disk, set PLAIT_CACHE to another folder, or lower 'views'",
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
                mend="raise PLAIT_CACHE_GB, or lower 'views'",
            )

    def _used(self) -> int:
        return sum(_size(path) for path in self.folder.parent.iterdir() if path.is_dir())

    def _unused_spaces(self) -> list[Path]:
        """Other spaces that were not used for a while, the longest unused first."""
        others = [p for p in self.folder.parent.iterdir() if p.is_dir() and p != self.folder]
        idle = [p for p in others if time.time() - p.stat().st_mtime > IDLE_SECONDS]
        return sorted(idle, key=lambda path: path.stat().st_mtime)

    def _unwanted_chunks(self, wanted: Collection[str]) -> list[Path]:
        kept = {self._rows[key][0] for key in wanted if key in self._rows}
        chunks = {chunk for chunk, _ in self._rows.values()} - kept
        return sorted(chunks, key=lambda chunk: chunk.stat().st_mtime)

    def _drop(self, chunk: Path) -> None:
        chunk.with_suffix(".json").unlink(missing_ok=True)
        chunk.unlink(missing_ok=True)
        self._rows = {key: place for key, place in self._rows.items() if place[0] != chunk}

    def _touch(self) -> None:
        """Say that the space is in use."""
        if time.time() - self._touched > IDLE_SECONDS / 10:
            self._touched = time.time()
            os.utime(self.folder)


def _unwritable(folder: Path, error: OSError) -> PlaitError:
    return PlaitError(
        f"the feature cache {folder} can't be written: {error.strerror}",
        mend="free some disk, or set PLAIT_CACHE to another folder",
    )


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
