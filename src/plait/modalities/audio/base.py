"""What all representations of a sound share: reading, cutting, augmenting; mel bands.

Shapes: N samples, L frames, F frequencies, M mel bands.
"""

from __future__ import annotations

import io
import json
import math
import sys
import wave
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from plait.data.audio import count_seconds, open_cut
from plait.data.cells import MediaInfo, is_sentence
from plait.data.recordings import KINDS, SOUND
from plait.modalities.base import Facts, Item, Match, Modality, item_generator, view_generator
from plait.modalities.segments import Grid, Kept, Segments, along
from plait.types import Geometry
from plait.util.imports import needed

# Raise it when the same file would give other samples: old caches must miss. Packages are refused
# then, too; it was not raised when stereo that cancels itself was no longer read as silence.
READING_VERSION = 2
GAIN = 6.0  # decibels, up or down
LINEAR_TO, STEP = 1000.0, 200 / 3  # Slaney's scale: hertz a mel below 1 kHz, logarithmic above
RATIO = np.log(6.4) / 27
HOPS = 100  # frames a second
SHORTEST = 0.05  # seconds; models of the Hub need 25 ms at least
BANDS, TIMES, BRIEFEST = 6, 12, 0.05  # of the segments: bands, most times, seconds of one
WINDOW, HOP = 512, 128  # samples of a window in which bands are filtered out
SHADES, DRAWN = 64, (480, 180)  # bands of the spectrogram that is drawn, and its size
QUIETEST = 1e-8  # power of a band that is drawn, as a share of the loudest

Floats = NDArray[np.floating[Any]]
Rate = Annotated[int, Field(ge=4000, le=48000, description="samples per second")]
MaxSeconds = Annotated[float, Field(gt=0, le=600, description="longer recordings are cut")]
Token = Annotated[
    Literal[20, 40], Field(description="milliseconds per token; 20 for speech written in letters")
]
SequenceLayers = Annotated[
    int, Field(ge=0, le=12, description="layers of the sequence encoder; 0: no sequence encoder")
]
SequenceDropout = Annotated[
    float, Field(ge=0, lt=1, description="dropout before and within the sequence encoder")
]


