"""The example that makes a table of Tux Paint's stamps, on a made-up folder."""

from __future__ import annotations

import csv
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

PROGRAM = Path(__file__).parents[2] / "examples" / "stamps.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("stamps_example", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def add(folder: Path, name: str, text: str | None, speech: bool = False) -> None:
    """A stamp; the program reads neither the picture nor the sound."""
    image = folder / f"{name}.png"
    image.parent.mkdir(parents=True, exist_ok=True)
    image.touch()
    if text is not None:
        image.with_suffix(".txt").write_text(f"{text}\nes.utf8=Otra lengua.\n", encoding="utf-8")
    if speech:
        image.with_name(f"{image.stem}_desc_es.ogg").touch()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    stamps = tmp_path / "installed"
    for letter in "cdefghijkl":
        add(stamps, f"animals/fish/{letter}{letter}", f"Called {letter}{letter}.")
    add(stamps, "animals/bears/bear", "A bear.", speech=True)
    add(stamps, "animals/bears/bear_mirror", None)
    add(stamps, "animals/bears/Ursus", "A brown bear.")
    add(stamps, "animals/bears/ursus-2", "Bruno “the second”, ¡olé!")
    add(stamps, "animals/silent", None)
    add(stamps, "medical/plaster", "A plaster.", speech=True)
    return stamps


def make(example: ModuleType, monkeypatch: pytest.MonkeyPatch, *args: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["stamps.py", *map(str, args)])
    example.main()


def rows_by_name(table: Path) -> dict[str, dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return {Path(row["image"]).stem: row for row in csv.DictReader(file)}


def test_table(
    example: ModuleType, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    make(example, monkeypatch, tmp_path / "out", folder)
    rows = rows_by_name(tmp_path / "out" / "stamps.csv")
    # Neither mirror images, nor stamps without a description, nor small categories.
    assert set(rows) == {"bear", "Ursus", "ursus-2"} | {c + c for c in "cdefghijkl"}
    assert set(rows["bear"]) == {"image", "text", "speech", "category", "family"}
    assert Path(rows["bear"]["image"]).is_file()
    assert Path(rows["bear"]["speech"]).is_file()
    assert rows["bear"]["text"] == "A bear."
    assert rows["Ursus"]["speech"] == ""
    assert rows["ursus-2"]["text"] == "Bruno “the second”, ¡olé!"
    assert {row["category"] for row in rows.values()} == {"animals"}
    assert "fewer than 10 families: medical" in capsys.readouterr().out


def test_families(
    example: ModuleType, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(example, monkeypatch, tmp_path / "out", folder)
    rows = rows_by_name(tmp_path / "out" / "stamps.csv")
    # The text joins the first two, the file's name the last two.
    bears = {rows[name]["family"] for name in ("bear", "Ursus", "ursus-2")}
    assert len(bears) == 1
    assert len({row["family"] for row in rows.values()}) == 11


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (2, 1, 0)])
def test_families_join_in_any_order(example: ModuleType, order: tuple[int, ...]) -> None:
    told = [("x/ox.png", "An ox."), ("x/cow.png", "A cow."), ("x/cow-red.png", "A red ox.")]
    stamps = [example.Stamp(*told[number], "", "x") for number in order]
    assert len({stamp.family for stamp in example.with_families(stamps)}) == 1


def test_no_folder_names_the_package(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit) as end:
        make(example, monkeypatch, tmp_path / "out", tmp_path / "absent")
    assert "apt-get install tuxpaint-stamps-default" in str(end.value)
    assert not (tmp_path / "out").exists()
