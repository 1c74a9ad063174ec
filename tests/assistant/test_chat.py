"""The terminal's loop, driven by lines; one request on the command line."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from commands import run_plait
from samples import draw

from plait.assistant import chat
from plait.assistant.chat import as_path

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    trained: Path, questions: Path, photos: Path,
) -> Run:  # fmt: skip
    """``plait chat`` with what is typed; exit code, output, errors."""
    models = {"caption": str(trained), "question": str(questions)}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"models": models, "photos": "photos"}))
    monkeypatch.chdir(tmp_path)

    def call(*args: object, typed: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        return run_plait(monkeypatch, capsys, "chat", "a.yaml", *args)

    return call


def test_a_talk(run: Run, tmp_path: Path, photo: Path, trained: Path) -> None:
    draw("red", "right", 3).save(tmp_path / "red one.png")
    code, out, _ = run(
        typed="\n".join([
            "what is in this photo", "photo.png", "and what colour is the square?", "",
            "'red one.png'", "what colour is the square?", "find photos like this",
            "/why why", "/save talk.jsonl", "/quit", "describe it",
        ])
    )  # fmt: skip
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "That needs a photo: give its path"
    assert "green square" in out
    assert lines.index("green") < lines.index("I see red one.png.") < lines.index("red")
    assert any(line.startswith("1. photos/red-right.png  ") for line in lines)
    assert lines[-1].startswith("6 turns written to talk.jsonl")
    assert lines[-2] == "a search can't be drawn: it ranks photos by the scores it shows"
    turns = [json.loads(line) for line in Path("talk.jsonl").read_text().splitlines()]
    assert turns[1]["model"] == str(trained)
    assert [turn.get("intent") for turn in turns] == [
        "caption", "caption", "question", None, "question", "similar",
    ]  # fmt: skip


def test_evidence_is_shown(run: Run, photo: Path, trained: Path) -> None:
    _, out, _ = run(typed=f"/photo {photo}\ncaption it\n/why\nwhat colour is the square\n")
    lines = out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("  caption "))
    assert f"% , by {trained}".replace(" ,", ",") in lines[at]
    assert lines[at].endswith("% per word")
    assert lines[at + 1].startswith("  or: ")
    assert lines[at + 1].endswith("% per word")
    assert "drawn to photo.attention.png" in out
    assert Path("photo.attention.png").is_file()
    assert "  contributions: photo " in out


def test_mistakes_are_one_line(run: Run) -> None:
    code, out, _ = run(typed="/wy\ngone.png\n/photo\n/save\n/hear gone.wav\n/why\n")
    assert code == 0
    lines = out.splitlines()
    assert "no command /wy" in lines[0]
    assert "did you mean '/why'?" in lines[0]
    assert "gone.png is missing" in lines[1]
    assert lines[2:] == [
        "/photo needs a path",
        "/save needs a path",
        "I have no model for speech; add one under models.speech",
        "there is no answer to explain yet",
    ]


def test_asking_back_in_a_talk(run: Run, photo: Path) -> None:
    config = yaml.safe_load(Path("a.yaml").read_text())
    Path("a.yaml").write_text(yaml.safe_dump({**config, "confidence": 1.0}))
    _, out, _ = run("--photo", photo, typed="describe the photo\nthe first\n")
    lines = out.splitlines()
    assert lines[1].startswith("Shall I caption the photo, or ")
    assert "green square" in lines[2]


def test_one_request(run: Run, photo: Path) -> None:
    code, out, _ = run("--say", "what is in this photo", "--photo", photo, "--why", "why")
    assert code == 0
    assert "green square" in out.splitlines()[0]
    assert Path("why/photo.attention.png").is_file()
    code, out, _ = run("--say", "what is in this photo")
    assert code == 1
    assert out.splitlines()[0] == "That needs a photo: give its path"


@pytest.mark.parametrize("request_", ["hello", "find photos of a zeppelin", "", "   "])
def test_no_answer_is_told_by_the_exit_code(run: Run, request_: str) -> None:
    code, out, _ = run("--say", request_, "--json")
    assert code == 1
    assert not json.loads(out)["ok"]
    code, out, _ = run("--say", request_)
    assert code == 1
    assert out.startswith("The request is empty") == (not request_.strip())


def test_asking_back_is_no_answer(run: Run, photo: Path) -> None:
    config = yaml.safe_load(Path("a.yaml").read_text())
    Path("a.yaml").write_text(yaml.safe_dump({**config, "confidence": 1.0}))
    args = ("--session", "talk.jsonl", "--say")
    code, out, _ = run("--photo", photo, *args, "describe the photo")
    assert code == 1
    assert out.startswith("Shall I caption the photo, or ")
    code, out, _ = run(*args, "the first")
    assert code == 0
    assert "green square" in out


def test_two_requests_are_refused(run: Run) -> None:
    code, _, err = run("--say", "describe it", "--hear", "ask.wav")
    assert code == 2
    assert "--say and --hear" in err


def test_json(run: Run, photo: Path) -> None:
    code, out, _ = run("--say", "what is in this photo", "--photo", photo, "--json")
    assert code == 0
    turn = json.loads(out)
    assert turn["intent"] == "caption"
    assert "green square" in turn["answer"]
    assert turn["intents"]["caption"] > 0.5
    assert len(turn["alternatives"]) == 2
    assert {"value", "probability"} == set(turn["alternatives"][0])
    code, out, err = run("--json", typed=f"{photo}\ncaption it\n/why\n/help\n")
    assert code == 0
    *turns, why = [json.loads(line) for line in out.splitlines()]
    assert [turn["ok"] for turn in turns] == [True, True]
    assert why == {"why": "photo.attention.png"}
    assert "Commands:" in err


def test_a_session_file(run: Run, photo: Path) -> None:
    run("--say", "describe it", "--photo", photo, "--session", "talk.jsonl")
    code, out, _ = run("--say", "what colour is the square", "--session", "talk.jsonl")
    assert code == 0
    assert out.splitlines()[0] == "green"
    assert len(Path("talk.jsonl").read_text().splitlines()) == 2


def test_speaking(run: Run, photo: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(chat.shutil, "which", lambda name: None)
    args = ("--say", "what colour is the square", "--photo", photo, "--speak")
    code, out, err = run(*args)
    assert code == 0
    assert out.splitlines()[0] == "green"
    assert err.strip() == "espeak-ng is not installed: answers are not spoken"
    spoken = tmp_path / "spoken"
    fake = tmp_path / "fake"
    fake.write_text(f'#!/bin/sh\necho "$@" > {spoken}\ncat >> {spoken}\n')
    fake.chmod(0o755)
    monkeypatch.setattr(chat.shutil, "which", lambda name: str(fake))
    assert run(*args)[0] == 0
    assert spoken.read_text() == "--stdin\ngreen"


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("echo ALSA lib conf.c >&2; echo error: No such device >&2", "error: No such device"),
        ("exit 3", "exit code 3"),
        (None, "Permission denied"),
    ],
)
def test_speaking_without_a_sound_device(
    run: Run, photo: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str | None,
    complaint: str,
) -> None:  # fmt: skip
    calls, fake = tmp_path / "calls", tmp_path / "fake"
    fake.write_text(f"#!/bin/sh\necho called >> {calls}\n{script}\n")
    fake.chmod(0o755 if script else 0o600)
    monkeypatch.setattr(chat.shutil, "which", lambda name: str(fake))
    code, out, err = run("--speak", typed=f"{photo}\nwhat colour is the square\ncaption it\n")
    assert code == 0
    assert err == f"espeak-ng failed: {complaint}; answers are no longer spoken\n"
    assert "green" in out.splitlines()
    assert not script or calls.read_text() == "called\n"


@pytest.mark.parametrize("word", ["/quit", "/exit", "exit", "Quit", "bye", "Goodbye!"])
def test_leaving(run: Run, word: str) -> None:
    code, out, _ = run(typed=f"{word}\n/photo\n")
    assert (code, out) == (0, "")


def test_nothing_else_is_written_over(run: Run, photo: Path) -> None:
    Path("notes.txt").write_text("mine\n")
    typed = f"{photo}\n/save notes.txt\n/save .\n/save t.jsonl\ncaption it\n/save t.jsonl\n"
    _, out, _ = run(typed=typed)
    mend = "exists and holds something else; expected a new name"
    assert out.splitlines()[1:4] == [
        f"notes.txt {mend}", f". {mend}", "1 turn written to t.jsonl",
    ]  # fmt: skip
    assert out.endswith("2 turns written to t.jsonl\n")
    assert Path("notes.txt").read_text() == "mine\n"
    assert len(Path("t.jsonl").read_text().splitlines()) == 2
    _, out, _ = run(typed=f"{photo}\n/save t.jsonl\n")  # of another talk
    assert out.splitlines()[-1] == f"t.jsonl {mend}"


def test_why_wants_a_request(run: Run) -> None:
    code, out, err = run("--why", "out", typed="hello\n")
    assert (code, out) == (2, "")
    assert "--why explains a single answer; expected --say or --hear" in err


def test_what_was_translated_is_shown(run: Run, photo: Path, translator: Path) -> None:
    config = yaml.safe_load(Path("a.yaml").read_text())
    config["models"]["translation"] = str(translator)
    Path("a.yaml").write_text(yaml.safe_dump(config))
    typed = f"translate it\nred dog\ntranslate: {'red dog ' * 100}\n"
    _, out, _ = run(typed=f"{typed}{photo}\nwhat colour is the square\ntranslate it\n")
    lines = out.splitlines()
    assert lines[0] == "That needs a text: type it"
    assert "rot hund" in lines[2]
    assert not lines[4].startswith("  input:")  # it was just typed
    [long, short] = [line for line in lines if line.startswith("  input: ")]
    assert long.startswith('  input: "red dog red dog')
    assert long.endswith('..."')
    assert short == '  input: "green"'
    [note] = [line for line in lines if line.startswith("  note: ")]
    assert note.endswith("only the first 128 of its 200 words are read")


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("photo.png", "photo.png"),
        ("'my photo.png'", "my photo.png"),
        ("my\\ photo.png", "my photo.png"),
        ("gone.jpg", "gone.jpg"),
        ("gone.wav", "gone.wav"),
        ("what is in photo.png", None),
        ("/photo photo.png", None),
        ("caption it", None),
    ],
)
def test_paths_alone(
    line: str, path: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    draw("red", "left", 0).save("photo.png")
    draw("red", "left", 0).save("my photo.png")
    assert as_path(line) == path
