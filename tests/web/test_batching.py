"""What is answered together, what is turned away, and that one record does not spoil another."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from servers import Watched, png, wait_until

from plait.model import Model
from plait.types import BadCell
from plait.web.batching import Batcher
from plait.web.guards import Refused
from plait.web.schema import Answer, Answers, Job
from plait.web.settings import Settings


@contextmanager
def working(model: Any, waiting: int = 64, batch: int = 8, workers: int = 1) -> Iterator[Batcher]:
    batcher = Batcher({"both": model}, Settings(queue=waiting, batch=batch, gather=0.001), workers)
    batcher.start()
    try:
        yield batcher
    finally:
        model.go.set()
        batcher.stop()


def jobs(count: int, **wanted: Any) -> list[Job]:
    return [Job("both", {"words": f"it is left number {n}"}, **wanted) for n in range(count)]


def answer(job: Job) -> Answer:
    answers = job.result.result(30)
    assert isinstance(answers, Answers)
    return answers.answers["answer"]


def hold(batcher: Batcher, model: Watched) -> None:
    """Keeps the thread busy with one record, so that others gather."""
    model.go.clear()
    batcher.submit(jobs(1))
    assert model.asked.wait(30)


def test_waiting_records_are_answered_together(two_inputs: Model) -> None:
    model = Watched(two_inputs)
    with working(model) as batcher:
        hold(batcher, model)
        several = jobs(11)
        for job in several:
            batcher.submit([job])
        model.go.set()
        found = [answer(job).value for job in several]
    assert model.sizes == [1, 8, 3]
    assert found == [two_inputs.predict(job.record).value for job in several]


def test_what_is_wanted_otherwise_is_answered_apart(two_inputs: Model) -> None:
    model = Watched(two_inputs)
    with working(model) as batcher:
        hold(batcher, model)
        plain, shared = jobs(2), jobs(2, shares=True, options=(("num", 2),))
        for pair in zip(plain, shared, strict=True):
            batcher.submit(pair)
        model.go.set()
        first = answer(plain[1])
        second = answer(shared[1])
    assert model.sizes == [1, 2, 2]
    assert not first.alternatives
    assert not first.shares
    assert len(second.alternatives) == 1
    assert second.shares["words"] != 0


def test_no_more_wait_than_may(two_inputs: Model) -> None:
    model = Watched(two_inputs)
    with working(model, waiting=3) as batcher:
        hold(batcher, model)
        batcher.submit(jobs(2))
        with pytest.raises(Refused, match="too many records"):
            batcher.submit(jobs(2))  # all of them or none
        assert batcher.waiting == 2
        batcher.submit(jobs(1))


def test_a_record_that_breaks_the_model_breaks_no_other(two_inputs: Model) -> None:
    model = Watched(two_inputs)
    with working(model) as batcher:
        good, bad, last = jobs(1)[0], Job("both", {"words": "poison"}), jobs(2)[1]
        hold(batcher, model)
        batcher.submit([good, bad, last])
        model.go.set()
        assert answer(good).value.endswith("left")
        assert answer(last).value.endswith("left")
        with pytest.raises(RuntimeError):
            bad.result.result(30)


def test_a_bad_cell_is_its_own_records_alone(two_inputs: Model) -> None:
    model = Watched(two_inputs)
    with working(model) as batcher:
        good, bad = Job("both", {"photo": png()}), Job("both", {"photo": b"no", "words": "left"})
        batcher.submit([bad, good])
        assert answer(good).value.startswith("red")
        error = bad.result.result(30)
        assert isinstance(error, BadCell)
        assert str(error).startswith("photo: a file of 2 bytes is not an image")


def test_who_has_given_up_is_not_answered(two_inputs: Model) -> None:
    model = Watched(two_inputs)
    with working(model) as batcher:
        hold(batcher, model)
        gone, there = jobs(2)
        batcher.submit([gone, there])
        assert gone.result.cancel()
        model.go.set()
        there.result.result(30)
    assert model.sizes == [1, 1]


def test_the_end_answers_what_waits(two_inputs: Model) -> None:
    model = Watched(two_inputs)
    with working(model) as batcher:
        hold(batcher, model)
        several = jobs(5)
        batcher.submit(several)
        model.go.set()
        batcher.stop()
        assert all(job.result.done() for job in several)
        with pytest.raises(Refused):
            batcher.submit(jobs(1))


def test_threads_share_what_waits(two_inputs: Model) -> None:
    """The second of two is idle while the first is held up: it takes what comes, and of many both
    have their part."""
    model = Watched(two_inputs)
    with working(model, workers=2) as batcher:
        hold(batcher, model)
        model.asked.clear()
        batcher.submit(jobs(1))
        assert model.asked.wait(30)
        several = jobs(10)
        batcher.submit(several)
        model.go.set()
        found = [answer(job).value for job in several]
    assert found == [two_inputs.predict(job.record).value for job in several]
    assert sum(model.sizes) == 12
    model = Watched(two_inputs)
    with working(model, workers=2) as idle:
        model.go.clear()
        several = jobs(12)
        idle.submit(several)
        wait_until(lambda: len(model.sizes) == 2)
        model.go.set()
        for job in several:
            job.result.result(30)
        assert model.sizes == [6, 6]


def test_what_ails_it_is_told(two_inputs: Model) -> None:
    model = Watched(two_inputs)
    with working(model) as batcher:
        assert batcher.trouble(60) == ""
        hold(batcher, model)
        assert batcher.trouble(60) == ""
        time.sleep(0.01)
        assert batcher.trouble(0.001) == "a batch has taken 0 seconds"
    assert batcher.trouble(60) == "a thread has ended"
