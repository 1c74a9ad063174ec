"""Every block of code in the README and the docs runs."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tones
import yaml
from clips import film, scene
from samples import COLOURS, PLACES, captions, draw

import plait
from plait.cli import main as cli
from plait.comparison import compare
from plait.comparison.variants import make_variants
from plait.config.recipe import check_recipe, load_recipe
from plait.package.format import find_package
from plait.web import serve
from plait.web.serve import load_models

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
SHOWN = {"text", "yaml"}  # shown, not run
ROOMS = [
    "training.epochs=1", "inputs.image.representation.views=1",
    "inputs.question.representation={kind: word-sequence, min_count: 1}",
]  # fmt: skip
# What the docs train, and the fixture before them, with settings that take a moment.
TRAINED = {
    "train speech-digits recordings.csv --out my-speech": [
        "training.epochs=1", "inputs.audio.representation.views=1",
        "outputs.text.settings.language_model={kind: ngram, order: 2}",
    ],
    "train translation sentences.jsonl --out my-translator": [
        "training.epochs=1", "inputs.text.representation.layers=1",
        "outputs.translation.settings.decoder.layers=1",
    ],
    "train translation-photo pairs_without_colours.jsonl --out my-seeing": [
        "training.epochs=1", "inputs.text.representation.layers=1",
        "outputs.translation.settings.decoder.layers=1",
    ],
    "train rooms rooms_by_photo.csv --out my-rooms": ROOMS,
    "train rooms rooms.csv --out my-rooms-too --set data.overlap=keep": ROOMS,
}  # fmt: skip
FAST = [
    *("--set", "training.epochs=1"),
    *("--set", "training.reinforce.epochs=1"),
    *("--set", "outputs.caption.settings.min_count=1"),
]


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader stands: photo.jpg, film.mp4, a folder photos/, tables of photos, recordings
    and translations, trained models."""
    here = tmp_path_factory.mktemp("docs")
    (here / "photos").mkdir()
    lines, number = ["image,caption,split"], 0
    for repeat in range(2):
        for colour in COLOURS:
            for place in PLACES:
                name = f"photos/{number:02d}.jpg"
                draw(colour, place, number).save(here / name)
                split = "val" if repeat else "train"
                lines += [f'{name},"{text}",{split}' for text in captions(colour, place)]
                number += 1
    (here / "photos.csv").write_text("\n".join(lines) + "\n")
    draw("red", "left", 0).save(here / "photo.jpg")
    frames = [frame for seed in range(2) for frame in scene(seed, 15)]
    (here / "film.mp4").write_bytes(film(frames, "mp4", "libx264", "yuv420p"))
    run(here, ["train", "captioning", "photos.csv", "--out", "my-captioner", *FAST])
    write_recordings(here)
    write_translations(here)
    write_questions(here)
    for command, settings in TRAINED.items():
        given = [word for setting in settings for word in ("--set", setting)]
        run(here, [*command.split(), *given])
    return here


def write_recordings(here: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("talk.wav", "monday.flac", "tuesday.flac"):
        soundfile.write(here / name, tones.say("a", rng), tones.RATE)
    lines = ["audio,word,split"]
    for number in range(12):
        word = "abc"[number % 3]
        soundfile.write(here / f"{number}.wav", tones.say(word, rng), tones.RATE)
        lines.append(f"{number}.wav,{word},{('train', 'train', 'val', 'test')[number // 3]}")
    (here / "recordings.csv").write_text("\n".join(lines) + "\n")


def write_translations(here: Path) -> None:
    """From how a photo is described to how it is described otherwise."""
    pairs = [captions(colour, place) for _ in range(2) for colour in COLOURS for place in PLACES]
    rows = [
        {"image": f"photos/{number:02d}.jpg", "en": english, "de": german,
         "split": ("train", "train", "val", "test")[number % 4]}
        for number, (english, german) in enumerate(pairs)
    ]  # fmt: skip
    for name in ("sentences.jsonl", "pairs_without_colours.jsonl"):
        (here / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (here / "letter.txt").write_text("a red ball\n")


def write_questions(here: Path) -> None:
    splits = ("train", "train", "val", "test")
    lines = ["image,question,kind,answer,split"]
    answers = [(colour, place) for _ in range(2) for colour in COLOURS for place in PLACES]
    for number, (colour, place) in enumerate(answers):
        photo, split = f"photos/{number:02d}.jpg", splits[number % 4]
        lines.append(f"{photo},what colour is it,colour,{colour},{split}")
        lines.append(f"{photo},where is it,place,{place},{split}")
    (here / "rooms_by_photo.csv").write_text("\n".join(lines) + "\n")
    shared = f"photos/00.jpg,how many are there,count,{answers[0][0]},test"
    (here / "rooms.csv").write_text("\n".join([*lines, shared]) + "\n")


def run(folder: Path, args: list[str]) -> None:
    """A command as the reader gives it, in this process: starting torch anew is slow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["plait", *args])
        with pytest.raises(SystemExit) as end:
            cli.main()
    assert end.value.code == 0, shlex.join(args)


CASES = [
    pytest.param(page, number, id=f"{page.name}-{number}")
    for page in PAGES
    for number, (language, _) in enumerate(blocks(page))
    if language not in SHOWN
]


@pytest.mark.parametrize(("page", "number"), CASES)
def test_block(page: Path, number: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    language, text = blocks(page)[number]
    monkeypatch.chdir(folder)
    if language == "python":
        text = text.replace('["training.epochs=2"]', repr(FAST[1::2]))
        exec(compile(text, str(page), "exec"), {"plait": plait, "Path": Path})
    else:
        assert language == "console", f"{page.name}: a block of {language!r} would not be run"
        for line in text.replace("\\\n", " ").splitlines():
            run_line(folder, shlex.split(line, comments=True))


def run_line(folder: Path, words: list[str]) -> None:
    if not words:
        return
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
        assert words[1] in targets
        return
    assert words[0] == "plait", words
    if shlex.join(words[1:]) in TRAINED:
        return
    if words[1] == "compare":  # it takes minutes, and has tests of its own: it is understood here
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compare, "compare", understand)
            with pytest.raises(Understood):
                run(folder, words[1:])
        return
    if words[1] == "serve":  # it would not end, and has tests of its own
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(serve, "serve", lambda models, *_: load_models(models))
            patch.setattr(serve, "load", lambda folder, engine: find_package(folder))
            (folder / "keys.txt").write_text("correct-horse-battery")
            run(folder, words[1:])
        return
    training = words[1] == "train" and "my-captioner" not in words
    if words[1:3] != ["train", "captioning"] or training:
        run(folder, words[1:] + (FAST if training else []))


class Understood(Exception):
    """Raised where a command has been read whole."""


def understand(recipe: str, table: str, out: Path, **options: Any) -> None:
    found = make_variants(
        load_recipe(recipe, options["overrides"]), options["fusions"], options["representations"],
        options["rows"],
    )  # fmt: skip
    assert len(found) >= 3
    raise Understood


def test_pages_have_blocks() -> None:
    assert len(CASES) > 15


def test_the_whole_recipe_is_one() -> None:
    (recipe,) = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs" / "own-recipe.md").read_text(),
                           re.M | re.S)  # fmt: skip
    checked = check_recipe(yaml.safe_load(recipe))
    assert list(checked.inputs) == ["photo", "description", "plain", "heat"]
    assert list(checked.outputs) == ["price", "state", "tags"]
