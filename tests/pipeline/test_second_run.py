"""What a run computed is there for the next one: no media file is opened a second time."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml
from samples import COLOURS, draw

from plait.data import digests
from plait.training.train import train

pytestmark = pytest.mark.slow

watched: list[str] = []
opened: list[str] = []


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if event == "open" and watched and str(args[0]).startswith(watched[0]):
        opened.append(str(args[0]))


sys.addaudithook(_watch)  # sees every opening by Python, and can't be taken away again


@contextmanager
def opens_in(folder: Path) -> Iterator[list[str]]:
    """The files of a folder that are opened meanwhile."""
    opened.clear()
    watched.append(str(folder))
    yield opened
    watched.clear()


RECIPE: dict[str, Any] = {
    "name": "seen-and-heard",
    "inputs": {
        "image": {
            "modality": "image",
            "representation": {"kind": "pixels", "size": 16, "patch": 8, "width": 8},
        },
        "audio": {
            "modality": "audio",
            "representation": {"kind": "mfcc", "rate": 8000, "max_seconds": 0.5, "width": 8},
        },
    },
    "outputs": {"label": {"kind": "category"}},
    "data": {"ratios": [0.75, 0.25, 0.0]},  # test rows would not be read
    "training": {"epochs": 1, "batch": 8},
}


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """Photos and sounds; all sounds are of one size, so that splitting compares them too."""
    folder = tmp_path / "media"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(24):
        draw(list(COLOURS)[number % 3], "left", number).save(folder / f"{number}.png")
        soundfile.write(folder / f"{number}.wav", rng.normal(size=2000) * 0.1, 8000)
    rows = [f"{n}.png,{n}.wav,{list(COLOURS)[n % 3]}" for n in range(24)]
    (folder / "table.csv").write_text("\n".join(["image,audio,label", *rows]) + "\n")
    return folder


def _train(
    media: Path, out: Path, fusion: dict[str, Any], recipe_of: dict[str, Any] = RECIPE
) -> list[str]:
    """Trains, and gives the media files that were opened."""
    recipe = out.with_suffix(".yaml")
    recipe.write_text(yaml.safe_dump({**recipe_of, "fusion": {**fusion, "width": 8}}))
    with opens_in(media) as files:
        train(str(recipe), media / "table.csv", out)
        return [name for name in files if not name.endswith(".csv")]


def test_runs_that_differ_in_fusion_read_media_once(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "RACY_SECONDS", 0.0)  # the files were made just now
    first = _train(media, tmp_path / "early", {"kind": "early", "how": "concat"})
    assert len(set(first)) == 48
    assert _train(media, tmp_path / "late", {"kind": "late"}) == []


LEARNING: dict[str, Any] = {
    "name": "learned-from",
    "inputs": {
        "image": {
            "modality": "image",
            "representation": {
                "kind": "visual-words", "size": 32, "words": 8, "levels": 1, "width": 8,
            },
        },
        "series": {
            "modality": "series",
            "representation": {"kind": "sequence", "max_steps": 16, "width": 8},
        },
    },
    "outputs": {"label": {"kind": "category"}},
    "data": {"ratios": [0.75, 0.25, 0.0]},
    "training": {"epochs": 1, "batch": 8},
}  # fmt: skip


def test_what_is_learned_from_files_is_remembered(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "RACY_SECONDS", 0.0)
    rng = np.random.default_rng(0)
    for number in range(24):
        np.save(media / f"{number}.npy", rng.normal(number % 3, 1, (12, 2)))
    rows = [f"{n}.png,{n}.npy,{list(COLOURS)[n % 3]}" for n in range(24)]
    (media / "table.csv").write_text("\n".join(["image,series,label", *rows]) + "\n")

    def run(name: str, fusion: dict[str, Any]) -> list[str]:
        return _train(media, tmp_path / name, fusion, LEARNING)

    def learned(name: str) -> Any:
        return json.loads((tmp_path / name / "state.json").read_text())["states"]

    assert len(set(run("early", {"kind": "early", "how": "concat"}))) == 48
    assert run("late", {"kind": "late"}) == []
    assert learned("late") == learned("early")
    np.save(media / "3.npy", rng.normal(500, 1, (12, 2)))
    assert str(media / "3.npy") in run("changed", {"kind": "late"})
    assert learned("changed")["inputs.series"] != learned("early")["inputs.series"]


def test_a_changed_file_is_read_again(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "RACY_SECONDS", 0.0)
    _train(media, tmp_path / "one", {"kind": "early", "how": "concat"})
    noise = io.BytesIO()
    draw("red", "right", 99).save(noise, "PNG")
    (media / "3.png").write_bytes(noise.getvalue())
    again = _train(media, tmp_path / "two", {"kind": "early", "how": "concat"})
    assert set(again) == {str(media / "3.png")}
