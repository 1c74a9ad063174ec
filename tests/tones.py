"""Spoken words of a made-up tongue: every letter is a tone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RATE = 8000
PITCHES = {"a": 400, "b": 900, "c": 1700}
WORDS = ("ab", "ca", "bcb", "a")

RECIPE: dict[str, Any] = {
    "name": "tones",
    "inputs": {
        "sound": {
            "modality": "audio",
            "representation": {
                "kind": "mfcc", "rate": RATE, "max_seconds": 4.0, "width": 32, "channels": 32,
                "dropout": 0.0,
            },
        }
    },
    "fusion": {"kind": "none", "width": 32},
    "outputs": {
        "text": {
            "kind": "text",
            "settings": {
                "metrics": "transcripts", "unit": "characters", "min_count": 1, "max_length": 24,
                "decoder": {"kind": "ctc", "dropout": 0.0},
                "decoding": {"beam": 1, "min_words": 0, "no_repeat": 0, "length_penalty": 0.0},
            },
        }
    },
    "training": {"epochs": 30, "patience": 30, "validate_every": 10, "batch": 16,
                 "learning_rate": 0.01, "averaging": 0.9},
}  # fmt: skip


def say(text: str, rng: np.random.Generator) -> np.ndarray:
    """Tones of a tenth of a second, with gaps between, longer ones for spaces."""
    parts = [np.zeros(RATE // 20)]
    for letter in text:
        time = np.arange(int(RATE * rng.uniform(0.11, 0.16))) / RATE
        tone = 0.3 * np.sin(2 * np.pi * PITCHES.get(letter, 0) * time)
        parts += [tone, np.zeros(int(RATE * rng.uniform(0.03, 0.05)))]
    sound = np.concatenate([*parts, np.zeros(RATE // 20)])
    return (sound + rng.normal(size=len(sound)) * 1e-3).astype(np.float32)


def texts(count: int, rng: np.random.Generator) -> list[str]:
    return [" ".join(rng.choice(WORDS, rng.integers(1, 4))) for _ in range(count)]


def write_table(folder: Path, splits: Sequence[str] = ("train", "train", "train", "val")) -> Path:
    """96 recordings."""
    rng = np.random.default_rng(0)
    lines = ["sound,text,split"]
    for number, text in enumerate(texts(96, rng)):
        soundfile.write(folder / f"{number}.wav", say(text, rng), RATE)
        lines.append(f"{number}.wav,{text},{splits[number % len(splits)]}")
    path = folder / "tones.csv"
    path.write_text("\n".join(lines) + "\n")
    return path
