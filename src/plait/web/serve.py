"""What the command ``serve`` does: load models, bind, run until it is told to stop."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from plait.model import Model
from plait.package.paths import find_package
from plait.runtime.engines import load
from plait.types import UsageError
from plait.util.imports import needed
from plait.web.settings import Settings

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
SLACK = 40  # seconds that a connection has beyond those for its request and for its answer
GRACE = 20  # seconds in which requests that are under way may end
OPEN = 1000  # connections


def serve(
    models: Iterable[str],
    host: str,
    port: int,
    settings: Settings,
    allowed: Iterable[str] = (),
    ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve models until SIGTERM or SIGINT, then answer what is under way, and return.

    Args:
        models: shipped models' names and packages' folders; ``NAME=FOLDER`` names one.
        host: the address to bind; 127.0.0.1 is seen from this machine alone.
        port: 0 takes any that is free.
        settings: what clients may do.
        allowed: further names that clients may call the server by.
        ready: called with the server's address once clients can connect.

    Raises:
        UsageError: there is no such model, two have one name, or the port can't be had.
        PlaitError: a library is missing, or a package is damaged.
    """
    uvicorn = needed("uvicorn", "serve")
    needed("fastapi", "serve"), needed("prometheus_client", "serve")
    from plait.web.app import Server
    from plait.web.memory import settle
    from plait.web.watch import log_to

    named = name_models(models)
    listening = _listen(host, port)
    log_to(sys.stderr)
    # By another name it is called where somebody made that name lead here, to use it through a
    # visitor's browser. Behind a proxy, or in a network, whoever runs it says by which.
    hosts = frozenset(n.lower() for n in {host, *LOOPBACK, socket.gethostname(), *allowed})
    server = Server(named, replace(settings, hosts=hosts))
    server.batcher.warm()
    settle()
    config = uvicorn.Config(
        server.app, http=limited(settings.reading + settings.timeout + SLACK), ws="none",
        lifespan="on", log_config=None, access_log=False,
        server_header=False, date_header=False, timeout_graceful_shutdown=GRACE,
        limit_concurrency=OPEN, timeout_keep_alive=10, h11_max_incomplete_event_size=32_768,
    )  # fmt: skip
    running = uvicorn.Server(config)
    # uvicorn repeats the signal that stopped it, for whoever stood there before: nobody needs it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    name, bound = listening.getsockname()[:2]
    ready(f"http://{f'[{name}]' if ':' in name else name}:{bound}")
    running.run(sockets=[listening])


def limited(seconds: float) -> type[Any]:
    """uvicorn's connections, that end where an exchange takes longer: a head that never ends, or an
    answer that is never read, would hold a place for ever."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Limited(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._end = self.loop.call_later(seconds, transport.abort)

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._end.cancel()
            self._end = self.loop.call_later(seconds, self.transport.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._end.cancel()

    return Limited


def name_models(models: Iterable[str]) -> dict[str, Model]:
    """Loaded, by the names that they are served as: a shipped model's own, a folder's last part,
    or what stands before ``=``.

    Raises:
        UsageError: two have one name, or a name can't stand in an address.
    """
    found: dict[str, Path] = {}
    for given in models:
        name, equals, place = given.partition("=")
        folder = find_package(place if equals else given)
        name = name if equals else folder.absolute().name
        if not NAME.fullmatch(name):
            raise UsageError(
                f"a model can't be served as {name!r}", expected="letters, digits, . _ and -",
                hint=f"name it: NAME={place or given}",
            )  # fmt: skip
        if name in found:
            raise UsageError(f"two models would be served as {name!r}", hint="name one NAME=FOLDER")
        found[name] = folder
    return {name: load(folder) for name, folder in found.items()}


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=512)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"can't listen on {host} port {port} ({why})", hint="choose another --port"
        ) from None
