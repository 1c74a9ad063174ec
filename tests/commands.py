"""A command of plait's, run in this process as a user runs it: starting torch anew is slow."""

from __future__ import annotations

import sys

import pytest

from plait.cli import main as cli


def run_plait(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *args: object
) -> tuple[int, str, str]:
    """Exit code, output, errors; never a traceback."""
    monkeypatch.setattr(sys, "argv", ["plait", *map(str, args)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return int(end.value.code or 0), out, err
