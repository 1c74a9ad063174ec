"""The wheel alone: installed outside the checkout, beside nothing but what it requires."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
import yaml
from both import RECIPE, write_table
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import plait

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "examples" / "photos" / "astronaut.jpg"
TRAIN = "train both.yaml table.jsonl --out m --set"
# Extra -> a command that needs it.
NEED = {
    "arrow": "data table.parquet",
    "audio": "train audio.yaml files.csv --out m",
    "classical": f"{TRAIN} inputs.photo.representation={{kind: visual-words}}",
    "explain": "explain captioner photo.jpg",
    "export": "export captioner exported",
    "hub": "data hub:someone/something",
    "serve": "serve captioner",
    "text": f"{TRAIN} inputs.words.representation={{kind: word-vectors, vectors: minilm}}",
    "translation": f"{TRAIN} outputs.answer={{kind: text, settings: {{scores: translations}}}}",
    "video": "train video.yaml files.csv --out m",
    "whisper": "transcribe train.wav",
}
COMMANDS = """
import contextlib, io, json, sys
from plait.cli.main import main

said = {}
for extra, command in json.load(sys.stdin).items():
    sys.argv = ["plait", *command]
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code
    said[extra] = [code, errors.getvalue()]
print(json.dumps(said))
"""


def run(
    command: list[object], folder: Path, code: int = 0, given: str = ""
) -> subprocess.CompletedProcess[str]:
    """Runs a command in a folder, with nothing of this process's environment but its threads."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={
            "PATH": "/usr/bin:/bin", "HOME": str(folder), "OMP_NUM_THREADS": "1",
            "PLAIT_CACHE": str(folder / "cache"),
        },
        input=given,
        capture_output=True,
        encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done


def closure(requirements: list[str]) -> set[str]:
    """The installed distributions that requirements need, and what these need."""
    found: set[str] = set()
    wanted = [Requirement(requirement) for requirement in requirements]
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        if name not in found:
            found.add(name)
            wanted += [Requirement(text) for text in distribution(name).requires or []]
    return found


def link(names: set[str], folder: Path) -> None:
    """Links the installed files of distributions into a folder."""
    folder.mkdir()
    for name in names:
        package = distribution(name)
        tops = {file.parts[0] for file in package.files or [] if file.parts[0] != ".."}
        for top in tops - {"__pycache__"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(Path(str(package.locate_file(top))))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the files that git knows, as a fresh clone has them."""
    folder = tmp_path_factory.mktemp("sources")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", "src", "pyproject.toml", "README.md", "LICENSE"],
        cwd=ROOT, capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    return folder


@pytest.fixture(scope="module")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", out, sources],
        out,
    )
    return next(out.glob("plait-*.whl"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the wheel and what it requires, and no more."""
    folder = tmp_path_factory.mktemp("alone")
    run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], folder)
    python = folder / "env" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps"]
    run([*pip, "--no-index", wheel], folder)
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode()
    required = re.findall(r"^Requires-Dist: (.*)$", metadata, re.M)
    core = [line for line in required if "extra ==" not in line]
    assert len(core) <= 14
    link(closure(core), folder / "dependencies")
    (site,) = (folder / "env" / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(f"{folder / 'dependencies'}\n")
    return python


def test_the_wheel_has_every_file(sources: Path, wheel: Path) -> None:
    package = sources / "src"
    files = (p for p in package.rglob("*") if p.is_file() and ".egg-info" not in str(p))
    wanted = {path.relative_to(package).as_posix() for path in files}
    with zipfile.ZipFile(wheel) as archive:
        there = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert there == wanted


def test_it_captions_a_photo(python: Path, tmp_path: Path) -> None:
    where = run([python, "-c", "import plait; print(plait.__file__)"], tmp_path).stdout
    assert Path(where.strip()).is_relative_to(python.parents[1])
    plait_command = python.with_name("plait")
    found = json.loads(run([plait_command, "caption", PHOTO, "--json"], tmp_path).stdout)
    assert plait.load("captioner").predict(PHOTO).value in json.dumps(found)


def test_the_core_trains_and_scores(python: Path, tmp_path: Path) -> None:
    write_table(tmp_path, ("train", "train", "val", "test"))
    recipe = RECIPE | {"training": RECIPE["training"] | {"epochs": 12}}
    (tmp_path / "both.yaml").write_text(yaml.safe_dump(recipe))
    plait_command = python.with_name("plait")
    run([plait_command, "data", "table.jsonl"], tmp_path)
    trained = run([plait_command, "train", "both.yaml", "table.jsonl", "--out", "m"], tmp_path)
    assert trained.stderr.count("plait[charts]") == 1  # no learning curve, said once
    evaluate = [plait_command, "evaluate", "m", "table.jsonl", "--split", "test", "--json"]
    scores = json.loads(run(evaluate, tmp_path).stdout)
    assert scores["scores"]["answer"]["accuracy"] > 0.9


def test_what_is_missing_is_one_line_that_names_the_extra(python: Path, tmp_path: Path) -> None:
    write_table(tmp_path, ("train", "train", "val", "test"))
    (tmp_path / "both.yaml").write_text(yaml.safe_dump(RECIPE))
    (tmp_path / "photo.jpg").write_bytes(PHOTO.read_bytes())
    for name in ("train.wav", "val.wav", "train.mp4", "val.mp4"):
        (tmp_path / name).write_text(name)
    (tmp_path / "table.parquet").write_bytes(b"PAR1 and so on PAR1")  # read by its first bytes
    for modality, kind in (("audio", "mfcc"), ("video", "motion")):
        representation = {"modality": modality, "representation": {"kind": kind}}
        recipe = {"name": modality, "inputs": {modality: representation}}
        outputs = {"answer": {"kind": "category"}}
        (tmp_path / f"{modality}.yaml").write_text(yaml.safe_dump(recipe | {"outputs": outputs}))
    rows = (f"{s}.wav,{s}.mp4,{answer},{s}" for s in ("train", "val") for answer in "abab")
    (tmp_path / "files.csv").write_text("\n".join(["audio,video,answer,split", *rows]) + "\n")
    commands = {extra: shlex.split(command, posix=False) for extra, command in NEED.items()}
    for extra, command in commands.items():
        where = command.index("--set") + 1 if "--set" in command else len(command)
        commands[extra] = [*command[:where], *filter(None, [" ".join(command[where:])])]
    said = json.loads(run([python, "-c", COMMANDS], tmp_path, given=json.dumps(commands)).stdout)
    for extra, (code, errors) in said.items():
        assert code in (1, 2), (extra, errors)
        line = errors.splitlines()[-1]
        assert line.startswith("plait: "), (extra, errors)
        assert f"plait[{extra}]" in line, (extra, errors)
        assert "Traceback" not in errors


def test_no_library_is_there_that_the_core_does_not_require(python: Path, tmp_path: Path) -> None:
    """Otherwise the tests above would prove nothing."""
    for library in ("matplotlib", "pyarrow", "sklearn", "sacrebleu", "onnxruntime", "soundfile"):
        run([python, "-c", f"import {library}"], tmp_path, code=1)
