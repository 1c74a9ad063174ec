"""What all representations of a sound share: reading, cutting, augmenting.

Shapes: N samples, L frames, M mel bands.
"""

from __future__ import annotations

import io
import json
import math
import sys
import wave
import zlib
from abc import abstractmethod
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from plait.data.audio import KINDS, count_seconds, open_cut
from plait.data.media import MediaInfo, file_sent, load_bytes
from plait.modalities.audio.mel import LogMel, hertz_to_mel, mel_to_hertz
from plait.modalities.base import Modality
from plait.modalities.segments import Grid, Kept, Segments
from plait.types import State
from plait.util.imports import needed

# Raise it when the same file would give other samples: old caches must miss. Packages are refused
# then, too; it was not raised when stereo that cancels itself was no longer read as silence.
READING_VERSION = 2
GAIN = 6.0  # decibels, up or down
SHORTEST = 0.05  # seconds that models of the hub hear at the least, as these need 25 ms
BANDS, TIMES, BRIEFEST = 6, 12, 0.05  # of a layout: bands, times at the most, seconds of one
WINDOW = 512  # samples of a window in which bands are filtered out
SHADES, SHOWN = 64, (480, 180)  # bands of the spectrogram that is shown, and what it measures
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
    reads_whole = False
    corruptions = ("noise",)
    least = 1
    """Samples of a sound at the least, where shorter ones are read with silence behind them."""

    def __init__(
        self, rate: int, longest: float, trim: bool, views: int, speed: float, noise: Noise
    ) -> None:
        self.rate, self.longest, self.trim, self.views = rate, longest, trim, views
        self.speed, self.noise = speed, noise

    @property
    def most(self) -> int:
        """Samples of the longest sound, N at the most."""
        return max(1, round(self.longest * self.rate))

    @abstractmethod
    def pace(self, state: State) -> float:
        """Seconds from one token to the next; 0 where tokens do not tell."""

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """Nothing: a sound is read the same whatever the other sounds are."""
        return {}

    def read(self, cell: Any, root: Path, state: State) -> Tensor:
        """(N,) float32."""
        return torch.from_numpy(open_cut(cell, root, self.rate, self.most, self.trim))

    def unread(self, cell: Any, root: Path, state: State) -> str:
        """Whether it is cut."""
        seconds = self.media_info(cell, root).seconds
        if seconds > self.longest and self.trim:
            seconds = len(open_cut(cell, root, self.rate, sys.maxsize, trim=True)) / self.rate
        if seconds <= self.longest:
            return ""
        return f"only the first {self.longest:g} of its {seconds:.1f} seconds are heard"

    def reading(self, state: State) -> State:
        """Rate, whether silence is cut off, and samples at the most; and at the least, for what is
        shorter has silence behind it in any representation."""
        return {
            "kind": "sound", "rate": self.rate, "most": self.most, "trim": self.trim,
            "least": self.least,
        }  # fmt: skip

    def content(self, cell: Any, root: Path) -> bytes:
        """The sound file."""
        return load_bytes(cell, root, KINDS)[0]

    def media_info(self, cell: Any, root: Path) -> MediaInfo:
        """Its seconds."""
        return MediaInfo(seconds=count_seconds(cell, root))

    def request_type(self, state: State) -> Any:
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

    def segments(self, cell: Any, root: Path, state: State) -> Segments:
        """Times and frequencies of the sound, on its spectrogram; what is hidden is filtered out
        of the sound."""
        sound = self.read(cell, root, state)
        edges = mel_to_hertz(np.linspace(0, hertz_to_mel(np.array(self.rate / 2)), BANDS + 1))
        seconds = len(sound) / self.rate
        times = max(1, min(TIMES, round(seconds / BRIEFEST)))

        def keep(kept: Kept) -> Tensor:
            return filtered(sound, self.rate, edges, kept.reshape(BANDS, times)[::-1])

        rows = [f"{low:,.0f}–{high:,.0f} Hz" for low, high in pairwise(edges.tolist())][::-1]
        columns = [f"{seconds * n / times:.2f} s" for n in range(times)]
        return Grid(_greys(sound, self.rate), SHOWN, rows, columns, keep)


def filtered(
    sound: Tensor, rate: int, edges: NDArray[np.float64], kept: NDArray[np.bool_]
) -> Tensor:
    """(N,) samples -> (N,) of which only some times of some bands are left.

    Args:
        sound: the samples.
        rate: samples a second.
        edges: (bands + 1,) hertz, from the lowest.
        kept: (bands, times), the times evenly over the sound.
    """
    if kept.all():
        return sound
    window = torch.hann_window(WINDOW)
    spectrum = torch.stft(
        sound, WINDOW, WINDOW // 4, window=window, pad_mode="constant", return_complex=True
    )  # (F, L)
    hertz = np.linspace(0, rate / 2, spectrum.shape[0])
    bands = np.searchsorted(edges, hertz, side="right").clip(1, len(kept)) - 1
    times = np.arange(spectrum.shape[1]) * kept.shape[1] // spectrum.shape[1]
    mask = torch.from_numpy(kept[bands][:, times])
    return torch.istft(spectrum * mask, WINDOW, WINDOW // 4, window=window, length=len(sound))


def _greys(sound: Tensor, rate: int) -> NDArray[np.uint8]:
    """(N,) -> (SHADES, L, 3): its spectrogram, loud dark, high on top."""
    frames = LogMel(rate, SHADES)(sound).T.flip(0).numpy()
    low, high = float(frames.min()), float(frames.max())
    grey = 250 - 220 * (frames - low) / max(high - low, 1e-9)
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


def with_noise(sound: Tensor, decibels: float, generator: torch.Generator) -> Tensor:
    """(N,) samples with white noise, so many decibels below them."""
    power = sound.square().mean().clamp(min=1e-12)
    noise = torch.randn(sound.shape, generator=generator)
    return sound + noise * (power * 10 ** (-decibels / 10)).sqrt()


def _tone(frequency: int) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        angles = 2 * math.pi * frequency * np.arange(800) / 8000
        file.writeframes((8000 * np.sin(angles)).astype("<i2").tobytes())
    return stream.getvalue()
