"""A command, run as a user runs it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from commands import run_plait


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command; gives exit code, output, errors."""
    return partial(run_plait, monkeypatch, capsys)
