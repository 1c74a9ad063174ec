"""What every request passes first: who asks, from where, how large it is, and that its client is
still there.

A page of another site can make a visitor's browser send requests here. Two checks keep it out: the
host must be one of this server's own names, and so must the origin, which browsers send along.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from plait.types import PlaitError
from plait.web.settings import Settings
from plait.web.watch import Metrics

LOCKED = ("/models", "/metrics")
"""Paths below which a client needs a key, if keys are set."""
KEY_HEADER = "x-api-key"
BUSY, AGAIN = {429, 503}, {"retry-after": "1"}
"""Statuses after which to try again, and in how many seconds."""
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
    """A request that is turned away with an HTTP status."""

    def __init__(self, status: int, what: str, *, expected: str = "", hint: str = "") -> None:
        super().__init__(what, expected=expected, hint=hint)
        self.status = status


class Guards:
    """The server's outermost layer. Of what it does, Starlette has only the check of host names,
    and that one refuses IP addresses."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self.app, self.settings, self.metrics = app, settings, metrics
        self._held = 0  # bytes of all request bodies in memory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or read its body and hand it on; count it either way."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        start, status, parts = time.perf_counter(), 500, list[bytes]()

        async def respond(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in (HEADERS | AGAIN if status in BUSY else HEADERS).items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            headers = Headers(scope=scope)
            self._check(scope["path"], headers)
            await self._read(headers, receive, parts)
            parts[:] = [b"".join(parts)]
            await self._answer(scope, parts[0], receive, respond)
        except Refused as error:
            refusal = JSONResponse({"error": str(error)}, error.status, {"connection": "close"})
            await refusal(scope, receive, respond)
        except ConnectionResetError:
            status = 499  # as nginx counts a client that went away
        finally:
            self._held -= sum(map(len, parts))
            route = getattr(scope.get("route"), "path", "(none)")
            self.metrics.request(scope["method"], route, status, time.perf_counter() - start)

    def _check(self, path: str, headers: Mapping[str, str]) -> None:
        host, origin = headers.get("host", "").lower(), headers.get("origin")
        name, names = _split(f"//{host}").hostname or "", self.settings.hosts
        if names and name not in names and not _is_ip_address(name):
            raise Refused(
                421, "this server does not go by that name", hint="start it with --allow-host NAME"
            )
        if origin is not None and _split(origin.lower()).netloc != (host or None):
            raise Refused(403, "the request comes from a page of another site")
        if self.settings.keys and path.startswith(LOCKED):
            key = headers.get(KEY_HEADER) or headers.get("authorization", "").partition(" ")[2]
            if not self.settings.accepts(key.strip()):
                raise Refused(401, "this server needs a key", expected="a known one as X-API-Key")

    async def _read(self, headers: Mapping[str, str], receive: Receive, parts: list[bytes]) -> None:
        """The whole body of a request, so that slow and endless ones never reach the app. Raises
        Refused if it is too large or too slow, or all bodies together are too large, and
        ConnectionResetError if the client went away."""
        largest, size, more = self.settings.request_bytes, 0, True
        claimed = headers.get("content-length", "0")
        if not claimed.isdecimal() or int(claimed[:20]) > largest:
            raise _too_large(largest)
        try:
            with anyio.fail_after(self.settings.read_timeout):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ConnectionResetError
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    self._held += len(parts[-1])
                    if size > largest:
                        raise _too_large(largest)
                    if self._held > max(self.settings.held_bytes, largest):  # one always fits
                        raise Refused(429, "too much is being sent", hint="try again in a moment")
                    more = message.get("more_body", False)
        except TimeoutError:
            raise Refused(408, "the request arrived too slowly") from None

    async def _answer(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Let the app answer, but raise ConnectionResetError as soon as the client goes away before
        the answer's end: after that, every client counts as gone."""
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])
        answered = False

        async def note_end(message: Message) -> None:
            nonlocal answered
            answered = message["type"] == "http.response.body" and not message.get("more_body")
            await send(message)

        async def replay() -> Message:
            for message in messages:
                return message
            await anyio.sleep_forever()
            raise AssertionError

        async def stop_when_gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            if not answered:
                tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stop_when_gone)
            await self.app(scope, replay, note_end)
            tasks.cancel_scope.cancel()
            return
        raise ConnectionResetError


def _is_ip_address(name: str) -> bool:
    """An IP address is always right: only names can be made to lead elsewhere."""
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def _too_large(largest: int) -> Refused:
    return Refused(
        413, "the request is too large", expected=f"at most {largest:,} bytes",
        hint="send fewer or smaller files",
    )  # fmt: skip


def _split(address: str) -> SplitResult:
    """The parts of an address; none if it is malformed."""
    try:
        return urlsplit(address)
    except ValueError:
        return SplitResult("", "", "", "", "")
