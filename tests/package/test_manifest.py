"""A package's manifest: what was changed is found, and older packages have none."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

import plait
from plait.cli.main import app
from plait.package.format import verify_package
from plait.package.hub import pull, push
from plait.types import PlaitError


@pytest.fixture
def package(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "package"))


def test_it_lists_the_digest_of_every_other_file(package: Path) -> None:
    digests = json.loads((package / "manifest.json").read_text())["sha256"]
    assert set(digests) == {path.name for path in package.iterdir()} - {"manifest.json"}
    for name, digest in digests.items():
        assert hashlib.sha256((package / name).read_bytes()).hexdigest() == digest
    assert verify_package(package) == digests


@pytest.mark.parametrize("name", ["recipe.yaml", "card.md", "weights.safetensors"])
def test_a_changed_file_is_named_and_nothing_is_loaded(package: Path, name: str) -> None:
    with (package / name).open("ab") as file:
        file.write(b"\n")
    message = f"was changed after it was written: {name}; expected the files whose SHA-256"
    with pytest.raises(PlaitError, match=message):
        plait.load(package)
    with pytest.raises(PlaitError, match=message):
        app(["verify", str(package)], standalone_mode=False)


def test_the_command(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app(["verify", str(package), "--json"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    assert (found["sha256"], found["others"]) == (verify_package(package), [])
    (package / "extra.py").write_text("raise SystemExit")
    app(["verify", str(package)], standalone_mode=False)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "not part of the package, and not checked: extra.py"
    app(["verify", "captioner"], standalone_mode=False)
    *lines, last = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert last.endswith("captioner: 5 files, unchanged since the package was written")


def test_a_package_of_an_older_plait_has_none(package: Path, tmp_path: Path) -> None:
    about = json.loads((package / "state.json").read_text())
    (package / "state.json").write_text(json.dumps({**about, "format": 1}))
    for name in ("manifest.json", "records.safetensors"):
        (package / name).unlink()
    assert not plait.load(package).memory
    with pytest.raises(PlaitError, match=r"has no manifest\.json: it can't be verified"):
        verify_package(package)
    push(package, str(tmp_path / "hub"))
    copy = pull(str(tmp_path / "hub"), tmp_path / "copy")
    assert {path.name for path in copy.iterdir()} == {path.name for path in package.iterdir()}
