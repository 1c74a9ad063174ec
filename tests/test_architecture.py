"""The rooms import downwards only, and the heavy libraries late."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import plait

SOURCE = Path(plait.__file__).parent

# Top to bottom; a module may import from rooms below its own, and within its own room.
ROOMS = [
    ["cli"],
    ["web"],
    [
        "assistant",
        "captioning",
        "ngrams",
        "pages",
        "summary",
        "transcription",
        "translation",
        "explaining",
        "report",
    ],
    ["engines", "terminal"],
    ["transcribers"],
    ["comparison"],
    ["learning"],
    ["quantise"],
    ["export", "hub"],
    ["model"],
    ["training", "results", "cards", "package", "neighbours"],
    ["evaluation", "records"],
    ["features", "explain", "curves"],
    ["network", "onnx"],
    ["modalities", "fusion", "outputs"],
    ["components"],
    ["data", "branches", "blocks", "overrides", "recipe", "pretrained"],
    ["layouts"],
    ["cells", "console", "options", "places", "rows"],
    ["registry", "files", "bootstrap", "markup", "charts"],
    ["types"],
]
LEVEL = {name: level for level, room in enumerate(ROOMS) for name in room}


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
    room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    assert room in LEVEL, f"{room} has no place among the rooms"
    upward = {name for name in imports(path) if name != room and LEVEL[name] < LEVEL[room]}
    assert not upward, f"{path.name} imports upwards: {upward}"


def test_kinds_of_component_do_not_import_each_other() -> None:
    rooms = {"modalities", "fusion", "outputs"}
    for room in rooms:
        for path in (SOURCE / room).rglob("*.py"):
            assert not imports(path) & (rooms - {room}), path


def test_no_file_is_long() -> None:
    for path in modules():
        assert len(path.read_text().splitlines()) <= 800, path


def test_help_imports_no_torch() -> None:
    code = (
        "import sys, plait.cli\n"
        "try: plait.cli.app(['--help'], standalone_mode=False)\n"
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
