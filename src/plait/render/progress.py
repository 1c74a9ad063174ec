"""The progress of long work, on the error stream: a bar on a terminal, elsewhere a line every ten
seconds (logs, notebooks, pipes)."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, TypeVar

Progress = Callable[[str, int, int], None]
"""Called with the stage, how much of it is done, and how much there is in all."""

EVERY = 10.0  # seconds between two lines
UNITS = (("second", 1), ("minute", 60), ("hour", 3600))

T = TypeVar("T")


class ProgressLines:
    """Writes a line at most every ten seconds: stage, done of total, rate and time left.

    ``answers: 512 of 1,916, 34.1 per second, 41 s left``
    """

    def __init__(
        self, file: TextIO, clock: Callable[[], float] = time.monotonic, one: bool = False
    ) -> None:
        """With ``one``, all stages count towards one total, see `show_progress`."""
        self._file, self._clock, self._one = file, clock, one
        self._written = clock()
        self._stage, self._done, self._total = "", 0, 0
        self._start = (0.0, 0)  # when the stage began, and how much of it was done already
        self._lock = threading.Lock()  # of the heartbeat's thread and whoever reports

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Note the state of the work; write it if a line is due."""
        with self._lock:
            other = not self._one and stage != self._stage
            if other or done < self._done or total != self._total:
                self._start = (self._clock(), done)
            self._stage, self._done, self._total = stage, done, total
        self.beat()

    def beat(self) -> None:
        """Write the latest state if a line is due and there is still work to do."""
        with self._lock:
            now = self._clock()
            if now - self._written < EVERY or self._done >= self._total:
                return
            self._written = now
            began, before = self._start
            line = f"{self._stage}: {self._done:,} of {self._total:,}"
            if self._done > before and now > began:
                rate = (self._done - before) / (now - began)
                line += f", {_rate(rate)}, {_duration((self._total - self._done) / rate)} left"
            else:
                line += f" after {_duration(now - began)}"
            print(line, file=self._file, flush=True)


def _rate(rate: float) -> str:
    """A rate in the shortest unit of time in which it is at least one."""
    unit, seconds = next((unit for unit in UNITS if rate * unit[1] >= 1), UNITS[-1])
    return f"{rate * seconds:,.1f} per {unit}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


@contextmanager
def show_progress(one: bool = False) -> Iterator[Progress]:
    """Show the progress of the work inside the block.

    Args:
        one: all stages count towards one total, whose title is the current stage. Otherwise each
            stage has its own bar.
    """
    error_stream = sys.stderr
    if error_stream is None:  # the program was started without one
        yield lambda stage, done, total: None
    elif error_stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):
        with _bars(one) as report:
            yield report
    else:
        lines, stop = ProgressLines(error_stream, one=one), threading.Event()

        def heartbeat() -> None:  # work may take long between two reports
            while not stop.wait(EVERY):
                lines.beat()

        thread = threading.Thread(target=heartbeat, daemon=True)
        thread.start()
        try:
            yield lines
        finally:
            stop.set()
            thread.join()


@contextmanager
def _bars(one: bool) -> Iterator[Progress]:
    from rich.console import Console  # here: slow to import, and logs don't need it
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    bars = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
        # What is printed on the same terminal stays above the bars; a file gets it as it is.
        redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
    )  # fmt: skip
    tasks: dict[str, Any] = {}

    def report(stage: str, done: int, total: int) -> None:
        if not tasks:
            bars.start()  # not earlier: without a task it would leave an empty line
        key = "" if one else stage
        if key not in tasks:
            tasks[key] = bars.add_task(stage, total=total)
        bars.update(tasks[key], description=stage, completed=done, total=total)

    try:
        yield report
    finally:
        if tasks:
            bars.stop()


def reported(items: Iterable[T], stage: str, total: int, progress: Progress | None) -> Iterator[T]:
    """The items, each counted as done once it is there."""
    report = progress or (lambda stage, done, total: None)
    report(stage, 0, total)
    for done, item in enumerate(items, start=1):
        report(stage, done, total)
        yield item
