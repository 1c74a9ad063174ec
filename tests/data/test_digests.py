from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plait.data import digests
from plait.data.digests import FileDigests, file_digests
from plait.util.files import digest


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.wav"
    path.write_bytes(b"one")
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read from now on; none counts as just changed."""
    monkeypatch.setattr(digests, "RACY_SECONDS", 0.0)
    read, whole = [], Path.read_bytes

    def spy(self: Path) -> bytes:
        read.append(self.name)
        return whole(self)

    monkeypatch.setattr(Path, "read_bytes", spy)
    return read


def of(path: Path) -> str:
    with file_digests() as files:
        return files.of(path)


def test_a_file_is_read_once(file: Path, reads: list[str]) -> None:
    assert of(file) == of(file) == digest(b"one")
    assert reads == ["a.wav"]


def test_a_changed_file_is_read_again(file: Path, reads: list[str]) -> None:
    before = file.stat()
    of(file)
    time.sleep(0.02)  # longer than a tick of the clock
    file.write_bytes(b"two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # as `cp -p` does
    assert of(file) == digest(b"two")
    assert reads == ["a.wav", "a.wav"]


def test_another_file_of_that_name_is_read(file: Path, reads: list[str], tmp_path: Path) -> None:
    of(file)
    time.sleep(0.02)
    (tmp_path / "new").write_bytes(b"new")
    (tmp_path / "new").replace(file)
    assert of(file) == digest(b"new")


def test_what_was_changed_a_moment_ago_is_not_trusted(file: Path) -> None:
    """Another change within the same tick would leave size and times as they are."""
    stamp = file.stat()
    assert of(file) == digest(b"one")
    with file_digests() as files:
        assert files._find(os.fsencode(file)) is None
    file.write_bytes(b"two")
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert of(file) == digest(b"two")


def test_the_oldest_are_forgotten(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "MAX_FILES", 3)
    paths = [tmp_path / str(i) for i in range(5)]
    for path in paths:
        path.write_bytes(path.name.encode())
        of(path)
    reads.clear()
    for path in paths[::-1]:
        of(path)
    assert reads == ["1", "0"]


def test_a_damaged_memory_is_removed(file: Path, reads: list[str], tmp_path: Path) -> None:
    place = tmp_path / "files.sqlite"
    place.write_bytes(b"this is no database, but long enough to be looked at" * 10)
    for _ in range(3):
        files = FileDigests(place)
        assert files.of(file) == digest(b"one")
        files.close()
    assert reads == ["a.wav", "a.wav"]


def test_without_a_memory_files_are_read(file: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"no folder")
    files = FileDigests(tmp_path / "taken" / "files.sqlite")
    assert files.of(file) == digest(b"one")
    files.close()


SCRIPT = """
import sys
from pathlib import Path
from plait.data import digests
digests.RACY_SECONDS, digests.WRITE_EVERY = 0.0, 7
with digests.file_digests() as files:
    for path in sorted(Path(sys.argv[1]).iterdir()):
        files.of(path)
"""


def test_two_processes_at_once(tmp_path: Path, reads: list[str]) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(200):
        (folder / str(number)).write_bytes(b"%d" % number)
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate()[1] for process in both] == [b"", b""]
    with file_digests() as files:
        assert all(files.of(p) == digest(p.name.encode()) for p in folder.iterdir())
    assert not reads
