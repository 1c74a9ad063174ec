"""The command: names, ports, what it logs, and how it ends."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from servers import encode_form, png

from plait.cli.main import app
from plait.types import PlaitError, UsageError
from plait.web import serve as serving
from plait.web.serve import load_models, serve
from plait.web.settings import Settings, keys_of_file, read_keys


def start(*arguments: str) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-m", "plait", "serve", *arguments, "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    line = process.stdout.readline()
    found = re.search(r"at http://127\.0\.0\.1:(\d+) \(stop with Ctrl-C\)", line)
    assert found, line
    return process, int(found[1])


SECRET = "nobody-may-log-this"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.slow
def test_it_answers_what_is_under_way_then_ends_and_logs_no_content(
    number: signal.Signals, trained: Path
) -> None:
    process, port = start(f"squares={trained}")
    kind, body = encode_form({"inputs.image": png(), "options.num": "5"})

    def ask(path: str, body: bytes, wait: Callable[[], None] = lambda: None) -> int:
        """The status; what is waited for happens before the last bytes are sent."""
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            connection.putrequest("POST", path)
            for name, value in (("Content-Type", kind), ("X-Secret", SECRET)):
                connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body[:-9])
            wait()
            connection.send(body[-9:])
            answer = connection.getresponse()
            assert answer.read()
            return answer.status

    def stop() -> None:
        time.sleep(0.3)
        process.send_signal(number)
        time.sleep(0.3)

    predict = "/models/squares/predict"
    unknown = encode_form({SECRET: SECRET})[1]
    statuses = [ask(f"{predict}?{SECRET}", body), ask(f"/{SECRET}", body), ask(predict, unknown)]
    statuses.append(ask(predict, body, stop))
    out, logged = process.communicate(timeout=60)
    assert process.returncode == 0, logged
    assert statuses == [200, 404, 422, 200]
    assert SECRET not in out + logged
    lines = [json.loads(line) for line in logged.splitlines()]
    asked = [line for line in lines if line["event"] == "request" and line["method"] == "POST"]
    assert [line["status"] for line in asked] == statuses
    assert asked[0]["route"] == "/models/squares/predict"
    assert asked[1]["route"] == "(none)"
    assert asked[0]["ms"] > 0


def test_a_port_that_is_taken(trained: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"can't listen on 127.0.0.1 port {port} \(Address"):
            serve([str(trained)], "127.0.0.1", port, Settings())


def test_models_are_named(trained: Path) -> None:
    found = load_models([str(trained), f"other={trained}"])
    assert list(found) == [trained.name, "other"]
    with pytest.raises(UsageError, match=f"two models would be served as '{trained.name}'"):
        load_models([str(trained), str(trained)])
    with pytest.raises(UsageError, match=r"can't be served as 'a/b'.*NAME="):
        load_models([f"a/b={trained}"])
    with pytest.raises(UsageError, match=r"there is no model 'captoner'; .*did you mean"):
        load_models(["captoner"])


def test_without_the_extra_it_is_named(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(PlaitError, match=r"pip install 'plait\[serve\]'"):
        serving.serve([str(trained)], "127.0.0.1", 0, Settings())


def test_keys_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("# for the page\nlong-enough-to-be-one\n\nanother-that-is-long\n")
    settings = Settings(keys=keys_of_file(path))
    assert settings.accepts("long-enough-to-be-one")
    assert settings.accepts("another-that-is-long")
    for wrong in ("", "long-enough-to-be-on", "# for the page", "LONG-ENOUGH-TO-BE-ONE"):
        assert not settings.accepts(wrong)
    assert "enough" not in repr(settings)
    with pytest.raises(UsageError, match="a key is too short; expected at least 16 characters"):
        read_keys(["short"])
    with pytest.raises(UsageError, match="there is no key"):
        read_keys(["# none"])
    with pytest.raises(UsageError, match=r"can't read the keys in .* \(No such file"):
        keys_of_file(tmp_path / "none")


def test_the_command_hands_on_its_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}

    def fake(models: object, host: str, port: int, settings: Settings, *rest: object) -> None:
        given.update(models=models, host=host, port=port, settings=settings, allowed=rest[0])

    monkeypatch.setattr(serving, "serve", fake)
    (tmp_path / "keys").write_text("long-enough-to-be-one")
    app(["serve", "captioner", "--port", "9", "--max-mb", "2", "--max-pixels", "5", "--timeout",
         "3", "--max-seconds", "4", "--queue", "7", "--allow-host", "here", "--keys",
         str(tmp_path / "keys")], standalone_mode=False)  # fmt: skip
    settings = given["settings"]
    assert isinstance(settings, Settings)
    assert (settings.request_bytes, settings.pixels, settings.seconds) == (2_000_000, 5, 4)
    assert (settings.timeout, settings.queue, len(settings.keys)) == (3, 7, 1)
    assert (given["host"], given["port"], given["allowed"]) == ("127.0.0.1", 9, ["here"])
