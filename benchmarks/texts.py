"""How fast sound and text become text.

    python benchmarks/texts.py [--threads 2] [--minutes 5] [--sentences 640] [--beam 8]

Transcription: a network of the kind of the recipe speech-an4 (20 ms tokens, two GRUs, CTC over
letters, an n-gram model of order 8) writes down made-up speech, from the file to the text. It is
trained for a moment on tones that stand for letters, so that there is a text to be searched for.
Told is the real-time factor, seconds of work a second of sound, of many pieces at a time and of one
that is alone.

Translation: the network of the recipe translation with random weights, greedy, in batches of 32,
made-up sentences of 8 to 18 words; every translation is forced to 15 words.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from machine import describe

import plait
from plait.config.recipe import check_recipe, load_recipe
from plait.data.tables import Table
from plait.model import Model
from plait.network import TorchEngine, build_network
from plait.pipeline.engine import build_parts
from plait.pipeline.records import fit_parts

RATE = 8000
LETTERS = "abcdefghij "


def spoken(text: str, rng: np.random.Generator) -> np.ndarray:
    """A tone of 80 ms for each letter, silence for a space."""
    time_of = np.arange(int(0.08 * RATE)) / RATE
    pitches = [0 if letter == " " else 300 + 250 * LETTERS.index(letter) for letter in text]
    tones = [0.3 * np.sin(2 * np.pi * pitch * time_of) for pitch in pitches]
    sound = np.concatenate([*tones, np.zeros(int(0.6 * RATE))])
    return (sound + rng.normal(0, 0.002, len(sound))).astype(np.float32)


def written(rng: np.random.Generator) -> str:
    words = ["".join(rng.choice(list(LETTERS[:10]), rng.integers(2, 7))) for _ in range(5)]
    return " ".join(words)


def speech_recipe(beam: int) -> Any:
    settings = load_recipe("speech-an4").outputs["text"].settings
    return check_recipe(
        {
            "name": "speech",
            "inputs": {
                "sound": {
                    "modality": "audio",
                    "representation": {
                        "kind": "spectrogram", "rate": RATE, "max_seconds": 10, "token": 20,
                        "bands": 40, "layers": 2, "width": 192,
                    },
                }
            },
            "fusion": {"kind": "none", "width": 192},
            "outputs": {
                "text": {
                    "kind": "text",
                    "settings": {**settings, "decoding": {**settings["decoding"], "beam": beam}},
                }
            },
            "training": {"epochs": 16, "validate_every": 16, "batch": 16, "learning_rate": 0.003},
        }
    )  # fmt: skip


def transcription(folder: Path, minutes: float, beam: int) -> None:
    rng = np.random.default_rng(0)
    texts = [written(rng) for _ in range(200)]
    for number, text in enumerate(texts):
        soundfile.write(folder / f"{number}.wav", spoken(text, rng), RATE)
    columns: dict[str, list[Any]] = {
        "sound": [f"{number}.wav" for number in range(len(texts))],
        "text": texts,
        "split": ["val" if number % 10 == 0 else "train" for number in range(len(texts))],
    }
    model = plait.train(speech_recipe(beam), Table(folder / "made", folder, columns), folder / "m")
    parts, seconds = [], 0.0
    while seconds < 60 * minutes:
        parts.append(spoken(written(rng), rng))
        seconds += len(parts[-1]) / RATE
    soundfile.write(folder / "long.flac", np.concatenate(parts), RATE)
    start = time.perf_counter()
    said = sum(len(segment.text) for segment in plait.transcribe(model, folder / "long.flac"))
    spent = time.perf_counter() - start
    if not said:
        raise SystemExit("the model learned nothing, so nothing was searched for")
    print(
        f"transcription: {seconds:.0f} s of sound, {said:,} letters in {spent:.1f} s, "
        f"real-time factor {spent / seconds:.3f}, beam {beam} with a language model"
    )
    alone = np.concatenate(parts)[: 9 * RATE]
    soundfile.write(folder / "one.wav", alone, RATE)
    start = time.perf_counter()
    answer = model.predict(folder / "one.wav")
    spent = time.perf_counter() - start
    print(f"one recording of 9 s, {len(answer.value)} letters: factor {spent / 9:.3f}")


def translator(sentences: list[str]) -> Model:
    """The recipe's network, with weights as they are drawn."""
    recipe = load_recipe("translation")
    table = Table(Path("made"), Path(), {"en": sentences, "de": sentences})
    columns = {"inputs.text": "en", "outputs.translation": "de"}
    parts = fit_parts(recipe, build_parts(recipe), table, columns)
    return Model(recipe, parts, TorchEngine(build_network(recipe, parts).eval()))


def sentences(count: int) -> Iterator[str]:
    rng = np.random.default_rng(0)
    letters = list("etaoinshrdlu")
    words = ["".join(rng.choice(letters, rng.integers(2, 9))) for _ in range(6000)]
    for _ in range(count):
        yield " ".join(rng.choice(words, rng.integers(8, 19)))


def translation(count: int) -> None:
    model = translator(list(sentences(20_000)))
    asked = list(sentences(count))
    options = {"beam": 1, "min_words": 15, "max_words": 15}
    list(plait.translate(model, asked[:64], **options))
    start = time.perf_counter()
    found = list(plait.translate(model, asked, **options))
    spent = time.perf_counter() - start
    print(
        f"translation: {len(found)} sentences in {spent:.1f} s, {len(found) / spent:.0f} a second"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--sentences", type=int, default=640)
    parser.add_argument("--beam", type=int, default=8)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as name:
        os.environ["PLAIT_CACHE"] = str(Path(name) / "cache")
        translation(args.sentences)
        transcription(Path(name), args.minutes, args.beam)
    print(describe())


if __name__ == "__main__":
    main()