class Sound(Modality):
    """Reads a sound to (N,) float32 at ``rate`` samples a second, cut after ``max_seconds``."""

    facts = Facts(
        column_names=("audio", "sound", "recording", "wav", "speech", "clip"),
        example="'sound.wav'",
        files=KINDS,
        accept="audio/*",
        also=("video/*", ".m4a", ".aac", ".amr", ".opus"),
        noun="a sound",
        hub_tasks={"text": "automatic-speech-recognition", "category": "audio-classification"},
        request="That needs a recording: /hear PATH",
        given_by="command",
    )
    reads_whole = False
    corruptions = ("noise",)

    rate: Rate = 16000
    max_seconds: MaxSeconds = 10.0
    trim: bool = Field(False, description="trim silence at both ends")
    views: int = Field(1, ge=1, le=16, description="augmented versions (speed, gain, noise)")
    speed: float = Field(
        0.1, ge=0, le=0.5, description="views are up to this fraction faster or slower"
    )
    noise: tuple[float, float] = Field(
        (5.0, 30.0), description="range of the signal-to-noise ratio of views, in decibels"
    )

    @classmethod
    def recognises(cls, cell: Any) -> Match:
        """By a file's suffix or first bytes; any other word may be a file's name. A video may
        have a sound track."""
        if SOUND.is_certain(cell):
            return "certain"
        return "possible" if isinstance(cell, (str, bytes)) and not is_sentence(cell) else "no"

    @property
    def max_samples(self) -> int:
        """N of the longest sound."""
        return max(1, round(self.max_seconds * self.rate))

    @property
    def min_samples(self) -> int:
        """Samples that the encoder needs; it reads shorter sounds with silence after them."""
        return 1

    @abstractmethod
    def pace(self) -> float:
        """Seconds from one token to the next; 0 where tokens lie at no times."""

    def read(self, cell: Any, root: Path) -> Item:
        """(N,) float32."""
        return open_cut(cell, root, self.rate, self.max_samples, self.trim)

    def unread(self, cell: Any, root: Path) -> str:
        """Whether it is cut."""
        seconds = self.media_info(cell, root).seconds
        if seconds > self.max_seconds and self.trim:
            seconds = len(open_cut(cell, root, self.rate, sys.maxsize, trim=True)) / self.rate
        if seconds <= self.max_seconds:
            return ""
        return f"only the first {self.max_seconds:g} of its {seconds:.1f} seconds are heard"

    def media_info(self, cell: Any, root: Path) -> MediaInfo:
        """Its seconds."""
        return MediaInfo(seconds=count_seconds(cell, root))

    def augment(self, item: Item, view: int, seed: int) -> Item:
        """Faster or slower, louder or softer, and with noise.

        Pitch and pace change together, as on a tape (Ko et al. 2015, "Audio Augmentation for
        Speech Recognition"); a slower sound is cut after ``max_seconds`` too.
        """
        if view == 0:
            return item
        rng = view_generator(view, seed)
        factor = self._factor(rng)
        if factor != 1:
            faster = needed("soxr", "audio").resample(item, self.rate * factor, self.rate)
            # Of a sound of one or two samples nothing might be left.
            item = faster[: self.max_samples].copy() if len(faster) else item
        item = item * np.float32(10 ** (rng.uniform(-GAIN, GAIN) / 20))
        return with_noise(item, rng.uniform(*self.noise), rng)

    def _factor(self, rng: np.random.Generator) -> float:
        """How much faster a view is; the first that is drawn."""
        return rng.uniform(1 - self.speed, 1 + self.speed)

    def geometry(self, info: MediaInfo, view: int, seed: int) -> Geometry | None:
        """Seconds; unknown where silence is cut off, as the header doesn't say how much."""
        if self.trim:
            return None
        factor = self._factor(view_generator(view, seed)) if view else 1.0
        seconds = min(info.seconds, self.max_seconds) / factor
        return Geometry((1 / factor,), (0.0,), (min(seconds, self.max_seconds),))

    def corrupt(self, item: Item, kind: str, strength: int) -> Item:
        """White noise, the sound 20 to 0 decibels above it."""
        return with_noise(item, 25.0 - 5.0 * strength, item_generator(item))

    def prepare(self, item: Item) -> Item:
        """With silence after a sound that is shorter than the encoder needs."""
        return np.pad(item, (0, max(0, self.min_samples - len(item))))

    def example(self) -> Item:
        """Silence, as long as the longest sound."""
        return np.zeros(self.max_samples, np.float32)

    def samples(self) -> list[Any]:
        """Two short WAV files."""
        files = []
        for frequency in (440, 880):
            angles = 2 * math.pi * frequency * np.arange(800) / 8000
            files.append(stream := io.BytesIO())
            with wave.open(stream, "wb") as file:
                file.setparams((1, 2, 8000, 0, "NONE", ""))
                file.writeframes((8000 * np.sin(angles)).astype("<i2").tobytes())
        return [stream.getvalue() for stream in files]

    def fingerprint(self) -> str:
        """All settings of reading and of the views, and the version of their code."""
        reading = [self.rate, self.max_seconds, self.trim, self.speed, *self.noise]
        return json.dumps(["sound", READING_VERSION, *reading])

    def segments(self, cell: Any, root: Path) -> Segments:
        """Times and frequencies on the sound's spectrogram; hidden ones are filtered out of it."""
        sound = self.read(cell, root)
        edges, seconds = mel_edges(self.rate, BANDS), len(sound) / self.rate
        times = max(1, min(TIMES, round(seconds / BRIEFEST)))

        def perturb(kept: Kept) -> Item:
            return filtered(sound, self.rate, edges, kept.reshape(BANDS, times)[::-1])

        rows = [f"{low:,.0f}–{high:,.0f} Hz" for low, high in pairwise(edges.tolist())][::-1]
        columns = [f"{seconds * n / times:.2f} s" for n in range(times)]
        # Its spectrogram, loud dark, high on top.
        values = spectrum(sound, WINDOW, HOP)
        power = np.square(np.abs(values)).T @ mel_filters(self.rate, WINDOW, SHADES)  # (L, SHADES)
        logs = np.log10(np.maximum(power, max(QUIETEST * float(power.max()), 1e-20))).T[::-1]
        grey = 250 - 220 * (logs - logs.min()) / max(float(np.ptp(logs)), 1e-9)
        picture = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
        return Grid(
            picture, DRAWN, rows, columns, perturb, spans=lambda tokens: along(tokens, times)
        )


