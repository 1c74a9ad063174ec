"""The command ``serve``: load models, bind, run until told to stop."""

from __future__ import annotations

import asyncio
import gc
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from plait.model import Model
from plait.package.format import model_name
from plait.runtime.engines import load
from plait.types import UsageError
from plait.util.imports import needed
from plait.web.settings import Settings

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
SLACK = 40  # seconds that a connection lasts beyond those for the request and for the answer
GRACE = 20  # seconds in which open requests may end
CONNECTIONS = 1000


def serve(
    models: Iterable[str],
    host: str,
    port: int,
    settings: Settings,
    allowed: Iterable[str] = (),
    engine: str = "torch",
    ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve models until SIGTERM or SIGINT, then answer open requests and return.

    Args:
        models: names of shipped models and folders of packages; ``NAME=FOLDER`` names one.
        host: the address to bind; 127.0.0.1 can be reached from this machine only.
        port: 0 takes any free one.
        settings: limits and keys.
        allowed: further names that the server answers to.
        engine: what runs the models, as for `plait.load`.
        ready: called with the server's address once clients can connect.

    Raises:
        UsageError: there is no such model, two have the same name, or the port is taken.
        PlaitError: a library is missing, or a package is damaged.
    """
    uvicorn = needed("uvicorn", "serve")
    needed("fastapi", "serve"), needed("prometheus_client", "serve")
    from plait.web.app import Server
    from plait.web.watch import log_to

    loaded = load_models(models, engine)
    listening = _listen(host, port)
    log_to(sys.stderr)
    # Any other name was made to lead here by somebody who wants to use the server through a
    # visitor's browser. Behind a proxy, or in a network, the operator has to allow the name.
    hosts = frozenset(n.lower() for n in {host, *LOOPBACK, socket.gethostname(), *allowed})
    server = Server(loaded, replace(settings, hosts=hosts))
    server.batcher.warm_up()
    gc.collect()
    gc.freeze()  # what is here now stays: later collections skip it
    config = uvicorn.Config(
        server.app, http=limited(settings.read_timeout + settings.timeout + SLACK), ws="none",
        lifespan="on", log_config=None, access_log=False,
        server_header=False, date_header=False, timeout_graceful_shutdown=GRACE,
        limit_concurrency=CONNECTIONS, timeout_keep_alive=10, h11_max_incomplete_event_size=32_768,
    )  # fmt: skip
    # uvicorn raises the signal that stopped it once more, for handlers that were there before.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    name, bound = listening.getsockname()[:2]
    ready(f"http://{f'[{name}]' if ':' in name else name}:{bound}")
    uvicorn.Server(config).run(sockets=[listening])


def limited(seconds: float) -> type[Any]:
    """uvicorn's connections with a time limit for each request and its answer, which uvicorn lacks:
    a header that never ends, or an answer that is never read, would hold a connection for ever."""
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


def load_models(models: Iterable[str], engine: str = "torch") -> dict[str, Model]:
    """Models by the names that they are served as: a shipped model's own, a folder's last part, or
    what stands before ``=``. Raises UsageError if two have the same name, or a name can't be part
    of an address."""
    sources: dict[str, str] = {}
    for given in models:
        before, equals, after = given.partition("=")
        source = after if equals else given
        own = model_name(source)  # also of one that is named: there must be such a package
        name = before if equals else own
        if not NAME.fullmatch(name):
            raise UsageError(
                f"a model can't be served as {name!r}", expected="letters, digits, . _ and -",
                hint=f"name it: NAME={source}",
            )  # fmt: skip
        if name in sources:
            raise UsageError(f"two models would be served as {name!r}", hint="name one NAME=FOLDER")
        sources[name] = source
    return {name: load(source, engine) for name, source in sources.items()}


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=512)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"can't listen on {host} port {port} ({reason})", hint="choose another --port"
        ) from None
