"""Digests of files' contents, remembered, so that a file that is as it was is not read again.

A file counts as it was when its size and the times of its last change (of the content, and of its
entry on the disk) are. One that was changed a moment ago could be changed again within the same
tick of the clock, and is not remembered yet (git's index has the same trouble, and calls such
entries racy). What is remembered is a help, never needed: when it can't be read or written, files
are read instead.
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

from plait.util.digests import digest
from plait.util.paths import cache_folder

RACY_SECONDS = 2.0  # of change within one tick of the clock: FAT's is the coarsest
MOST_FILES = 1_000_000  # remembered; about 200 bytes each
WRITE_EVERY = 1000  # files
WAIT_SECONDS = 10.0  # for another process to have written

_Stamp = tuple[int, int, int]
"""Size, time of the content's and of the entry's last change in ns."""

_TABLE = """CREATE TABLE IF NOT EXISTS files (
    number INTEGER PRIMARY KEY AUTOINCREMENT, path BLOB UNIQUE NOT NULL,
    size INTEGER, content_ns INTEGER, entry_ns INTEGER, digest TEXT NOT NULL)"""
_FIND = "SELECT size, content_ns, entry_ns, digest FROM files WHERE path = ?"
_KEEP = """INSERT OR REPLACE INTO files (path, size, content_ns, entry_ns, digest)
    VALUES (?, ?, ?, ?, ?)"""
_BOUND = "DELETE FROM files WHERE number <= (SELECT max(number) FROM files) - ?"


class FileDigests:
    """The digests of files, by their paths, in one SQLite file; several threads may use it."""

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
        """`digest` of a file's bytes.

        Raises:
            OSError: the file can't be read.
        """
        name, stamp = os.fsencode(path.absolute()), _stamp(path)
        known = self._find(name)
        if known is not None and known[0] == stamp:
            return known[1]
        found = digest(path.read_bytes())
        young = time.time() - max(stamp[1:]) / 1e9 < RACY_SECONDS
        if not young and _stamp(path) == stamp:  # else it may have changed while it was read
            self._keep(name, stamp, found)
        return found

    def close(self) -> None:
        """Write what is new; the oldest are forgotten where there are too many."""
        with self._lock:
            self._write()
            if self._db is not None:
                self._db.close()
                self._db = None

    def _find(self, name: bytes) -> tuple[_Stamp, str] | None:
        with self._lock:
            if name in self._new or self._db is None:
                return self._new.get(name)
            with self._or_without():
                row = self._db.execute(_FIND, (name,)).fetchone()
                return None if row is None else (row[:3], row[3])
            return None

    def _keep(self, name: bytes, stamp: _Stamp, found: str) -> None:
        with self._lock:
            self._new[name] = (stamp, found)
            if len(self._new) >= WRITE_EVERY:
                self._write()

    def _write(self) -> None:
        rows = [(name, *stamp, found) for name, (stamp, found) in self._new.items()]
        if self._db is not None and rows:
            with self._or_without():
                self._db.execute("BEGIN IMMEDIATE")
                self._db.executemany(_KEEP, rows)
                self._db.execute(_BOUND, (MOST_FILES,))
                self._db.execute("COMMIT")
        self._new = {}

    @contextmanager
    def _or_without(self) -> Iterator[None]:
        """Go on without the SQLite file should it fail; a damaged one is removed."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            if self._db is not None:
                self._db.close()
                self._db = None
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(
                error, sqlite3.OperationalError
            ):
                with suppress(OSError):
                    self._path.unlink()


@contextmanager
def file_digests() -> Iterator[FileDigests]:
    """Those of the user's cache folder."""
    digests = FileDigests(cache_folder() / "files.sqlite")
    try:
        yield digests
    finally:
        digests.close()


def is_plain_file(path: Path) -> bool:
    """Whether there is such a file; no folder, device or pipe."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _stamp(path: Path) -> _Stamp:
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"{path} is no file")
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns
