"""From recordings to text with times."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import yaml
from tones import RATE, RECIPE, say, write_table

import plait
from plait.cli import main as cli
from plait.cli import predict
from plait.evaluation.evaluate import Evaluation
from plait.model import Model
from plait.report.best_and_worst import write_errors
from plait.tasks.transcribers import SURE, Segment, Word, clock, written
from plait.training.train import train
from plait.types import BadCell, PlaitError, UsageError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("tones")
    (folder / "tones.yaml").write_text(yaml.safe_dump(RECIPE))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLAIT_CACHE", str(folder / "cache"))
        train(str(folder / "tones.yaml"), write_table(folder), folder / "model")
    return plait.load(folder / "model")


@pytest.fixture(scope="module")
def package(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model.save(tmp_path_factory.mktemp("saved") / "model")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sentences with a second of silence between."""
    rng = np.random.default_rng(7)
    parts: list[np.ndarray] = []
    for text in ("ab ca", "bcb", "a a ab"):
        parts += [np.zeros(RATE, np.float32), say(text, rng)]
    path = tmp_path_factory.mktemp("long") / "talk.flac"
    soundfile.write(path, np.concatenate([*parts, np.zeros(RATE, np.float32)]), RATE)
    return path


def run(*arguments: str) -> int:
    """The command line's exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["plait", *arguments])
        with pytest.raises(SystemExit) as exit:
            cli.main()
    return int(exit.value.code or 0)


def test_a_long_recording_piece_by_piece(model: Model, recording: Path) -> None:
    found = list(plait.transcribe(model, recording))
    assert [segment.text for segment in found] == ["ab ca", "bcb", "a a ab"]
    ends = [0.0, *(segment.end for segment in found)]
    for segment, before in zip(found, ends, strict=False):
        assert segment.start > before + 0.5
        assert [word.text for word in segment.words] == segment.text.split()


def test_words_have_their_times(model: Model, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    sound = np.concatenate([np.zeros(RATE // 2, np.float32), say("ab bcb", rng)])
    soundfile.write(tmp_path / "two.wav", sound, RATE)
    (segment,) = plait.transcribe(model, tmp_path / "two.wav")
    first, second = segment.words
    # Half a second and a twentieth of silence; a letter takes 0.14 to 0.21 s, a space as long.
    assert first.start == pytest.approx(0.55, abs=0.09)
    assert first.end == pytest.approx(0.55 + 2 * 0.175, abs=0.13)
    assert second.start == pytest.approx(0.55 + 3 * 0.175, abs=0.16)
    assert segment.start < first.start < first.end <= second.start < second.end < segment.end


def test_the_command(
    package: Path, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("transcribe", str(recording), "--model", str(package)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines] == ["ab ca", "bcb", "a a ab"]
    out = tmp_path / "out"
    given = ["transcribe", str(recording), "--model", str(package), "--out", str(out)]
    for kind in ("txt", "json", "srt", "vtt"):
        assert run(*given, "--format", kind) == 0
    assert (out / "talk.txt").read_text() == "ab ca\nbcb\na a ab\n"
    told = json.loads((out / "talk.json").read_text())
    assert told["file"] == str(recording)
    segments = told["segments"]
    assert [word["text"] for word in segments[0]["words"]] == ["ab", "ca"]
    assert (out / "talk.srt").read_text().startswith("1\n00:00:0")
    assert (out / "talk.vtt").read_text().startswith("WEBVTT\n\n00:00:0")


def test_what_can_not_be_read_is_told(
    package: Path, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.wav").write_text("nothing")
    given = ["transcribe", str(tmp_path / "bad.wav"), str(recording), "--model", str(package)]
    assert run(*given) != 0
    assert "bad.wav is damaged or not audio" in capsys.readouterr().err
    assert run(*given, "--on-bad", "skip") == 0
    shown = capsys.readouterr()
    assert "bcb" in shown.out
    assert "bad.wav:" not in shown.out
    assert "bad.wav" in shown.err
    alone = [given[0], given[1], *given[3:]]
    assert run(*alone, "--on-bad", "skip") == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "bad.wav is damaged" in shown.err
    assert run(*given, "--format", "doc") != 0
    assert "there is no format 'doc'" in capsys.readouterr().err


def test_several_recordings_are_kept_apart(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [tmp_path / "one.wav", tmp_path / "two.wav", tmp_path / "two.flac"]
    for name, text in zip(names, ("ab ca", "bcb", "a"), strict=True):
        soundfile.write(name, say(text, np.random.default_rng(2)), RATE)
    given = ["transcribe", *map(str, names[:2]), "--model", str(package)]
    assert run(*given, "--format", "json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["file"] for line in lines] == [str(name) for name in names[:2]]
    assert [line["segments"][0]["text"] for line in lines] == ["ab ca", "bcb"]
    assert run(*given, "--format", "srt") == 2
    assert "the subtitles of 2 recordings don't fit in one file" in capsys.readouterr().err
    out = tmp_path / "outs"
    assert run("transcribe", *map(str, names), *given[3:], "--out", str(out)) == 2
    told = f"{names[1]} and {names[2]} would both be written to {out / 'two.txt'}"
    assert told in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("rate", "kind", "channels"),
    [(8000, "PCM_U8", 1), (8000, "PCM_24", 1), (6000, "PCM_16", 1), (96000, "PCM_16", 1),
     (8000, "PCM_16", 2), (44100, "FLOAT", 3)],
)  # fmt: skip
def test_any_rate_depth_and_channels(
    model: Model, tmp_path: Path, rate: int, kind: str, channels: int
) -> None:
    sound = say("ab ca", np.random.default_rng(11))
    resampled = soxr.resample(sound, RATE, rate)
    several = np.zeros((len(resampled), channels), np.float32)  # all channels but one are dead
    several[:, -1] = resampled
    soundfile.write(tmp_path / "any.wav", several, rate, kind)
    (segment,) = plait.transcribe(model, tmp_path / "any.wav")
    assert segment.text == "ab ca"


def test_noise_and_what_stops_in_the_middle_have_an_answer(model: Model, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "noise.wav", rng.normal(size=6 * RATE) * 0.2, RATE)
    found = list(plait.transcribe(model, tmp_path / "noise.wav"))
    # Nothing tells noise from speech: it is cut into what the model can read, and read.
    assert all(segment.end - segment.start <= 4.0 + 1e-6 for segment in found)
    assert found[-1].end == pytest.approx(6, abs=0.02)
    sound = np.concatenate([say("ab", rng), np.zeros(RATE, np.float32), say("ca", rng)])
    soundfile.write(tmp_path / "cut.wav", sound, RATE)
    data = (tmp_path / "cut.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(data[: len(data) - RATE // 5])
    assert next(plait.transcribe(model, tmp_path / "cut.wav")).text == "ab"


def test_what_a_model_is_unsure_of_is_marked(
    model: Model, package: Path, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = list(plait.transcribe(model, recording))
    assert all(segment.sure and SURE < segment.score <= 0 for segment in found)
    assert inspect.signature(predict.transcribe).parameters["sure"].default.default == SURE
    scores = sorted(segment.score for segment in found)
    least = str(sum(scores[:2]) / 2)  # the worst of three is below it
    given = ["transcribe", str(recording), "--model", str(package), "--sure", least]
    assert run(*given) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.endswith("  (unsure)") for line in lines] == [
        s.score < float(least) for s in found
    ]
    assert sum(line.endswith("  (unsure)") for line in lines) == 1
    assert run(*given, "--format", "json") == 0
    told = json.loads(capsys.readouterr().out)["segments"]
    assert [piece["sure"] for piece in told] == [s.score >= float(least) for s in found]
    assert run(*given, "--format", "srt") == 0
    assert "unsure" not in capsys.readouterr().out


def test_a_piece_of_one_unit_has_the_time_of_the_piece(model: Model, tmp_path: Path) -> None:
    sound = np.concatenate([np.zeros(RATE, np.float32), say("a", np.random.default_rng(1))])
    soundfile.write(tmp_path / "one.wav", sound, RATE)
    (segment,) = plait.transcribe(model, tmp_path / "one.wav")
    assert segment.words == (Word("a", segment.start, segment.end),)


def test_bad_arguments_are_met_at_the_call(model: Model, recording: Path) -> None:
    with pytest.raises(UsageError, match="expected a path"):
        plait.transcribe(model, [recording])  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="expected a Model or a Transcriber"):
        plait.transcribe("my-speech", recording)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="colour"):
        plait.transcribe(model, recording, colour=3)
    with pytest.raises(BadCell, match="there is no file"):
        plait.transcribe(model, recording.with_name("none.wav"))


@pytest.mark.parametrize(
    ("name", "words"),
    [("none.wav", "there is no file"), ("", "is a folder"), ("-", "can't be read from a pipe")],
)
def test_names_that_are_wrong_are_never_skipped(
    package: Path, recording: Path, name: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = name if name == "-" else str(recording.parent / name)
    given = ["transcribe", str(recording), wrong, "--model", str(package), "--on-bad", "missing"]
    assert run(*given) == 2
    shown = capsys.readouterr()
    assert words in shown.err
    assert "--on-bad" not in shown.err
    assert shown.out == ""


def test_silence_says_nothing(
    model: Model, package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silence = tmp_path / "silence.wav"
    soundfile.write(silence, np.zeros(RATE, np.float32), RATE)
    assert list(plait.transcribe(model, silence)) == []
    assert run("transcribe", str(silence), "--model", str(package)) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"{silence} contains no speech" in shown.err


def test_errors_are_shown_below_what_was_said(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(5)
    rows = [("ab ca", "ab ca"), ("bcb", "bcb a"), ("a", "ca")]  # what is said, and is in the table
    for number, (said, _) in enumerate(rows):
        soundfile.write(tmp_path / f"{number}.wav", say(said, rng), RATE)
    lines = [f"{number}.wav,{right}" for number, (_, right) in enumerate(rows)]
    (tmp_path / "table.csv").write_text("\n".join(["sound,text", *lines]) + "\n")
    out = tmp_path / "errors.txt"
    assert run("evaluate", str(package), str(tmp_path / "table.csv"), "--errors", str(out)) == 0
    assert "wer" in capsys.readouterr().out.lower()
    assert out.read_text().split("\n\n") == [
        "text: 2 of 3 transcripts have errors",
        "2.wav\nREF: CA\nHYP: A",
        "1.wav\nREF: bcb A\nHYP: bcb *\n",
    ]
    table = tmp_path / "photos.csv"
    table.write_text("image,caption\nnone.jpg,nothing\n")
    with pytest.raises(UsageError, match="aligned errors need an output of transcripts"):
        write_errors(
            Evaluation(plait.read_table(table), {}, [], {}, {}, {"caption": object()}, []), out
        )


def test_a_model_of_photos_can_not(recording: Path) -> None:
    with pytest.raises(UsageError, match="expected a model from one audio input to one text"):
        list(plait.transcribe(plait.load("captioner"), recording))


def test_times_as_subtitles_write_them() -> None:
    assert clock(3723.4567) == "01:02:03.457"
    segments = [Segment(0.5, 1.25, "one", 0.0), Segment(2, 3, "", 0.0), Segment(4, 5.5, "two", 0.0)]
    assert written("srt", "talk.wav", segments) == (
        "1\n00:00:00,500 --> 00:00:01,250\none\n\n2\n00:00:04,000 --> 00:00:05,500\ntwo\n"
    )
    assert written("vtt", "talk.wav", segments).count("-->") == 2


def test_ctc_reads_one_input(tmp_path: Path) -> None:
    sound = RECIPE["inputs"]["sound"]
    recipe = {**RECIPE, "inputs": {"sound": sound, "other": {**sound, "column": "sound"}},
              "fusion": {"kind": "early", "width": 32}}  # fmt: skip
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(recipe))
    with pytest.raises(PlaitError, match="CTC reads one input, not other, sound"):
        train(str(tmp_path / "two.yaml"), write_table(tmp_path), tmp_path / "model")
