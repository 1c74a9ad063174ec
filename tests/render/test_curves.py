from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from plait.render.curves import draw_curve, read_curves
from plait.training import loop as training
from plait.training.train import train
from plait.types import PlaitError


def step(stage: str, done: int, loss: float) -> dict[str, object]:
    return {"event": "step", "stage": stage, "done": done, "of": 8, "loss": loss}


def validation(stage: str, epoch: int, bleu4: float, cider: float) -> dict[str, object]:
    titles = {"bleu4": "BLEU-4", "cider": "CIDEr-D"}
    return {"event": "validation", "stage": stage, "epoch": epoch, "metrics": titles,
            "bleu4": bleu4, "cider": cider, "distinct": 0.5}  # fmt: skip


LINES = [
    step("likelihood", 2, 6.0),
    step("likelihood", 4, 4.0),
    validation("likelihood", 1, 0.1, 0.3),
    step("likelihood", 8, 3.0),
    validation("likelihood", 2, 0.2, 0.5),
    step("reinforce", 3, 0.01),
    validation("reinforce", 1, 0.22, 0.6),
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return path


def test_points_are_those_of_the_log_stage_by_stage(log: Path) -> None:
    first, second = read_curves(log)
    assert first.name == "likelihood"
    assert first.loss == [(2, 6.0), (4, 4.0), (8, 3.0)]
    assert first.scores == {"BLEU-4": [(4, 0.1), (8, 0.2)], "CIDEr-D": [(4, 0.3), (8, 0.5)]}
    assert second.name == "reinforce"
    assert second.loss == [(3, 0.01)]
    assert second.scores["CIDEr-D"] == [(3, 0.6)]


def test_a_line_cut_short_and_a_strange_line_are_left_out(log: Path) -> None:
    with log.open("a") as file:
        file.write('{"event": "other"}\n[1]\n\n{"event": "step", "stage": "likel')
    first, second = read_curves(log)
    assert len(first.loss) == 3
    assert len(second.loss) == 1


def test_the_picture_is_a_png_and_nothing_else_is_left(log: Path) -> None:
    picture = log.parent / "sub" / "curve.png"
    draw_curve(log, picture)
    with Image.open(picture) as image:
        assert image.format == "PNG"
        assert min(image.size) > 500
        assert np.asarray(image.convert("RGB")).std() > 5  # not a blank sheet
    assert [path.name for path in picture.parent.iterdir()] == ["curve.png"]


def test_more_lines_change_the_picture(log: Path) -> None:
    picture = log.parent / "curve.png"
    draw_curve(log, picture)
    before = picture.read_bytes()
    with log.open("a") as file:
        file.write(json.dumps(validation("reinforce", 2, 0.25, 0.8)) + "\n")
    draw_curve(log, picture)
    assert picture.read_bytes() != before


@pytest.mark.parametrize("lines", [LINES[:1], LINES[2:3], LINES[:3]])
def test_a_run_just_begun_can_be_drawn(tmp_path: Path, lines: list[dict[str, object]]) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    draw_curve(log, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").is_file()


def test_no_log_or_an_empty_one_leaves_no_picture(tmp_path: Path) -> None:
    draw_curve(tmp_path / "log.jsonl", tmp_path / "curve.png")
    (tmp_path / "log.jsonl").touch()
    draw_curve(tmp_path / "log.jsonl", tmp_path / "curve.png")
    assert not (tmp_path / "curve.png").exists()


def test_a_picture_that_cannot_be_written_is_a_clear_error(log: Path) -> None:
    picture = log.parent / "curve.png"
    picture.mkdir()
    with pytest.raises(PlaitError, match=r"curve\.png can't be written"):
        draw_curve(log, picture)
    assert sorted(path.name for path in log.parent.iterdir()) == ["curve.png", "log.jsonl"]


@pytest.mark.parametrize(("every", "drawn"), [(30.0, 1), (-1.0, 2)])
def test_a_run_is_drawn_now_and_then_and_at_the_end(
    squares: Path, small: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    every: float, drawn: int,
) -> None:  # fmt: skip
    pictures: list[Path] = []
    monkeypatch.setattr(training, "DRAW_EVERY", every)
    monkeypatch.setattr(training, "draw_curve", lambda log, picture: pictures.append(picture))
    train("captioning", squares, tmp_path / "model", overrides=[*small, "training.epochs=1"])
    assert pictures == [tmp_path / "model.run" / "curve.png"] * drawn
