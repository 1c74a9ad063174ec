"""Servers on ports of their own, in threads, over tiny models."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import uvicorn
from samples import draw

from plait.model import Model
from plait.web.app import Server
from plait.web.serve import limited
from plait.web.settings import Settings


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Running:
    """A server that runs, and a client of it."""

    server: Server
    port: int
    stop: Callable[[], None]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = {}
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, dict(headers))
            got = connection.getresponse()
            found = {name.lower(): value for name, value in got.getheaders()}
            return Reply(got.status, found, got.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Reply:
        return self.ask("GET", path, headers=headers)

    def post(self, path: str, value: Any, headers: Mapping[str, str] = {}) -> Reply:
        body = json.dumps(value).encode()
        return self.ask("POST", path, body, {"content-type": "application/json", **headers})

    def form(self, path: str, parts: Mapping[str, str | bytes]) -> Reply:
        content_type, body = encode_form(parts)
        return self.ask("POST", path, body, {"content-type": content_type})


class Watched:
    """A model that notes how many records it is asked at a time, and can be held up."""

    def __init__(self, model: Model) -> None:
        self._model, self.sizes, self.go = model, list[int](), threading.Event()
        self.go.set()
        self.asked = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def predict_batch(self, records: Sequence[Mapping[str, Any]], **options: Any) -> Any:
        self.sizes.append(len(records))
        self.asked.set()
        assert self.go.wait(30)
        if any(record.get("words") == "poison" for record in records):
            raise RuntimeError("of no use to a client")
        return self._model.predict_batch(records, **options)


def wait_until(there: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not there():
        assert time.monotonic() < until
        time.sleep(0.005)


def encode_form(parts: Mapping[str, str | bytes]) -> tuple[str, bytes]:
    """A form's content type and body; bytes are sent as files."""
    pieces = []
    for name, value in parts.items():
        file = '; filename="a.bin"' if isinstance(value, bytes) else ""
        raw = value if isinstance(value, bytes) else value.encode()
        head = f'--edge\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        pieces.append(head.encode() + raw + b"\r\n")
    return "multipart/form-data; boundary=edge", b"".join(pieces) + b"--edge--\r\n"


@contextmanager
def run(
    models: Mapping[str, Model], port: int = 0, exchange: float = 60, **settings: Any
) -> Iterator[Running]:
    server = Server(models, Settings(**settings))
    listening = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(
        server.app, http=limited(exchange), ws="none", log_config=None, timeout_graceful_shutdown=2
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: running.run(sockets=[listening]))
    thread.start()

    def stop() -> None:
        running.should_exit = True
        thread.join()

    try:
        wait_until(lambda: running.started)
        yield Running(server, listening.getsockname()[1], stop)
    finally:
        stop()


def png(colour: str = "red", place: str = "left") -> bytes:
    stream = BytesIO()
    draw(colour, place, 3).save(stream, "PNG")
    return stream.getvalue()
