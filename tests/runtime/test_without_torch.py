"""Exported models need neither torch nor what trains and scores models."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pytest
import soundfile
import tones
from servers import encode_form
from untrained import make_model

import plait
from plait.runtime.export import export

pytest.importorskip("onnxruntime", reason="needs the extra plait[export]")

BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in HEAVY:
            raise ImportError(f"{name} is blocked")
HEAVY = {"torch", "transformers", "sklearn", "scipy", "pandas", "pyarrow", "matplotlib"}
sys.meta_path.insert(0, Block())
"""


def run(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", BLOCK + code, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(plait.load(trained), tmp_path_factory.mktemp("onnx") / "captioner")


def test_the_same_captions(exported: Path, trained: Path, squares: Path) -> None:
    photos = [str(path) for path in sorted(squares.parent.glob("*.png"))[:6]]
    code = """
import json, plait.runtime
model = plait.runtime.load(sys.argv[1])
print(json.dumps([model.predict(photo, beam=2).value for photo in sys.argv[2:]]))
"""
    model = plait.load(trained)
    wanted = [model.predict(photo, beam=2).value for photo in photos]
    assert json.loads(run(code, str(exported), *photos)) == wanted
    assert len(set(wanted)) > 1


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = make_model(
        tones.RECIPE["inputs"], tones.RECIPE["outputs"],
        {"sound": [], "text": ["ab ca", "bcb a"]}, tones.RECIPE["fusion"],
    )  # fmt: skip
    return export(model, tmp_path_factory.mktemp("onnx") / "speech")


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = {"unit": "words", "min_count": 1}
    sentences = ["a dog runs", "two cats sleep"]
    model = make_model(
        {"english": {"modality": "text", "representation": {"kind": "word-sequence", **words}}},
        {"german": {"kind": "text", "settings": {**words, "metrics": "translations"}}},
        {"english": sentences, "german": ["ein hund rennt", "zwei katzen schlafen"]},
        {"kind": "none", "width": 16},
    )
    return export(model, tmp_path_factory.mktemp("onnx") / "translator")


COMMAND = "import plait.cli.main; plait.cli.main.main()"


def test_caption(exported: Path, squares: Path) -> None:
    photo = next(squares.parent.glob("*.png"))
    out = run(COMMAND, "caption", str(photo), "--model", str(exported), "--engine", "onnx")
    assert out.startswith(f"{photo}: ")
    assert " square " in out


def test_predict_and_evaluate(exported: Path, squares: Path, tmp_path: Path) -> None:
    answers = tmp_path / "answers.csv"
    run(COMMAND, "predict", str(exported), str(squares), "--out", str(answers), "--engine", "onnx")
    assert len(answers.read_text().splitlines()) == 1 + 60
    given = [str(exported), str(squares), "--split", "val", "--engine", "onnx", "--json"]
    assert json.loads(run(COMMAND, "evaluate", *given))["records"] == 12


def test_transcribe(speech: Path, tmp_path: Path) -> None:
    recording = tmp_path / "talk.wav"
    soundfile.write(recording, tones.say("ab ca", np.random.default_rng(0)), tones.RATE)
    given = [str(recording), "--model", str(speech), "--engine", "onnx", "--format", "json"]
    assert len(json.loads(run(COMMAND, "transcribe", *given))["segments"]) == 1


def test_translate(translator: Path) -> None:
    out = run(COMMAND, "translate", "a dog sleeps", "--model", str(translator), "--engine", "onnx")
    assert len(out.splitlines()) == 1


def test_serve(exported: Path, squares: Path) -> None:
    command = [sys.executable, "-c", BLOCK + COMMAND, "serve", f"squares={exported}"]
    photo = next(squares.parent.glob("*.png")).read_bytes()
    with subprocess.Popen(
        [*command, "--port", "0", "--engine", "onnx"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as server:  # fmt: skip
        try:
            assert server.stdout
            assert server.stderr
            started = re.search(r"at (http://\S+)", server.stdout.readline())
            assert started, server.stderr.read()
            kind, body = encode_form({"inputs.image": photo})
            asked = Request(f"{started[1]}/models/squares/predict", body, {"Content-Type": kind})
            with urlopen(asked, timeout=60) as reply:
                assert " square " in reply.read().decode()
        finally:
            server.terminate()


def test_every_component_is_found() -> None:
    """All data sides, of every kind of component, import without torch."""
    run(
        "import plait.runtime\nfrom plait.config import registry\n"
        "for kind in registry.kinds():\n    assert registry.names(kind), kind"
    )
