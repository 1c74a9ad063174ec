"""Writing files so that nothing half-written is ever seen."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from plait.types import PlaitError


def is_folder(path: Path) -> bool:
    """Whether there is such a folder; a name that no file can have is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """As `is_folder`, of a file."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def make_folder(path: Path) -> None:
    """Make a folder and those above it.

    Raises:
        PlaitError: it can't be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_written(path, error) from None


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write to a temporary name beside ``path``, then rename; on any failure nothing stays.

    Raises:
        PlaitError: the disk is full or the folder can't be written.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(part)
        part.replace(path)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors have theirs
        raise not_written(path, error) from None
    finally:
        with suppress(OSError):
            part.unlink()


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder beside another, to be filled, that takes its place in the end; on any failure
    nothing stays of it.

    Raises:
        PlaitError: the disk is full or the folder can't be written.
    """
    folder = folder.resolve()  # where a link leads, so that the link stays
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        yield part
        _replace(part, folder)
    except (OSError, SafetensorError) as error:
        raise not_written(folder, error) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _replace(part: Path, folder: Path) -> None:
    """Put a finished folder in another's place, both absolute and on one disk: never a half-written
    one, and the old one goes only once the new one stands."""
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    had = folder.exists()
    if had:
        folder.rename(old)
    try:
        part.rename(folder)
    except OSError:
        if had:
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def not_written(path: Path | str, error: Exception) -> PlaitError:
    """The error of what can't be written."""
    return PlaitError(
        f"{path} can't be written: {getattr(error, 'strerror', None) or error}",
        hint="free some disk or name another folder",
    )
