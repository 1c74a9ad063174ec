"""Small photos with captions, made here: the tests need no data from anywhere."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import both
import pytest
import yaml
from filelock import FileLock
from hypothesis import settings
from samples import COLOURS, PLACES, captions, draw

os.environ.setdefault("OMP_NUM_THREADS", "1")
# The same examples in every run, and no limit on time, which a busy machine would exceed. To look
# for other examples: HYPOTHESIS_PROFILE=random.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("random", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


@pytest.fixture(scope="session")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Names of folders that are not there, for each test's feature cache."""
    folder = tmp_path_factory.mktemp("caches")
    return (folder / str(number) for number in count())


@pytest.fixture(autouse=True)
def _own_cache(caches: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has a feature cache of its own."""
    monkeypatch.setenv("PLAIT_CACHE", str(next(caches)))


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
    "outputs.caption.settings.pointer=false",
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


Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Gives a folder by its name, filled by a function the first time that any of the processes
    which share the tests asks for it. The feature cache is in it, too."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def make(name: str, fill: Callable[[Path], object]) -> Path:
        folder, done = base / name, base / f"{name}.done"
        with FileLock(base / f"{name}.lock"), pytest.MonkeyPatch.context() as patch:
            if not done.exists():
                folder.mkdir()
                patch.setenv("PLAIT_CACHE", str(folder / "cache"))
                fill(folder)
                done.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def trained(squares: Path, small: tuple[str, ...], once: Once) -> Path:
    """A tiny captioner's package, trained until it knows its squares."""
    from plait.training.train import train

    longer = ["training.epochs=25", "training.patience=25", "training.averaging=0.9"]
    overrides = [*small, *longer]
    return (
        once("trained", lambda f: train("captioning", squares, f / "m", overrides=overrides)) / "m"
    )


@pytest.fixture(scope="session")
def both_folder(once: Once) -> Path:
    """A table whose two inputs are both needed, and ``model``, a package that has learned them."""
    from plait.training.train import train

    def fill(folder: Path) -> None:
        table = both.write_table(folder, ["train", "train", "val"])
        (folder / "both.yaml").write_text(yaml.safe_dump(both.RECIPE))
        train(str(folder / "both.yaml"), table, folder / "model")

    return once("both", fill)
