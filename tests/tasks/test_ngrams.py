"""A trained model's n-grams as a file, and such a file beside another model's decoder."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tones import RECIPE, write_table

import plait
from plait.cli import main as cli
from plait.model import Model
from plait.outputs.text.lm.ngram import NGram
from plait.training.train import train
from plait.types import UsageError


def trained(folder: Path, language: dict[str, Any] | None, name: str) -> Path:
    recipe = copy.deepcopy(RECIPE)
    recipe["outputs"]["text"]["settings"]["language_model"] = language
    recipe["training"]["epochs"] = 1
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLAIT_CACHE", str(folder / "cache"))
        train(str(folder / f"{name}.yaml"), folder / "tones.csv", folder / name)
    return folder / name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a package ``letters`` that counted n-grams of letters."""
    found = tmp_path_factory.mktemp("ngrams")
    table = write_table(found)
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:17]))
    trained(found, {"kind": "ngram", "order": 3}, "letters")
    return found


def run(*arguments: object) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["plait", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
    return int(end.value.code or 0)


def ngrams(model: Model) -> NGram:
    found = model.parts.outputs["text"].ngrams()
    assert found is not None
    return found[0]


def test_from_one_model_to_the_next(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "letters.arpa"
    assert run("arpa", folder / "letters", path) == 0
    assert capsys.readouterr().out == f"written to {path}\n"
    assert "\ta b ▁\n" in path.read_text()
    package = trained(folder, {"kind": "arpa", "file": str(path)}, "guided")
    path.unlink()
    counted, read = ngrams(plait.load(folder / "letters")), ngrams(plait.load(package))
    states = np.array([counted.start])
    np.testing.assert_allclose(read.scores(states), counted.scores(states), atol=1e-5, rtol=0)


def test_models_without(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("arpa", "captioner", tmp_path / "x.arpa") == 2
    assert "the model captioner has no n-gram model; expected one" in capsys.readouterr().err
    with pytest.raises(UsageError, match=r"n-gram models for text; expected .* not 'words'"):
        plait.export_arpa(plait.load(folder / "letters"), tmp_path / "x.arpa", output="words")
    assert not list(tmp_path.iterdir())
