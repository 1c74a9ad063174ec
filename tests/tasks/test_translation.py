"""Sentences in, sentences out; with a photo that tells what a sentence leaves out."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from samples import COLOURS, draw, save_bert

import plait
from plait.cli import main as cli
from plait.cli.show import TrainingView
from plait.model import Model
from plait.package.card import signatures
from plait.tasks.translate import split_sentences
from plait.training.train import train
from plait.types import BadCell, UsageError

WORDS = {"big": "gross", "small": "klein", "dog": "Hund", "cat": "Katze", "runs": "rennt",
         "sleeps": "schläft"}  # fmt: skip
TINTS = {"red": "rot", "green": "grün", "blue": "blau"}
VOCABULARY = {"unit": "words", "min_count": 1, "lower": False}

TEXT = {
    "modality": "text",
    "representation": {
        "kind": "word-sequence", **VOCABULARY, "sequence_encoder": "transformer", "max_length": 12,
        "width": 32, "dropout": 0.0,
    },
}  # fmt: skip
PHOTO = {
    "modality": "image",
    "representation": {"kind": "pixels", "size": 16, "patch": 8, "width": 32},
}
SETTINGS = {
    "metrics": "translations", **VOCABULARY, "max_length": 12, "label_smoothing": 0.0,
    "decoder": {"kind": "transformer", "layers": 1, "heads": 2, "dropout": 0.0},
    "decoding": {"beam": 2, "min_words": 0, "max_words": 10, "no_repeat": 0},
}  # fmt: skip
TRAINING = {"epochs": 25, "patience": 25, "validate_every": 5, "batch": 16, "learning_rate": 0.005,
            "averaging": 0.9}  # fmt: skip


def recipe(folder: Path, name: str, inputs: dict[str, Any], fusion: dict[str, Any]) -> str:
    path = folder / f"{name}.yaml"
    outputs = {"german": {"kind": "text", "settings": SETTINGS}}
    raw = {"name": name, "inputs": inputs, "fusion": fusion, "outputs": outputs}
    path.write_text(yaml.safe_dump({**raw, "training": TRAINING}))
    return str(path)


def write_table(folder: Path) -> Path:
    """The English leaves out the colour, which the photo shows and the German says."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(160):
        english = [rng.choice(pair) for pair in (["big", "small"], ["dog", "cat"],
                                                 ["runs", "sleeps"])]  # fmt: skip
        colour = str(rng.choice(list(COLOURS)))
        draw(colour, "left", number).save(folder / f"{number}.png")
        german = [WORDS[word] for word in english]
        german.insert(1, TINTS[colour])
        rows.append({
            "image": f"{number}.png", "english": " ".join(english), "german": " ".join(german),
            "split": "val" if number % 5 == 0 else "train",
        })  # fmt: skip
    path = folder / "table.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    folder = tmp_path_factory.mktemp("seeing")
    inputs = {"english": TEXT, "image": PHOTO}
    made = recipe(folder, "seeing", inputs, {"kind": "early", "how": "attention", "width": 32})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLAIT_CACHE", str(folder / "cache"))
        train(made, write_table(folder), folder / "model")
    return plait.load(folder / "model"), folder


def test_the_photo_tells_what_the_sentence_leaves_out(seeing: tuple[Model, Path]) -> None:
    model, folder = seeing
    for number, colour in enumerate(COLOURS):
        draw(colour, "left", 900 + number).save(folder / "new.png")
        said = list(plait.translate(model, ["small cat runs", ""], photo=folder / "new.png"))
        assert said == [f"klein {TINTS[colour]} Katze rennt", ""]
    found = model.evaluate(folder / "table.jsonl", split="val", swapped=True, subsets=True)
    whole = found.scores["german"]["bleu"]
    assert whole > 90
    assert found.swapped["image"].scores["german"]["bleu"] < whole - 20
    assert found.subsets["english",].scores["german"]["bleu"] < whole - 20


def run(*arguments: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["plait", *arguments])
        with pytest.raises(SystemExit) as exit:
            cli.main()
    return int(exit.value.code or 0)


