"""Digests of files' contents, remembered so that an unchanged file is not read again.

A file counts as unchanged if its size and its times of last change (of the content and of the
directory entry) are the same. A file changed a moment ago could change again within the same tick
of the clock, so it is not remembered yet (git calls such entries of its index racy). The memory
only saves time: if it can't be read or written, files are read instead.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from plait.util.files import cache_folder, digest

RACY_SECONDS = 2.0  # changes may fall in one tick of the clock; FAT's is the coarsest
MAX_FILES = 1_000_000  # remembered; about 200 bytes each
WRITE_EVERY = 1000  # files
WAIT_SECONDS = 10.0  # for another process to finish writing

_Stamp = tuple[int, int, int]
"""Size, and the times in ns when the content and the directory entry last changed."""

_TABLE = """CREATE TABLE IF NOT EXISTS files (
    number INTEGER PRIMARY KEY AUTOINCREMENT, path BLOB UNIQUE NOT NULL,
    size INTEGER, content_ns INTEGER, entry_ns INTEGER, digest TEXT NOT NULL)"""
_FIND = "SELECT size, content_ns, entry_ns, digest FROM files WHERE path = ?"
_KEEP = """INSERT OR REPLACE INTO files (path, size, content_ns, entry_ns, digest)
    VALUES (?, ?, ?, ?, ?)"""
_BOUND = "DELETE FROM files WHERE number <= (SELECT max(number) FROM files) - ?"


class FileDigests:
    """Digests of files by path, kept in an SQLite file. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._new: dict[bytes, tuple[_Stamp, str]] = {}
        self._db: sqlite3.Connection | None = None
        with self._or_without():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                path, WAIT_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._db.execute(_TABLE)

    def of(self, path: Path) -> str:
        """`digest` of a file's bytes. Raises OSError if the file can't be read."""
        name, stamp = os.fsencode(path.absolute()), _stamp(path)
        with self._lock:
            known = self._find(name)
        if known is not None and known[0] == stamp:
            return known[1]
        computed = digest(path.read_bytes())
        young = time.time() - max(stamp[1:]) / 1e9 < RACY_SECONDS
        if not young and _stamp(path) == stamp:  # otherwise it may have changed while it was read
            with self._lock:
                self._new[name] = (stamp, computed)
                if len(self._new) >= WRITE_EVERY:
                    self._write()
        return computed

    def close(self) -> None:
        """Write new digests, and drop the oldest if there are too many."""
        with self._lock:
            self._write()
            if self._db is not None:
                self._db.close()
                self._db = None

    def _find(self, name: bytes) -> tuple[_Stamp, str] | None:
        if name in self._new or self._db is None:
            return self._new.get(name)
        with self._or_without():
            row = self._db.execute(_FIND, (name,)).fetchone()
            return None if row is None else (row[:3], row[3])
        return None

    def _write(self) -> None:
        rows = [(name, *stamp, value) for name, (stamp, value) in self._new.items()]
        if self._db is not None and rows:
            with self._or_without():
                self._db.execute("BEGIN IMMEDIATE")
                self._db.executemany(_KEEP, rows)
                self._db.execute(_BOUND, (MAX_FILES,))
                self._db.execute("COMMIT")
        self._new = {}

    @contextmanager
    def _or_without(self) -> Iterator[None]:
        """Continue without the SQLite file if it fails; remove it if it is damaged."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            if self._db is not None:
                self._db.close()
                self._db = None
            usable = isinstance(error, (sqlite3.OperationalError, OSError))  # locked, full...
            if isinstance(error, sqlite3.DatabaseError) and not usable:
                with suppress(OSError):
                    self._path.unlink()


@contextmanager
def file_digests() -> Iterator[FileDigests]:
    """The digests in the user's cache folder."""
    digests = FileDigests(cache_folder() / "files.sqlite")
    try:
        yield digests
    finally:
        digests.close()


def _stamp(path: Path) -> _Stamp:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path} is not a plain file")
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
