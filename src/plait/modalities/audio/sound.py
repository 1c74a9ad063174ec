"""What all representations of a sound share: reading, cutting, augmenting.

Shapes: N samples, L frames, M mel bands.
"""

from __future__ import annotations

import io
import json
import math
import wave
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from plait.components import Modality
from plait.data.audio import KINDS, count_seconds, open_sound
from plait.data.media import Extent, file_sent, load_bytes
from plait.registry import needed
from plait.types import State

READING_VERSION = 2  # raise it when the same file would give other samples: old caches must miss
GAIN = 6.0  # decibels, up or down
QUIET = 40.0  # decibels below the loudest frame that count as silence
FRAME = 0.02  # seconds of a frame when silence is looked for

# The settings that all representations of a sound have.
Rate = Annotated[int, Field(ge=4000, le=48000, description="samples a second")]
Longest = Annotated[float, Field(gt=0, le=600, description="seconds; longer sounds are cut")]
Trim = Annotated[bool, Field(description="cut silence off both ends")]
Views = Annotated[
    int, Field(ge=1, le=16, description="augmented versions (speed, gain, noise) to cache")
]
Speed = Annotated[
    float, Field(ge=0, le=0.5, description="views are faster or slower by this share at the most")
]
Noise = Annotated[
    tuple[float, float],
    Field(description="decibels of a view above its noise, at the least and at the most"),
]
Token = Annotated[
    Literal[20, 40], Field(description="milliseconds of a token; 20 for speech in letters")
]
ReaderLayers = Annotated[int, Field(ge=0, le=12, description="layers of the reader; 0 is none")]
ReaderDropout = Annotated[
    float, Field(ge=0, lt=1, description="dropout before and within the reader")
]
SPEED, NOISE = 0.1, (5.0, 30.0)


class Sound(Modality):
    """Reads a sound to (N,) float32 at ``rate`` samples a second, cut after ``longest`` seconds."""

    media = True
    corruptions = ("noise",)

    def __init__(
        self, rate: int, longest: float, trim: bool, views: int, speed: float, noise: Noise
    ) -> None:
        self.rate, self.longest, self.trim, self.views = rate, longest, trim, views
        self.speed, self.noise = speed, noise

    @property
    def most(self) -> int:
        """Samples of the longest sound, N at the most."""
        return max(1, round(self.longest * self.rate))

    def learn(self, cells: Iterable[Any], root: Path) -> State:
        """Nothing: a sound is read the same whatever the other sounds are."""
        return {}

    def read(self, cell: Any, root: Path, state: State) -> Tensor:
        """(N,) float32."""
        sound = open_sound(cell, root, self.rate)
        if self.trim:
            sound = without_silence(sound, self.rate)
        return torch.from_numpy(sound[: self.most].copy())

    def content(self, cell: Any, root: Path) -> bytes:
        """The sound file."""
        return load_bytes(cell, root, KINDS)[0]

    def extent(self, cell: Any, root: Path) -> Extent:
        """Its seconds."""
        return Extent(seconds=count_seconds(cell, root))

    def sent(self, state: State) -> Any:
        """The sound file."""
        return file_sent(KINDS, "audio/*")

    def augment(self, item: Tensor, view: int) -> Tensor:
        """View 0 the sound; others faster or slower, louder or softer, and with noise.

        Pitch and pace change together, as on a tape (Ko et al. 2015, "Audio Augmentation for
        Speech Recognition"); a slower sound is cut after ``longest`` too. What is drawn depends
        on the view and the samples alone.
        """
        if view == 0:
            return item
        generator = torch.Generator().manual_seed(view * 7919 + zlib.crc32(item.numpy().tobytes()))
        gain, ratio, speed = torch.rand(3, generator=generator).tolist()
        item = self._faster(item, 1 + (2 * speed - 1) * self.speed)
        item = item * 10 ** ((2 * gain - 1) * GAIN / 20)
        decibels = self.noise[0] + ratio * (self.noise[1] - self.noise[0])
        return with_noise(item, decibels, generator)

    def corrupt(self, item: Tensor, kind: str, strength: int) -> Tensor:
        """White noise, the sound 20 to 0 decibels above it."""
        generator = torch.Generator().manual_seed(zlib.crc32(item.numpy().tobytes()))
        return with_noise(item, 25.0 - 5.0 * strength, generator)

    def _faster(self, item: Tensor, factor: float) -> Tensor:
        """(N,) -> about (N / factor,), at the most as long as sounds come."""
        if factor == 1:
            return item
        resampled = needed("soxr", "audio").resample(item.numpy(), self.rate * factor, self.rate)
        # Of a sound of one or two samples nothing might be left.
        return torch.from_numpy(resampled[: self.most].copy()) if len(resampled) else item

    def example(self, state: State) -> Tensor:
        """Silence, as long as sounds come."""
        return torch.zeros(self.most)

    def samples(self) -> list[Any]:
        """Two short WAV files."""
        return [_tone(frequency) for frequency in (440, 880)]

    def fingerprint(self, state: State) -> str:
        """All settings of reading and of the views, and the version of their code."""
        reading = [self.rate, self.longest, self.trim, self.speed, *self.noise]
        return json.dumps(["sound", READING_VERSION, *reading])

    def picture(self, cell: Any, root: Path, state: State) -> Tensor | None:
        """None: a sound has none."""
        return None


def with_noise(sound: Tensor, decibels: float, generator: torch.Generator) -> Tensor:
    """(N,) samples with white noise, so many decibels below them."""
    power = sound.square().mean().clamp(min=1e-12)
    noise = torch.randn(sound.shape, generator=generator)
    return sound + noise * (power * 10 ** (-decibels / 10)).sqrt()


def without_silence(sound: np.ndarray, rate: int) -> np.ndarray:
    """The sound from its first to its last frame that is less than 40 dB below the loudest."""
    size = max(1, round(FRAME * rate))
    frames = np.add.reduceat(sound.astype(np.float64) ** 2, np.arange(0, len(sound), size))
    loud = np.flatnonzero(frames > frames.max() * 10 ** (-QUIET / 10))
    return sound[loud[0] * size : (loud[-1] + 1) * size] if len(loud) else sound


def _tone(frequency: int) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        angles = 2 * math.pi * frequency * np.arange(800) / 8000
        file.writeframes((8000 * np.sin(angles)).astype("<i2").tobytes())
    return stream.getvalue()
