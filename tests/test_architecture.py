"""Folders import downwards only, and the heavy libraries late."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import plait

SOURCE = Path(plait.__file__).parent

# Top to bottom: a folder imports from those below it, never upwards.
FOLDERS = [
    "__main__", "cli", "assistant", "web", "tasks", "runtime", "comparison", "training", "report",
    "model", "explain", "evaluation", "network", "package", "pipeline", "modalities", "fusion",
    "outputs", "config", "nn", "data", "render", "util", "types",
]  # fmt: skip
LEVEL = {name: level for level, name in enumerate(FOLDERS)}
TOP_LEVEL = 6
"""Modules outside any folder, at most."""


def modules() -> list[Path]:
    return [p for p in SOURCE.rglob("*.py") if p != SOURCE / "__init__.py"]


def imports(path: Path) -> set[str]:
    """Second part of each `plait.X...` that a file imports outside `if TYPE_CHECKING`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "plait":
                names = [f"plait.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("plait.")}
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_go_down(path: Path) -> None:
    folder = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    assert folder in LEVEL, f"{folder} has no place among the folders"
    upward = {name for name in imports(path) if LEVEL[name] < LEVEL[folder]}
    assert not upward, f"{path.name} imports upwards: {upward}"


def test_the_docs_list_the_folders_with_their_docstrings() -> None:
    text = (Path(__file__).parent.parent / "docs" / "design.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.M)
    inits = [SOURCE / name / "__init__.py" for name in FOLDERS]
    assert listed == [
        (init.parent.name, str(ast.get_docstring(ast.parse(init.read_text()))).split("\n")[0])
        for init in inits
        if init.is_file()
    ]


def test_few_modules_lie_outside_a_folder() -> None:
    assert len(list(SOURCE.glob("*.py"))) <= TOP_LEVEL


def test_folders_say_what_they_are_for() -> None:
    for path in SOURCE.rglob("*.py"):
        assert (path.parent / "__init__.py").is_file(), path.parent
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_kinds_of_component_do_not_import_each_other() -> None:
    folders = {"modalities", "fusion", "outputs"}
    for folder in folders:
        for path in (SOURCE / folder).rglob("*.py"):
            assert not imports(path) & (folders - {folder}), path


def test_no_file_is_long() -> None:
    for path in modules():
        assert len(path.read_text().splitlines()) <= 800, path


def test_help_imports_no_torch() -> None:
    code = (
        "import sys, plait.cli.main\n"
        "try: plait.cli.main.app(['--help'], standalone_mode=False)\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'cv2', 'transformers', 'pyarrow'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_public_surface() -> None:
    assert sorted(plait.__all__) == [
        "Assistant", "BadCell", "Evaluation", "Model", "PlaitError", "Prediction", "Recipe",
        "UsageError", "compare", "export_arpa", "load", "load_recipe", "profile", "read_table",
        "train", "transcribe", "translate",
    ]  # fmt: skip
    for name in plait.__all__:
        assert getattr(plait, name) is not None
