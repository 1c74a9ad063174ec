"""Checks of paths, digests, and atomic writing: a half-written file is never seen."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from plait.types import PlaitError


def exists(path: Path) -> bool:
    """Whether there is something at the path. As `is_folder`, never fails."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether the path is a folder; False, not an error, for names that no file can have."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def located(name: str) -> tuple[str, str | None]:
    """The repository and the revision on the Hub of ``NAME`` or ``NAME@REVISION``; a folder has
    none."""
    repository, at, revision = name.rpartition("@")
    return (name, None) if not at or is_folder(Path(name)) else (repository, revision)


def is_file(path: Path) -> bool:
    """Whether the path is a plain file: no folder, device or pipe. As `is_folder`, never fails."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def make_folder(path: Path) -> None:
    """Make a folder and its parents. Raises PlaitError if it can't be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_written(path, error) from None


def write_atomically(path: Path, content: str | bytes | Callable[[Path], object]) -> None:
    """Write text (as UTF-8) or bytes, or call a function that writes, to a temporary file beside
    ``path``, then rename it; a failure leaves nothing behind. Raises PlaitError if the disk is full
    or the folder can't be written to."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(part)
        else:
            part.write_bytes(content.encode() if isinstance(content, str) else content)
        part.replace(path)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch raises RuntimeError
        raise not_written(path, error) from None
    finally:
        with suppress(OSError):
            part.unlink()


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder to fill, which replaces ``folder`` at the end; a failure leaves nothing
    behind. Raises PlaitError if the disk is full or the folder can't be written to."""
    folder = folder.resolve()  # the target of a link, so that the link stays
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        yield part
        old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
        had = folder.exists()
        if had:  # deleted only once the new one is there
            folder.rename(old)
        try:
            part.rename(folder)
        except OSError:
            if had:
                old.rename(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        raise not_written(folder, error) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def not_written(path: Path | str, error: Exception) -> PlaitError:
    """The error for a path that can't be written."""
    return PlaitError(
        f"{path} can't be written: {getattr(error, 'strerror', None) or error}",
        hint="free some disk space or choose another folder",
    )


def digest(*parts: bytes | str | memoryview) -> str:
    """Hex digest of the parts; their boundaries count too."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        state.update(len(raw).to_bytes(8, "little"))
        state.update(raw)
    return state.hexdigest()


def cache_folder() -> Path:
    """``$PLAIT_CACHE`` if set, else ``plait`` in the user's cache folder."""
    if named := os.environ.get("PLAIT_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "plait"
