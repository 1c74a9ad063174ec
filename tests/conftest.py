"""Small photos with captions, made here: the tests need no data from anywhere."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from samples import COLOURS, PLACES, captions, draw

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has a feature cache of its own."""
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session", autouse=True)
def wants_meteor() -> Iterator[Callable[[bool | None], bool]]:
    """METEOR starts a Java program, which takes seconds after every training: only tests that ask
    for it have it. Gives the function that decides elsewhere."""
    from plait.outputs.text.metrics import captions as scores

    wants = scores.wants_meteor
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores, "wants_meteor", lambda asked: asked is not None and wants(asked))
        yield wants


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JSON Lines table of 60 small photos: image, split, captions."""
    folder = tmp_path_factory.mktemp("squares")
    rows, number = [], 0
    for repeat in range(5):
        for colour in COLOURS:
            for place in PLACES:
                name = f"{number:03d}.png"
                draw(colour, place, number).save(folder / name)
                split = "val" if repeat == 4 else "train"
                rows.append({"image": name, "split": split, "captions": captions(colour, place)})
                number += 1
    table = folder / "table.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return table


SMALL = (
    "inputs.image.representation={kind: pixels, size: 64, patch: 16, width: 32}",
    "fusion.width=32",
    "outputs.caption.settings.min_count=1",
    "outputs.caption.settings.decoder={kind: transformer, layers: 1, memory_layers: 0, heads: 2,"
    " dropout: 0.0}",
    "outputs.caption.settings.detected_words=0",
    "outputs.caption.settings.word_dropout=0",
    "training.token_dropout=0",
    "training.batch=8",
    "training.epochs=2",
    "training.validate_every=1",
    "training.reinforce.epochs=0",
    "training.learning_rate=0.004",
)


@pytest.fixture(scope="session")
def small() -> tuple[str, ...]:
    """Overrides that make the captioning recipe tiny."""
    return SMALL


@pytest.fixture(scope="session")
def trained(
    squares: Path, small: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A tiny captioner's package, trained until it knows its squares."""
    from plait.training.train import train

    out = tmp_path_factory.mktemp("trained") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLAIT_CACHE", str(out.with_name("cache")))
        longer = ["training.epochs=25", "training.patience=25", "training.averaging=0.9"]
        train("captioning", squares, out, overrides=[*small, *longer])
    return out