class MelSound(Sound):
    """A sound that is read as frames of mel bands, which strided convolutions turn into tokens."""

    strides: ClassVar[Mapping[int, Sequence[int]]]
    """Milliseconds of a ``token`` -> the convolutions' strides over time."""

    @property
    def min_samples(self) -> int:
        """More than one frame."""
        return frame_samples(self.rate) + 1

    def pace(self) -> float:
        """As many frames as the strides make one of."""
        own: Any = self
        return math.prod(self.strides[own.token]) * hop_seconds(self.rate)


def filtered(
    sound: NDArray[np.float32], rate: int, edges: NDArray[Any], kept: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """(N,) samples -> (N,), only some times of some bands left in them.

    Args:
        sound: the samples.
        rate: samples a second.
        edges: (bands + 1,) hertz, from the lowest.
        kept: (bands, times), the times evenly over the sound.
    """
    if kept.all():
        return sound
    values = spectrum(sound, WINDOW, HOP)  # (F, L)
    hertz = np.linspace(0, rate / 2, values.shape[0])
    bands = np.searchsorted(edges, hertz, side="right").clip(1, len(kept)) - 1
    at = np.arange(values.shape[1]) * HOP  # the sample in the middle of each frame
    times = (at * kept.shape[1] // max(len(sound), 1)).clip(max=kept.shape[1] - 1)
    left = sound_of(values * kept[bands][:, times], WINDOW, HOP, len(sound))
    return left.astype(np.float32)


def with_noise(
    sound: NDArray[np.float32], decibels: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """(N,) samples with white noise ``decibels`` below them."""
    power = max(float(np.square(sound, dtype=np.float64).mean()), 1e-12)
    noise = rng.standard_normal(sound.shape, np.float32)
    return sound + noise * np.float32((power * 10 ** (-decibels / 10)) ** 0.5)


# Mel bands and spectrograms ---------------------------------------------------------------------


def mel_edges(rate: int, bands: int) -> Floats:
    """(bands + 1,) hertz between bands that are equally wide in mel, from 0 to half the rate, which
    is above 1 kHz: the scale of Slaney's Auditory Toolbox (1998), librosa and Whisper."""
    corner = LINEAR_TO / STEP
    mels = np.linspace(0, corner + np.log(rate / 2 / LINEAR_TO) / RATIO, bands + 1)
    return np.where(mels < corner, mels * STEP, LINEAR_TO * np.exp(RATIO * (mels - corner)))


def mel_filters(rate: int, size: int, bands: int) -> Floats:
    """(F, M) triangles from 0 to half the rate, each of area 1 over the hertz it spans.

    Args:
        rate: samples a second.
        size: samples of a frame; F = size // 2 + 1.
        bands: M.
    """
    frequencies = np.linspace(0, rate / 2, size // 2 + 1)
    corners = mel_edges(rate, bands + 1)
    rising = (frequencies[:, None] - corners[:-2]) / np.diff(corners)[:-1]
    falling = (corners[2:] - frequencies[:, None]) / np.diff(corners)[1:]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return triangles * (2 / (corners[2:] - corners[:-2]))


def frame_samples(rate: int) -> int:
    """Samples of a frame of 25 ms."""
    return rate // 40


def hop_seconds(rate: int) -> float:
    """From one frame to the next: 10 ms, in whole samples."""
    return rate // HOPS / rate


def spectrum(sound: Floats, window: int, hop: int) -> NDArray[np.complex128]:
    """(N,) -> (F, L) by short-time Fourier transform: Hann windows, silence at both ends."""
    padded = np.pad(sound, (window // 2, window // 2 + hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    return np.fft.rfft(frames * _hann(window), axis=1).T


def sound_of(values: NDArray[np.complex128], window: int, hop: int, samples: int) -> Floats:
    """The inverse of `spectrum`: (F, L) -> (N,), N ``samples``, frames overlapped and added
    (Griffin and Lim 1984, IEEE TASSP 32)."""
    frames = np.fft.irfft(values.T, n=window, axis=1) * _hann(window)
    sound = np.zeros(window + hop * (len(frames) - 1))
    weight = np.zeros_like(sound)
    for start, frame in zip(range(0, len(sound), hop), frames, strict=False):
        sound[start : start + window] += frame
        weight[start : start + window] += _hann(window) ** 2
    whole: Floats = sound / np.maximum(weight, 1e-9)
    return whole[window // 2 : window // 2 + samples]


def _hann(window: int) -> Floats:
    """Periodic, as `torch.hann_window`."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
