"""A server of its own for benchmarks: `plait serve` in a process, and how much memory it has."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Served:
    """Attributes:
    port: of 127.0.0.1.
    last: the last lines that it logged.
    """

    process: subprocess.Popen[str]
    port: int
    last: deque[str]

    @property
    def megabytes(self) -> float:
        """Resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1000

    @property
    def runs(self) -> bool:
        return self.process.poll() is None


@contextmanager
def serving(*arguments: str) -> Iterator[Served]:
    command = [sys.executable, "-m", "plait", "serve", *arguments, "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stderr
    line = process.stdout.readline()
    found = re.search(r":(\d+) \(stop", line)
    if found is None:
        raise SystemExit(line + process.stderr.read())
    last: deque[str] = deque(maxlen=20)
    threading.Thread(target=lambda: last.extend(process.stderr), daemon=True).start()  # type: ignore[arg-type]
    try:
        yield Served(process, int(found[1]), last)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
