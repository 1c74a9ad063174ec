"""Progress where there is no terminal: a line every ten seconds, by a clock of its own."""

from __future__ import annotations

import io
import sys

import pytest

from plait.render import progress as module
from plait.render.progress import ProgressLines, reported, show_progress


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lines_of(clock: Clock, one: bool = False) -> tuple[ProgressLines, io.StringIO]:
    file = io.StringIO()
    return ProgressLines(file, clock, one), file


def test_a_line_every_ten_seconds(clock: Clock) -> None:
    report, file = lines_of(clock)
    for second in range(31):
        clock.now = 100.0 + second
        report("answers", 20 * second, 2000)
    assert file.getvalue().splitlines() == [
        "answers: 200 of 2,000, 20.0 per second, 1 min 30 s left",
        "answers: 400 of 2,000, 20.0 per second, 1 min 20 s left",
        "answers: 600 of 2,000, 20.0 per second, 1 min 10 s left",
    ]


def test_short_work_says_nothing(clock: Clock) -> None:
    report, file = lines_of(clock)
    for done in range(10):
        clock.now += 0.9
        report("answers", done, 10)
    report("answers", 10, 10)
    assert file.getvalue() == ""


def test_the_rate_leaves_out_what_was_done_before(clock: Clock) -> None:
    report, file = lines_of(clock)
    report("features", 1000, 1100)
    clock.now += 20
    report("features", 1010, 1100)
    assert file.getvalue() == "features: 1,010 of 1,100, 30.0 per minute, 3 min 0 s left\n"


def test_the_heartbeat_speaks_between_two_reports(clock: Clock) -> None:
    report, file = lines_of(clock)
    report("scores", 0, 1)
    for _ in range(4):
        clock.now += 5
        report.beat()
    assert file.getvalue() == "scores: 0 of 1 after 10 s\nscores: 0 of 1 after 20 s\n"
    report("scores", 1, 1)
    clock.now += 60
    report.beat()
    assert len(file.getvalue().splitlines()) == 2


def test_every_stage_has_a_rate_of_its_own(clock: Clock) -> None:
    report, file = lines_of(clock)
    report("features", 0, 100)
    clock.now += 9
    report("features", 100, 100)
    report("answers", 0, 100)
    clock.now += 2
    report("answers", 1, 100)
    clock.now += 10
    report("answers", 6, 100)
    assert file.getvalue().splitlines() == [
        "answers: 1 of 100, 30.0 per minute, 3 min 18 s left",
        "answers: 6 of 100, 30.0 per minute, 3 min 8 s left",
    ]


def test_a_stage_that_begins_anew(clock: Clock) -> None:
    report, file = lines_of(clock)
    report("answers", 90, 100)
    clock.now += 100
    report("answers", 1, 100)
    clock.now += 10
    report("answers", 2, 100)
    assert file.getvalue().splitlines() == [
        "answers: 1 of 100 after 0 s",
        "answers: 2 of 100, 6.0 per minute, 16 min 20 s left",
    ]


def test_all_stages_as_one(clock: Clock) -> None:
    report, file = lines_of(clock, one=True)
    report("run: early", 0, 3)
    clock.now += 1800
    report("run: late", 1, 3)
    clock.now += 1800
    report.beat()
    assert file.getvalue().splitlines() == [
        "run: late: 1 of 3, 2.0 per hour, 1 h 00 min left",
        "run: late: 1 of 3, 1.0 per hour, 2 h 00 min left",
    ]


def test_without_a_terminal_lines_go_to_the_error_stream(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVERY", 0.0)
    with show_progress() as progress:
        assert list(reported("abc", "answers", 3, progress)) == ["a", "b", "c"]
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0].startswith("answers: 0 of 3 after 0 s")
    assert "answers: 2 of 3" in err
    assert "3 of 3" not in err


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(module, "EVERY", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    with show_progress() as progress:
        progress("answers", 1, 2)
    assert "1/2" in terminal.getvalue()
    assert "1 of 2" not in terminal.getvalue()
    monkeypatch.setenv("TERM", "dumb")
    with show_progress() as progress:
        progress("answers", 1, 2)
    assert "1 of 2" in terminal.getvalue()


def test_no_error_stream_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with show_progress() as progress:
        progress("answers", 1, 2)


def test_a_bar_leaves_the_standard_output_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with show_progress() as progress:
        progress("answers", 1, 2)
        print("a caption")
    assert capsys.readouterr().out == "a caption\n"
