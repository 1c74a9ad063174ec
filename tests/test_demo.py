"""The demo runs, and says which captions are wrong."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

DEMO = Path(__file__).parents[1] / "examples" / "demo.py"


def test_the_demo_captions_its_photos_and_says_which_are_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    demo: dict[str, Any] = runpy.run_path(str(DEMO))
    demo["main"]()
    printed = capsys.readouterr().out
    drawn = {p.name.partition(".")[0] for p in (tmp_path / "out" / "demo").glob("*.png")}
    assert drawn == set(demo["SHOWS"]) == {p.stem for p in demo["PHOTOS"].glob("*.jpg")}
    wrong = printed.count("<- wrong")
    assert 0 < wrong < len(drawn)
    assert f"The main subject is right in {len(drawn) - wrong} of {len(drawn)} photos" in printed
    assert printed.count("% likely right") == len(drawn)
