"""What the commands show."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from plait.cli import show as terminal
from plait.comparison.report import HEADINGS, LESS_NEEDED

NUMBERS = ("0.632", "-0.105–1.044", "1,000", "-0.105?", "1.23M", "1,007.1 s", "12 ms", "1,000")


def shown(monkeypatch: pytest.MonkeyPatch, width: int, name: str = "early.gated") -> str:
    file = io.StringIO()
    monkeypatch.setattr(terminal, "console", Console(file=file, width=width, highlight=False))
    rows = [(name, *NUMBERS), (f"without {name}", "none", *[""] * (len(NUMBERS) - 1))]
    terminal.show_table("title", HEADINGS, rows, ["A sentence."], less_needed=LESS_NEEDED)
    return file.getvalue()


def test_a_wide_terminal_shows_all(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, 120)
    assert all(part in text for part in (*HEADINGS, *NUMBERS, "A sentence."))
    assert "too narrow" not in text


@pytest.mark.parametrize("width", [30, 50, 60, 70, 80, 90, 100])
@pytest.mark.parametrize("name", ["early.gated", "early.gated audio=spectrogram words=bag"])
def test_no_number_is_cut(monkeypatch: pytest.MonkeyPatch, width: int, name: str) -> None:
    text = shown(monkeypatch, width, name)
    assert all(part in text for part in ("0.632", "-0.105–1.044", "-0.105?"))
    assert "…" not in text
    left_out = [heading for heading in LESS_NEEDED if f"  {heading}" not in text]
    assert left_out == list(LESS_NEEDED[: len(left_out)])
    said = f"The terminal is too narrow for: {', '.join(left_out)}. See compare.md for all"
    assert (said in text) == bool(left_out)
    table = text.split("The terminal is")[0].splitlines()
    assert width == 30 or max(map(len, table)) <= width


def test_what_is_less_needed_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, 80)
    assert "narrow for: MiB, latency. See compare.md for all columns.\n" in text
    assert "1,007.1 s" in text
