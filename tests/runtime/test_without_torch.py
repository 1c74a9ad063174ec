"""Exported models need neither torch nor what trains and scores models."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_the_command(exported: Path, squares: Path) -> None:
    code = "import plait.cli.main; plait.cli.main.main()"
    photo = next(squares.parent.glob("*.png"))
    out = run(code, "caption", str(photo), "--model", str(exported), "--engine", "onnx")
    assert out.startswith(f"{photo}: ")
    assert " square " in out


def test_every_component_is_found() -> None:
    """All data sides, of every kind of component, import without torch."""
    run(
        "import plait.runtime\nfrom plait.config import registry\n"
        "for kind in registry.kinds():\n    assert registry.names(kind), kind"
    )
