"""Requests that come together are answered together: one queue, and threads that work on it.

A model answers thirty photos in much less than thirty times the time of one. A thread takes the
record that has waited longest, and those behind it that can share its batch. There is a thread for
each processor, and each computes on one: half of the work is steps too short to be shared out.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from plait.data.cells import Collected
from plait.model import Model
from plait.types import BadCell, PlaitError
from plait.web.guards import Refused
from plait.web.schema import ROOT, Answers, Job, to_answers
from plait.web.settings import Settings

log = logging.getLogger("plait.web")
LONGEST = 10  # times `Settings.gather`: the longest that a batch waits for more records
FEW = 4  # records that a thread takes at once even if others are idle
TIDY = 2.0  # seconds between two releases of memory


class Batcher:
    """The queue and its threads, which run from `start` to `stop`."""

    def __init__(
        self,
        models: Mapping[str, Model],
        settings: Settings,
        workers: int = 1,
        report: Callable[[str, int, float], None] = lambda model, records, seconds: None,
    ) -> None:
        """``report`` is called after every batch with its model, records and seconds."""
        self.models, self.settings, self._report = models, settings, report
        self._jobs: deque[Job] = deque()
        self._change = threading.Condition()
        self._turn = threading.Lock()
        self._stopping = False
        self._untidy, self._end = False, threading.Event()
        self._started: dict[int, float] = {}  # thread -> when its batch began
        self._threads = [
            threading.Thread(target=self._work, args=[n], name=f"plait-answers-{n}", daemon=True)
            for n in range(workers)
        ]
        self._tidier = threading.Thread(target=self._tidy, name="plait-tidy", daemon=True)

    @property
    def waiting(self) -> int:
        """How many records wait."""
        return len(self._jobs)

    def start(self) -> None:
        """Start the threads."""
        for thread in (*self._threads, self._tidier):
            thread.start()

    def stop(self) -> None:
        """Answer what waits, and end."""
        with self._change:
            self._stopping = True
            self._change.notify_all()
        for thread in self._threads:
            thread.join()
        self._end.set()

    def trouble(self, seconds: float) -> str:
        """Why records are not being answered: a thread has ended, or has been at one batch for
        longer than this; empty if all is well."""
        if not all(thread.is_alive() for thread in self._threads):
            return "a thread has ended"
        longest = time.monotonic() - min(list(self._started.values()), default=math.inf)
        return f"a batch has taken {longest:.0f} seconds" if longest > seconds else ""

    def warm_up(self) -> None:
        """Answer a sample record of every model, so that the first client doesn't wait for
        libraries to be imported."""
        for name, model in self.models.items():
            record = {key: part.samples()[0] for key, part in model.parts.modalities.items()}
            self._outcomes([Job(name, record)])

    def submit(self, jobs: Sequence[Job]) -> None:
        """Queue all of the jobs or none. Raises Refused if there is no room for them."""
        with self._change:
            if self._stopping or len(self._jobs) + len(jobs) > self.settings.queue:
                raise Refused(429, "too many records are waiting", hint="try again in a moment")
            self._jobs.extend(jobs)
            self._change.notify_all()

    def withdraw(self, jobs: Iterable[Job]) -> None:
        """Take jobs whose client went away out of the queue."""
        gone = {id(job) for job in jobs}
        with self._change:
            self._jobs = deque(job for job in self._jobs if id(job) not in gone)

    def _work(self, number: int) -> None:
        if len(self._threads) > 1:
            for model in self.models.values():
                model.engine.start_worker()
        while jobs := self._next(number):
            wanted = [job for job in jobs if job.result.set_running_or_notify_cancel()]
            if wanted:
                start = time.monotonic()
                self._answer(wanted)
                self._report(wanted[0].model, len(wanted), time.monotonic() - start)
            with self._change:
                del self._started[number]
                self._untidy = True

    def _next(self, number: int) -> list[Job]:
        """The next batch; empty at the end. One thread at a time waits for it, and leaves the idle
        ones their part unless that is not worth it."""
        with self._turn, self._change:
            while not self._jobs:  # those that were there may be withdrawn
                self._change.wait_for(lambda: self._jobs or self._stopping)
                if not self._jobs:
                    return []
                self._gather()
            fair = math.ceil(len(self._jobs) / self._idle())
            size, key = min(self.settings.batch, max(FEW, fair)), self._jobs[0].batch_key
            batch, rest = list[Job](), deque[Job]()
            for job in self._jobs:
                (batch if len(batch) < size and job.batch_key == key else rest).append(job)
            self._jobs, self._started[number] = rest, time.monotonic()
            return batch

    def _gather(self) -> None:
        """Until there is enough for all idle threads, no more comes, or it takes too long."""
        pause, end = self.settings.gather, time.monotonic() + LONGEST * self.settings.gather
        while len(self._jobs) < self.settings.batch * self._idle() and not self._stopping:
            left = end - time.monotonic()
            if left <= 0 or not self._change.wait(min(pause, left)):
                return

    def _idle(self) -> int:
        """How many threads have no batch, with the one that asks."""
        return len(self._threads) - len(self._started)

    def _tidy(self) -> None:
        while not self._end.wait(TIDY):
            if self._untidy:
                self._untidy = False
                release_memory()

    def _answer(self, jobs: Sequence[Job]) -> None:
        """Set every job's result. If a batch fails as a whole, each record is tried alone, so that
        only the one at fault fails."""
        try:
            outcomes = self._outcomes(jobs)
        except Exception as error:  # whatever it is: the thread must go on and each client hear
            if len(jobs) > 1:
                for job in jobs:
                    self._answer([job])
                return
            if not isinstance(error, PlaitError):
                jobs[0].result.set_exception(error)
                return
            outcomes = [error.with_traceback(None)]
        for job, outcome in zip(jobs, outcomes, strict=True):
            job.result.set_result(outcome)

    def _outcomes(self, jobs: Sequence[Job]) -> list[Answers | PlaitError]:
        first, bad = jobs[0], Collected()
        model = self.models[first.model]
        predictions = model.predict_batch(
            [job.record for job in jobs], root=ROOT, policy=bad, shares=first.shares,
            **dict(first.options),
        )  # fmt: skip
        outcomes: list[Answers | PlaitError] = []
        for row, (job, by_output) in enumerate(zip(jobs, predictions, strict=True)):
            if row in bad.errors:  # refused, as its sender can correct it or leave the input out
                column, error = bad.errors[row]
                outcomes.append(BadCell(f"{column}: {error}"))
            else:
                outcomes.append(to_answers(model, job.record, by_output, first.explain))
        return outcomes


def release_memory() -> None:
    """Collect garbage, and hand freed memory back to the system where the C library can (glibc). It
    keeps freed memory for each thread: after a large picture, hundreds of megabytes."""
    gc.collect()
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
