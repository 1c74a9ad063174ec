"""Long recordings and texts show how far they are."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from untrained import make_model

from plait.assistant.chat import reading_progress
from plait.data.speech import Piece
from plait.render import progress
from plait.tasks import transcribers, translate
from plait.tasks.transcribers import Segment, Transcriber


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.0)


class Echo(Transcriber):
    rate, longest = 8000, 2.0

    def transcribe(self, parts: Sequence[Piece], options: Mapping[str, Any]) -> list[Segment]:
        return [Segment(part.start, self._end(part), "said", 0.0) for part in parts]


def test_a_recording_by_its_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(transcribers, "open_transcriber", lambda name, engine: Echo())
    path = tmp_path / "talk.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 8000 * 7), 8000)
    transcribers.transcribe_files([path], "any", "txt", None, "stop", -1.0, {})
    out, err = capsys.readouterr()
    assert out.count("said") >= 4
    done = [line.split(" after ")[0].split(",")[1] for line in err.splitlines()]
    assert done[0] == " seconds: 0 of 7"
    assert " seconds: 4 of 7" in done


def test_a_text_by_its_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {"unit": "words", "min_count": 1}
    model = make_model(
        {"english": {"modality": "text", "representation": {"kind": "word-sequence", **words}}},
        {"german": {"kind": "text", "settings": {**words, "metrics": "translations"}}},
        {"english": ["a dog"], "german": ["ein hund"]},
        {"kind": "none", "width": 16},
    )
    monkeypatch.setattr(translate, "load", lambda name, engine: model)
    (tmp_path / "lines.txt").write_text("a dog\na dog\na dog\n")
    translate.translate_all([str(tmp_path / "lines.txt")], "any", None, None, {})
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3
    assert "lines: 2 of 3" in err


def test_photos_that_the_assistant_reads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reading_progress()("photos", 1, 3)
    assert capsys.readouterr().err.startswith("photos: 1 of 3")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    reading_progress()("photos", 1, 3)
    assert capsys.readouterr().err == "photos: 1 of 3\r"
