"""What every request passes before it is looked at: who asks, from where, and how much it is; and
what happens when its client goes away.

A page of another site can make a browser send requests to this machine. It is kept out by the
host's name, which must be this server's own, and by the origin, which browsers tell.
"""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import urlsplit

import anyio

from plait.types import PlaitError
from plait.web.settings import Settings
from plait.web.watch import Metrics

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOCKED = ("/models", "/metrics")
"""Paths below which a key is needed, where keys are set."""
KEY_HEADER = "x-api-key"
AGAIN, SOON = {429, 503}, {"retry-after": "1"}
"""Statuses after which to try again, and what tells when: seconds."""
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(self), geolocation=()",
    "cache-control": "no-store",
}


class Refused(PlaitError):
    """A request that is not looked at: with an HTTP status."""

    def __init__(self, status: int, what: str, *, expected: str = "", hint: str = "") -> None:
        super().__init__(what, expected=expected, hint=hint)
        self.status = status


class Body:
    """A request's body as it comes, and how large it is."""

    def __init__(self) -> None:
        self.size, self._parts = 0, list[bytes]()

    def add(self, part: bytes) -> None:
        """What came next."""
        self.size += len(part)
        self._parts.append(part)

    def whole(self) -> bytes:
        """All of it; the parts are let go."""
        found = b"".join(self._parts)
        self._parts.clear()
        return found


class Guards:
    """The server's outermost layer."""

    def __init__(self, app: App, settings: Settings, metrics: Metrics) -> None:
        self.app, self.settings, self.metrics = app, settings, metrics
        self._held = 0  # bytes of the requests that are under way

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or hand it on with its body read; count it in either case."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        start, status, body = time.perf_counter(), 500, Body()

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": _with_headers(message.get("headers", []), status)}
            await send(message)

        try:
            headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
            self._check(scope["path"], headers)
            await self._read(headers, receive, body)
            await self._while_there(scope, body.whole(), receive, answer)
        except Refused as error:
            await _refuse(error, answer)
        except ConnectionResetError:  # the client is gone
            status = 499
        finally:
            self._held -= body.size
            route = getattr(scope.get("route"), "path", "(none)")
            seconds = time.perf_counter() - start
            self.metrics.request(scope["method"], route, status, seconds)

    def _check(self, path: str, headers: Mapping[str, str]) -> None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._is_called(_name(host)):
            raise Refused(
                421, "this server is not called so", hint="name it with plait serve --allow-host"
            )
        if origin is not None and _place(origin) != host.lower():
            raise Refused(403, "a page of another site asks", expected="this server's own page")
        if self.settings.keys and path.startswith(LOCKED):
            key = headers.get(KEY_HEADER) or headers.get("authorization", "").partition(" ")[2]
            if not self.settings.admits(key.strip()):
                raise Refused(401, "a key is needed", expected="a known one, as X-API-Key")

    def _is_called(self, name: str) -> bool:
        """Whether a client may call this server so. By an address it always may: only names can be
        made to lead elsewhere."""
        return not self.settings.hosts or name in self.settings.hosts or _is_address(name)

    async def _while_there(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Let the app answer; where the client goes away, stop it.

        Raises:
            ConnectionResetError: it went.
        """
        async with anyio.create_task_group() as tasks:

            async def stop_when_gone() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                tasks.cancel_scope.cancel()

            tasks.start_soon(stop_when_gone)
            await self.app(scope, _replay(body), send)
            tasks.cancel_scope.cancel()
            return
        raise ConnectionResetError

    async def _read(self, headers: Mapping[str, str], receive: Receive, body: Body) -> None:
        """All of a request's body, so that a slow or endless one never reaches what is behind."""
        most = self.settings.request_bytes
        claimed = headers.get("content-length", "0")
        if not claimed.isdecimal() or int(claimed[:20]) > most:
            raise _too_large(most)
        most_held = max(self.settings.held_bytes, most)  # one request always finds room
        try:
            with anyio.fail_after(self.settings.reading):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ConnectionResetError
                    part = message.get("body", b"")
                    body.add(part)
                    self._held += len(part)
                    if body.size > most:
                        raise _too_large(most)
                    if self._held > most_held:
                        raise Refused(429, "too much is being sent", hint="try again in a moment")
                    if not message.get("more_body"):
                        return
        except TimeoutError:
            raise Refused(408, "the request came too slowly") from None


def _too_large(most: int) -> Refused:
    return Refused(
        413, "the request is too large", expected=f"{most:,} bytes at the most",
        hint="send fewer or smaller files",
    )  # fmt: skip


def _place(origin: str) -> str | None:
    """The host and port of an address, in small letters; None where it is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _name(host: str) -> str:
    """A host without its port, in small letters."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _with_headers(given: list[tuple[bytes, bytes]], status: int) -> list[tuple[bytes, bytes]]:
    known = {name.lower() for name, _ in given}
    wanted = HEADERS | SOON if status in AGAIN else HEADERS
    ours = {name.encode(): value.encode() for name, value in wanted.items()}
    return [*given, *((name, value) for name, value in ours.items() if name not in known)]


async def _refuse(error: Refused, send: Send) -> None:
    body = json.dumps({"error": str(error)}).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close"),
               (b"content-length", str(len(body)).encode())]  # fmt: skip
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _replay(body: bytes) -> Receive:
    """A ``receive`` that gives the body that was read, and then nothing."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            await anyio.sleep_forever()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
