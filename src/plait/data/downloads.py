"""Files from the web, downloaded where the user allows it, and kept for a day."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from plait.data.paths import WebAddress
from plait.types import BadCell
from plait.util.files import cache_folder, digest

LARGEST = 256 << 20  # bytes of a file
TOGETHER = 10 << 30  # bytes that are kept
KEPT = 24 * 3600.0  # seconds: what lies at an address may change
TIMEOUT, DEADLINE = 20.0, 120.0  # seconds without an answer, and for the whole file
CHUNK = 1 << 16


def download(address: WebAddress) -> Path:
    """The file at an address, downloaded if it was not within the last day.

    Raises:
        BadCell: it can't be downloaded, takes too long, or is too large.
    """
    path = cache_folder() / "downloads" / digest(str(address))
    with suppress(OSError):
        if time.time() - path.stat().st_mtime < KEPT:
            return path
    name = str(address)[:300]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.name.startswith("00"):  # now and then
            _make_room(path.parent)
        handle, part = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                _fetch(str(address), name, file)
            os.replace(part, path)
        finally:
            with suppress(OSError):
                os.unlink(part)
    except HTTPError as error:
        raise BadCell(f"{name} can't be downloaded: {error.code} {error.reason}") from None
    except (URLError, HTTPException, OSError, ValueError) as error:
        why = " ".join(str(getattr(error, "reason", "") or error).split()) or type(error).__name__
        raise BadCell(f"{name} can't be downloaded: {why}", hint="check the address") from None
    return path


def _fetch(address: str, name: str, file: Any) -> None:
    parts = urlsplit(address)
    plain = parts._replace(
        netloc=parts.netloc.encode("idna").decode(),
        path=quote(parts.path, safe="/%:@!$&'()*+,;=~"),
        query=quote(parts.query, safe="/%:@!$&'()*+,;=~?"),
        fragment="",
    ).geturl()
    begun, size = time.monotonic(), 0
    request = Request(plain, headers={"User-Agent": "plait"})
    with _opener().open(request, timeout=TIMEOUT) as answer:
        while chunk := answer.read(CHUNK):
            size += len(chunk)
            if size > LARGEST:
                raise BadCell(f"{name} is larger than {LARGEST >> 20} MiB")
            if time.monotonic() - begun > DEADLINE:
                raise BadCell(f"{name} took longer than {DEADLINE:g} seconds to download")
            file.write(chunk)


def _opener() -> OpenerDirector:
    """Speaks http and https and nothing else, wherever it is redirected to."""
    opener = OpenerDirector()
    for handler in (
        ProxyHandler(), HTTPHandler(), HTTPSHandler(), HTTPRedirectHandler(), HTTPErrorProcessor(),
        HTTPDefaultErrorHandler(),
    ):  # fmt: skip
        opener.add_handler(handler)
    return opener


def _make_room(folder: Path) -> None:
    """Remove the oldest files if there are too many bytes of them."""
    files = []
    for entry in os.scandir(folder):
        with suppress(OSError):
            files.append((entry.stat().st_mtime, entry.stat().st_size, entry.path))
    size = sum(each for _, each, _ in files)
    for _, each, path in sorted(files):
        if size <= TOGETHER:
            return
        with suppress(OSError):
            os.unlink(path)
            size -= each
