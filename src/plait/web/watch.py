"""What an operator sees: counters for Prometheus, and a line of JSON a request. Never what a
client sent, nor what it was answered."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

log = logging.getLogger("plait.web")
SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
METHOD = 16  # letters of it that are logged
RECORDS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters of one server."""

    def __init__(self, waiting: Callable[[], float]) -> None:
        """``waiting`` tells how many records wait."""
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "plait_requests", "Requests by route and status.", ["route", "status"],
            registry=registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "plait_request_seconds", "Time from a request's head to its answer's end.", ["route"],
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.records = Histogram(
            "plait_batch_records", "Records that were answered together.", ["model"],
            buckets=RECORDS, registry=registry,
        )  # fmt: skip
        self.answering = Histogram(
            "plait_batch_seconds", "Time that a batch took the model.", ["model"],
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        Gauge("plait_waiting_records", "Records that wait.", registry=registry).set_function(
            waiting
        )

    def batch(self, model: str, records: int, seconds: float) -> None:
        """Count a batch."""
        self.records.labels(model).observe(records)
        self.answering.labels(model).observe(seconds)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count and log a request. ``route`` is the pattern that it matched, not what it named."""
        self.requests.labels(route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)
        log.info(
            "request",
            extra={"method": method[:METHOD], "route": route, "status": status,
                   "ms": round(seconds * 1000, 1)},
        )  # fmt: skip

    def text(self) -> bytes:
        """As Prometheus reads them."""
        return generate_latest(self.registry)


class JsonLines(logging.Formatter):
    """A record as one line of JSON, with what was given as ``extra``."""

    known = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}

    def format(self, record: logging.LogRecord) -> str:
        """Time in UTC, level, event, and the rest; of an error its kind and place, not its words,
        which may hold what a client sent."""
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{when}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in self.known}
        if record.exc_info and record.exc_info[1] is not None:
            line |= _place(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False, default=str)


def _place(error: BaseException) -> dict[str, str]:
    trace, places = error.__traceback__, []
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return {"error": type(error).__name__, "at": " ".join(places[-5:])}


def log_to(stream: TextIO = sys.stderr) -> None:
    """Send what the server logs, uvicorn's own lines with it, to a stream as lines of JSON."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    for name in ("plait.web", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").handlers = []
    logging.getLogger("uvicorn.error").propagate = True