def test_the_command(
    seeing: tuple[Model, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    _, folder = seeing
    draw("green", "left", 5).save(tmp_path / "new.png")
    given = ["--model", str(folder / "model"), "--photo", str(tmp_path / "new.png")]
    assert run("translate", "big dog sleeps", "small dog runs", *given) == 0
    lines = ["gross grün Hund schläft", "klein grün Hund rennt"]
    assert capsys.readouterr().out.splitlines() == lines
    (tmp_path / "text.txt").write_text("big dog sleeps\n\nsmall dog runs\n")
    out = tmp_path / "german.txt"
    assert run("translate", str(tmp_path / "text.txt"), *given, "--out", str(out)) == 0
    assert out.read_text(encoding="utf-8").splitlines() == [lines[0], "", lines[1]]
    (tmp_path / "text.md").write_text("small dog runs\n")
    capsys.readouterr()
    assert run("translate", str(tmp_path / "text.md"), *given) == 0
    assert capsys.readouterr().out.splitlines() == lines[1:]
    assert run("translate", str(tmp_path / "none.txt"), *given) == 1
    assert f"there is no file {tmp_path / 'none.txt'}; check" in capsys.readouterr().err
    save_bert(tmp_path / "bert", ["big", "dog"])
    assert run("translate", "big dog", "--model", f"hub:{tmp_path / 'bert'}") == 2
    assert "(bert) doesn't turn a photo into a text" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", io.StringIO("small dog runs\n"))
    capsys.readouterr()
    assert run("translate", *given) == 0
    assert capsys.readouterr().out.splitlines() == lines[1:]


def test_what_the_model_can_not_do(seeing: tuple[Model, Path], tmp_path: Path) -> None:
    """All but the sentences is told at the call, before any of them is asked for."""
    with pytest.raises(UsageError, match="expected a model from one text"):
        plait.translate(plait.load("captioner"), ["a dog"])
    model, _ = seeing
    with pytest.raises(plait.PlaitError, match=r"none\.png"):
        plait.translate(model, ["small cat runs"], photo=tmp_path / "none.png")
    with pytest.raises(UsageError, match="beams"):
        plait.translate(model, ["small cat runs"], beams=2)
    with pytest.raises(UsageError, match=r"sentences is .*; expected a list"):
        plait.translate(model, "small cat runs")
    with pytest.raises(BadCell, match="None is not text"):
        list(plait.translate(model, ["small cat runs", None]))  # type: ignore[list-item]


@pytest.mark.parametrize(
    "text",
    [
        "A dog runs.|A cat sleeps.",
        "Dr. Smith saw Mr. Jones in St. Ives.|He left!",
        "J. Smith of the U.S. Army came, e.g. Monday.|“No!”|Why?|So…|Then",
        'He said "Stop."|Then he left 3.5 dollars.',
        "Wait... what? yes. no",
        "Él vino.|¿Por qué?|Ärger!?|Ende",
        "Am 3. Oktober kam er.|Dann ging sie.",
        "Heinrich VIII. Tudor kam.|Er blieb.",
        "It was 1999.|Then it ended.",
    ],
)
def test_sentences_are_told_apart(text: str) -> None:
    assert split_sentences(f" {text.replace('|', '  ')}\n") == text.split("|")
    assert split_sentences(" \n") == []


@pytest.mark.parametrize("text", ["." * 10**6, "a" * 10**6, "." + " " * 10**6])
def test_no_text_takes_long_to_split(text: str) -> None:
    """A quadratic search would take hours; none ends the test."""
    assert len(split_sentences(text)) == 1


def test_a_text_of_several_sentences_is_translated_sentence_by_sentence(
    seeing: tuple[Model, Path], caplog: pytest.LogCaptureFixture
) -> None:
    model, _ = seeing
    asked = ['small cat runs. "big dog sleeps', "", "big dog sleeps", "  "]
    alone = [*plait.translate(model, ["small cat runs.", '"big dog sleeps'])]
    assert not caplog.records
    together = list(plait.translate(model, asked))
    assert together[0] == " ".join(alone)
    assert together[1:] == ["", next(plait.translate(model, ["big dog sleeps"])), ""]
    (told,) = (record.getMessage() for record in caplog.records)
    assert told == "lines 2, 4 are empty, and so are the translations"


def test_a_name_of_no_file_is_no_sentence(
    seeing: tuple[Model, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    given = ["--model", str(seeing[1] / "model")]
    for name in ("letter.md", "letters/first", "my letter.txt"):
        assert run("translate", "big dog sleeps", name, *given) == 1
        told = capsys.readouterr()
        assert f"there is no file {name}; check" in told.err
        assert told.out == ""
    assert run("translate", str(tmp_path), *given) == 1
    assert f"{tmp_path} is a folder" in capsys.readouterr().err
    assert run("translate", "big dog sleeps.", "dog!", "", *given) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert [record.getMessage() for record in caplog.records] == [
        "line 3 is empty, and so is the translation"
    ]


def test_people_are_told_bleu_and_its_signature(
    seeing: tuple[Model, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, folder = seeing
    monkeypatch.setenv("COLUMNS", "200")
    given = ["evaluate", str(folder / "model"), str(folder / "table.jsonl"), "--split", "val"]
    assert run(*given, "--subsets") == 0
    out = " ".join(capsys.readouterr().out.split())
    found = model.evaluate(folder / "table.jsonl", split="val").scores["german"].to_json()
    assert "BLEU lost" in out
    assert "bleu_share" not in out
    assert "BLEU (13a, mixed case)" in out
    assert "nrefs:1|case:mixed|eff:no|tok:13a" in signatures(found)
    assert out.count(signatures(found)) == 1
    assert signatures(found) in (folder / "model" / "card.md").read_text()
    for shown in (out, (folder / "model" / "card.md").read_text()):
        assert "BLEU / 100" not in shown


def test_progress_is_told_in_points(capsys: pytest.CaptureFixture[str]) -> None:
    titles = {"bleu_share": "BLEU / 100", "chrf": "chrF2"}
    line = {"event": "validation", "stage": "likelihood", "epoch": 3, "metrics": titles,
            "bleu_share": 0.25, "chrf": 48.5, "best": 0.26}  # fmt: skip
    TrainingView(False, lambda *_: None).report(line)
    told = "likelihood epoch 3: BLEU 25.000, chrF2 48.500 (best 26.000)"
    assert told in capsys.readouterr().err


def test_a_long_sentence_and_another_alphabet_have_an_answer_and_a_warning(
    seeing: tuple[Model, Path], caplog: pytest.LogCaptureFixture
) -> None:
    model, _ = seeing
    asked = ["small cat runs " * 2000, "собака бежит", "small cat runs"]
    said = list(plait.translate(model, asked))
    assert all(isinstance(sentence, str) for sentence in said)
    assert len(said) == 3
    long, strange = (record.getMessage() for record in caplog.records)
    assert long.startswith("small cat runs small cat")
    assert long.endswith("...: only the first 12 of its 6,000 words are read")
    assert strange == "собака бежит: most of its words were in no training text"
