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
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock

from plait.types import PlaitError

FREE_DISK = 1 << 30  # bytes always left free
DEFAULT_LIMIT = 20 << 30  # bytes; PLAIT_CACHE_GB changes it
CHUNK_ROWS = 512


def cache_folder() -> Path:
    """``PLAIT_CACHE``, else ``plait`` in the user's cache folder."""
    named = os.environ.get("PLAIT_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "plait"


def cache_limit() -> int:
    """Bytes that all spaces together may take."""
    return int(float(os.environ.get("PLAIT_CACHE_GB", DEFAULT_LIMIT / (1 << 30))) * (1 << 30))


def digest(*parts: bytes | str) -> str:
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
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lock = FileLock(self.folder / "lock")
        self._rows: dict[str, tuple[Path, int]] = {}
        self._read_indexes: set[str] = set()
        self.refresh()

    def refresh(self) -> None:
        """See what other processes have added."""
        os.utime(self.folder)
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
            raise PlaitError(
                f"the feature cache {self.folder} can't be written: {error.strerror}",
                mend="free some disk, or set PLAIT_CACHE to another folder",
            ) from None
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
                    file.readinto(memoryview(out[at]).cast("B"))
        return out

    def make_room(self, rows: int) -> None:
        """Check the disk and the cache's limit before computing; drop the oldest other spaces.

        Raises:
            PlaitError: there isn't the disk for that many rows.
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
        others = [p for p in self.folder.parent.iterdir() if p.is_dir() and p != self.folder]
        others.sort(key=lambda path: path.stat().st_mtime)
        used = sum(_size(path) for path in (*others, self.folder))
        while others and used + need > cache_limit():
            oldest = others.pop(0)
            used -= _size(oldest)
            shutil.rmtree(oldest, ignore_errors=True)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
