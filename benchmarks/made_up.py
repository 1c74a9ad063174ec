"""Tables that the benchmarks make up: a number of a photo's shade, a sound's pitch and a word."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import soundfile

RATE = 8000


def photo(label: int, side: int, rng: np.random.Generator, suffix: str = ".png") -> bytes:
    """Noise with a square whose place tells the label."""
    pixels = rng.integers(0, 120, (side, side, 3), np.uint8)
    at, size = label * side // 12, side // 6
    pixels[at : at + size, at : at + size] += 130
    return cv2.imencode(suffix, pixels)[1].tobytes()


def sound(label: int, seconds: float, rng: np.random.Generator) -> bytes:
    """A tone in noise whose pitch tells the label."""
    time = np.arange(int(seconds * RATE)) / RATE
    wave = 0.3 * np.sin(2 * np.pi * 200 * (label + 1) * time) + rng.normal(0, 0.2, len(time))
    file = io.BytesIO()
    soundfile.write(file, wave.clip(-1, 1), RATE, format="WAV")
    return file.getvalue()


def text(label: int, rng: np.random.Generator) -> str:
    words = [f"word{number}" for number in rng.integers(0, 500, 12)]
    return " ".join([*words, f"label{label}"])


def digits(rows: int) -> dict[str, list[Any]]:
    """Columns like those of spoken and written digits: 28 x 28 pixels, half a second."""
    rng = np.random.default_rng(0)
    labels = (np.arange(rows) % 10).tolist()
    return {
        "image": [photo(label, 28, rng) for label in labels],
        "audio": [sound(label, 0.5, rng) for label in labels],
        "digit": [str(label) for label in labels],
        "split": ["val" if row % 12 == 11 else "train" for row in range(rows)],
    }


def write_files(folder: Path, rows: int, side: int, seconds: float) -> list[dict[str, Any]]:
    """Records of a JPEG file, a WAV file and a text."""
    rng = np.random.default_rng(0)
    records = []
    for row in range(rows):
        label = row % 4
        (folder / f"{row}.jpg").write_bytes(photo(label, side, rng, ".jpg"))
        (folder / f"{row}.wav").write_bytes(sound(label, seconds, rng))
        records.append({"image": f"{row}.jpg", "audio": f"{row}.wav", "text": text(label, rng),
                        "label": f"class{label}"})  # fmt: skip
    return records
