"""What operators see: metrics for Prometheus, and a log of one JSON line for each request. Neither
ever holds what a client sent or got back."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from functools import partial
from traceback import extract_tb
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
RECORDS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The metrics of one server."""

    def __init__(self, waiting: Callable[[], float]) -> None:
        """``waiting`` returns how many records wait in the queue."""
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        histogram = partial(Histogram, registry=registry)
        self.requests = Counter(
            "plait_requests", "Requests by route and status.", ["route", "status"],
            registry=registry,
        )  # fmt: skip
        self.seconds = histogram(
            "plait_request_seconds", "Time from a request's header to the end of its answer.",
            ["route"], buckets=SECONDS,
        )  # fmt: skip
        self.records = histogram(
            "plait_batch_records", "Records answered together.", ["model"], buckets=RECORDS
        )
        self.answering = histogram(
            "plait_batch_seconds", "Time for a batch of records.", ["model"], buckets=SECONDS
        )
        queue = Gauge("plait_waiting_records", "Records in the queue.", registry=registry)
        queue.set_function(waiting)

    def batch(self, model: str, records: int, seconds: float) -> None:
        """Count a batch."""
        self.records.labels(model).observe(records)
        self.answering.labels(model).observe(seconds)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count and log a request; ``route`` is the pattern of its path, not the path itself."""
        self.requests.labels(route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)
        ms = round(seconds * 1000, 1)
        extra = {"method": method[:16], "route": route, "status": status, "ms": ms}
        log.info("request", extra=extra)

    def text(self) -> bytes:
        """The format that Prometheus reads."""
        return generate_latest(self.registry)


class JsonLines(logging.Formatter):
    """A log record as one line of JSON, with its ``extra``. Of an error it gives the type and the
    place but not the message, which may hold what a client sent."""

    known = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}

    def format(self, record: logging.LogRecord) -> str:
        """Time in UTC, level, event, extra, error."""
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{when}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in self.known}
        if record.exc_info and record.exc_info[1] is not None:
            frames = extract_tb(record.exc_info[2], limit=-5)
            places = (f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames)
            line |= {"error": type(record.exc_info[1]).__name__, "at": " ".join(places)}
        return json.dumps(line, ensure_ascii=False, default=str)


def log_to(stream: TextIO = sys.stderr) -> None:
    """Write the server's log, and uvicorn's, to a stream."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    for name, handlers in (("plait.web", [handler]), ("uvicorn", [handler]), ("uvicorn.error", [])):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = list[logging.Handler](handlers), not handlers
        logger.setLevel(logging.INFO)
