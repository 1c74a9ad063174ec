"""Requests that come together are answered together: one queue, and threads that work on it.

A model answers thirty photos in much less than thirty times the time of one. A thread takes the
record that has waited longest, and with it those behind it that want the same of the same model.
There are as many threads as processors, each of which computes on one: half of what answering takes
is steps that are too short to be shared out.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import torch

from plait.data.cells import ErrorPolicy
from plait.model import Model
from plait.types import BadCell, PlaitError
from plait.web.answers import HERE, Answered, as_answers
from plait.web.memory import give_back

log = logging.getLogger("plait.web")
LONGEST = 10  # times the wait for one more that is waited for all of them
FEW = 4  # records that a thread takes at once, even where another has nothing to do
IDLE, BUSY = 1.0, 5.0  # seconds after which memory is given back, without work and with it

Done = Callable[[str, int, float], None]
"""Told of every batch: the model, how many records, and the seconds that it took."""


class Full(PlaitError):
    """So many records wait that no more are taken."""


@dataclass(frozen=True)
class Job:
    """A record to be answered, and what is wanted of it.

    Attributes:
        model: what it is served as.
        record: input -> cell.
        options: of decoding, sorted by their names.
        shares: whether each input's share is asked for.
        explain: whether it is asked where each word was looked for.
        result: its answers; BadCell where the record can't be used.
    """

    model: str
    record: Mapping[str, Any]
    options: tuple[tuple[str, Any], ...] = ()
    shares: bool = False
    explain: bool = False
    result: Future[Answered] = field(default_factory=Future, compare=False, repr=False)

    @property
    def kind(self) -> tuple[Any, ...]:
        """Equal for jobs that can be answered together."""
        return self.model, self.options, self.shares, self.explain


class Batcher:
    """The queue and its threads, which run from `start` to `stop`."""

    def __init__(
        self,
        models: Mapping[str, Model],
        waiting: int,
        batch: int,
        gather: float,
        workers: int = 1,
        done: Done = lambda model, records, seconds: None,
    ) -> None:
        """``waiting``, ``batch`` and ``gather`` as in `Settings`; ``workers`` threads."""
        self.models, self.most_waiting, self.batch, self.gather = models, waiting, batch, gather
        self._done = done
        self._jobs: deque[Job] = deque()
        self._change = threading.Condition()
        self._turn = threading.Lock()
        self._stopping = False
        self._given_back = time.monotonic()
        self._since: dict[int, float] = {}
        self._threads = [
            threading.Thread(target=self._work, args=[n], name=f"plait-answers-{n}", daemon=True)
            for n in range(workers)
        ]

    @property
    def waiting(self) -> int:
        """How many records wait."""
        return len(self._jobs)

    def start(self) -> None:
        """Begin to answer."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Answer what waits, and end."""
        with self._change:
            self._stopping = True
            self._change.notify_all()
        for thread in self._threads:
            thread.join()

    def ails(self, seconds: float) -> str:
        """What keeps records from being answered: a thread that has ended, or that has worked on
        one batch for so many seconds; empty where nothing does."""
        if not all(thread.is_alive() for thread in self._threads):
            return "a thread has ended"
        now = time.monotonic()
        longest = max((now - since for since in list(self._since.values())), default=0.0)
        return f"a batch has taken {longest:.0f} seconds" if longest > seconds else ""

    def warm(self) -> None:
        """Answer a made-up record of every model, so that the first client doesn't wait for
        libraries to be imported."""
        for name, model in self.models.items():
            record = {key: part.samples()[0] for key, part in model.parts.modalities.items()}
            self._outcomes([Job(name, record)])

    def submit(self, jobs: Sequence[Job]) -> None:
        """Put jobs behind those that wait, all of them or none.

        Raises:
            Full: there is no room for them.
        """
        with self._change:
            if self._stopping or len(self._jobs) + len(jobs) > self.most_waiting:
                raise Full("too many records are waiting", hint="try again in a moment")
            self._jobs.extend(jobs)
            self._change.notify_all()

    def forget(self, jobs: Iterable[Job]) -> None:
        """Give up jobs that nobody waits for any more, and their room in the queue."""
        given_up = {id(job) for job in jobs}
        with self._change:
            self._jobs = deque(job for job in self._jobs if id(job) not in given_up)

    def _work(self, number: int) -> None:
        if len(self._threads) > 1:
            torch.set_num_threads(1)  # of this thread
        while jobs := self._next(number):
            # Those whose client has given up are left out.
            alive = [job for job in jobs if job.result.set_running_or_notify_cancel()]
            if alive:
                start = time.monotonic()
                self._answer(alive)
                self._done(alive[0].model, len(alive), time.monotonic() - start)
            with self._change:
                del self._since[number]
            if time.monotonic() - self._given_back > BUSY:
                self._given_back = time.monotonic()
                give_back()

    def _next(self, number: int) -> list[Job]:
        """The first job and those of its kind, once a moment has gone by in which no more came;
        none when all is done. One thread at a time gathers them, and leaves the others their
        share; of very few it's not worth it."""
        with self._turn, self._change:
            while not self._jobs:  # those that were there may be given up
                self._wait()
                if not self._jobs:
                    return []
                self._gather()
            most = min(self.batch, max(FEW, math.ceil(len(self._jobs) / self._idle())))
            kind, left = self._jobs[0].kind, deque[Job]()
            taken: list[Job] = []
            for job in self._jobs:
                fits = len(taken) < most and job.kind == kind
                (taken if fits else left).append(job)
            self._jobs = left
            self._since[number] = time.monotonic()
            return taken

    def _gather(self) -> None:
        """Until there is enough for all threads that have nothing to do, no more comes, or it takes
        too long."""
        until = time.monotonic() + LONGEST * self.gather
        while len(self._jobs) < self.batch * self._idle() and not self._stopping:
            left = until - time.monotonic()
            if left <= 0 or not self._change.wait(min(self.gather, left)):
                return

    def _idle(self) -> int:
        """How many threads have nothing to do, with the one that asks."""
        return len(self._threads) - len(self._since)

    def _wait(self) -> None:
        """Until there is a job or the end; once for a while, memory is given back."""
        idle = False
        while not self._jobs and not self._stopping:
            heard = self._change.wait(None if idle else IDLE)
            if not heard and not idle:
                idle = True
                self._change.release()  # it takes a moment, in which jobs may come
                try:
                    give_back()
                finally:
                    self._change.acquire()

    def _answer(self, jobs: Sequence[Job]) -> None:
        """Set every job's result. What goes wrong with a batch as a whole is tried record by
        record, so that it meets none but the one that it belongs to."""
        try:
            outcomes = self._outcomes(jobs)
        except Exception as error:  # whatever it is, the thread goes on, and each client is told
            if len(jobs) > 1:
                for job in jobs:
                    self._answer([job])
                return
            outcomes = [error.with_traceback(None) if isinstance(error, PlaitError) else error]
        for job, outcome in zip(jobs, outcomes, strict=True):
            if isinstance(outcome, Answered):
                job.result.set_result(outcome)
            else:
                job.result.set_exception(outcome)

    def _outcomes(self, jobs: Sequence[Job]) -> list[Answered | Exception]:
        first, bad = jobs[0], _Refused()
        model = self.models[first.model]
        records = [job.record for job in jobs]
        found = list(
            model.predict_batch(
                records, root=HERE, bad=bad, shares=first.shares, **dict(first.options)
            )
        )
        return [
            bad.errors.get(row) or as_answers(model, job.record, answers, first.explain)
            for row, (job, answers) in enumerate(zip(jobs, found, strict=True))
        ]


class _Refused(ErrorPolicy):
    """Keeps the first bad cell of every record: a record with one is refused, as its sender can
    mend it or leave the input out."""

    def __init__(self) -> None:
        super().__init__("skip")
        self.errors: dict[int, BadCell] = {}

    def handle(self, number: int, column: str, error: BadCell) -> None:
        """Keep it; ``number`` counts from 1."""
        self.errors.setdefault(number - 1, BadCell(f"{column}: {error}"))
