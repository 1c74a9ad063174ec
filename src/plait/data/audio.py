"""Safe decoding of audio: WAV, FLAC, OGG and MP3 by soundfile, resampled by soxr."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.data.cells import FileKind, load_bytes
from plait.types import BadCell
from plait.util.imports import needed

KINDS = "a WAV, FLAC, OGG or MP3 file"
SOUND = FileKind(
    (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au"),
    # The last is an MP3 frame: eleven 1 bits, the version and layer III.
    re.compile(rb"(?s)RIFF....WAVE|fLaC|OggS|ID3|\xff[\xe2\xe3\xea\xeb\xf2\xf3\xfa\xfb]"),
)
MAX_SECONDS, MAX_CHANNELS = 1800.0, 16
MIN_RATE, MAX_RATE = 1000, 400_000  # samples per second
QUIET = 40.0  # decibels below the loudest frame: silence
FRAME = 0.02  # seconds per frame when looking for silence
LOUDEST = 2.0**31  # sample; float files may hold integers that were not scaled
CANCELLED = 0.01  # of the loudest channel's power; if the mean has less, channels cancel out
MP3_TAGS = 1 << 20  # bytes at the start of a file that hold its tags and first frame
BLOCK = 1 << 16  # samples decoded at a time
# How libsndfile reports a header that claims more than the file holds: WAV and AU, then AIFF.
CLAIMS = re.compile(
    r"^ *data(?: size)? *: *(\d+) \(should be (\d+)\)"
    r"|frame count read from 'comm' chunk \((\d+)\) not equal to frame count\s+\*+\s+"
    r"calculated from length of 'ssnd' chunk \((\d+)\)",
    re.MULTILINE,
)
STREAMED = 0x7FFF0000  # a header with this size or more was written before the length was known

Sound = NDArray[np.float32]


def open_sound(cell: str | Path | bytes, root: Path, rate: int) -> Sound:
    """Decode audio to one channel at ``rate`` samples per second: (N,) float32, about -1 to 1.

    Channels are merged, see `one_channel`. The header is read first, so that a small file which
    claims to hold days of audio is refused without decoding it.

    Raises:
        BadCell: the file is missing, empty, damaged, too long or not audio, or has too many
            channels.
    """
    soxr = needed("soxr", "audio")
    with _open(cell, root) as (file, name):
        own, mono = file.samplerate, _mono(file)
    if not len(mono):
        raise BadCell(f"{name} has no samples", expected=KINDS, hint="record it again")
    check_samples(mono, name)
    resampled = mono if own == rate else soxr.resample(mono, own, rate).astype(np.float32)
    if not len(resampled):
        what = f"{name} is too short: {len(mono)} samples"
        raise BadCell(what, expected=f"at least one at {rate:,} per second")
    return resampled


def check_samples(mono: Sound, name: str) -> None:
    """Raise BadCell unless all samples are numbers, and none is far too large."""
    if not (np.abs(mono) <= LOUDEST).all():  # False for NaN too
        raise BadCell(f"{name} has samples that are NaN or far too large", expected="samples in ±1")


def open_cut(cell: Any, root: Path, rate: int, most: int, trim: bool) -> Sound:
    """`open_sound`, cut to ``most`` samples; ``trim`` first removes silence at both ends."""
    sound = open_sound(cell, root, rate)
    return (without_silence(sound, rate) if trim else sound)[:most].copy()


def without_silence(sound: Sound, rate: int) -> Sound:
    """The audio from the first to the last frame that is less than 40 dB below the loudest."""
    size = max(1, round(FRAME * rate))
    frames = np.add.reduceat(sound.astype(np.float64) ** 2, np.arange(0, len(sound), size))
    loud = np.flatnonzero(frames > frames.max() * 10 ** (-QUIET / 10))
    return sound[loud[0] * size : (loud[-1] + 1) * size] if len(loud) else sound


def one_channel(samples: Sound) -> Sound:
    """(N, C) -> (N,): the mean of the channels, or the loudest one if they cancel out (as with a
    microphone wired the wrong way round)."""
    mono: Sound = samples.mean(axis=1)
    powers = _powers(samples)
    return samples[:, int(powers.argmax())] if _cancel(mono, powers) else mono


def _powers(samples: Sound) -> NDArray[np.float64]:
    """(N, C) -> (C,): the power of each channel."""
    return np.einsum("nc,nc->c", samples, samples, dtype=np.float64)


def _cancel(mono: Sound, powers: NDArray[np.float64]) -> bool:
    """Whether the mean keeps little of the power of the channels."""
    return len(powers) > 1 and float(_powers(mono[:, None])[0]) < CANCELLED * powers.max()


def blocks(file: Any, size: int) -> Iterator[Sound]:
    """The remaining samples of an open audio file, (N, C) each, ``size`` at a time. Raises
    SoundFileError if the rest can't be decoded."""
    # soundfile would seek after each block to where it already is, and mpg123 warns of that.
    file.seekable = lambda: False
    while len(samples := file.read(size, dtype="float32", always_2d=True)):
        yield samples


def stops_early(file: Any, count: int) -> bool:
    """Whether an open audio file is truncated, judged by its header and pages. ``count`` is the
    number of samples per channel that could be decoded."""
    if file.format == "MP3":
        with open(file.name, "rb") as again:
            start = again.read(MP3_TAGS)
        if not any(mark in start for mark in (b"Xing", b"Info", b"VBRI")):
            return False  # it doesn't count its frames: its length is a guess from the first
    info = file.extra_info.lower()
    if "end-of-stream" in info:  # libsndfile misses the mark of an OGG file's last page
        return True
    for line in CLAIMS.findall(info):
        claimed, there = (int(number) for number in line if number)
        if there < claimed < STREAMED:
            return True
    # An MP3 file's count may be off by what its encoder put before the audio.
    return count + file.samplerate // 10 < file.frames < STREAMED


def count_seconds(cell: str | Path | bytes, root: Path) -> float:
    """The duration that an audio file's header claims. Raises BadCell as for `open_sound`, except
    for damage after the header."""
    with _open(cell, root) as (file, _):
        return float(file.frames / file.samplerate)


@contextmanager
def _open(cell: str | Path | bytes, root: Path) -> Iterator[tuple[Any, str]]:
    """A cell's audio file, whose header is fine, and its name for messages."""
    data, name = load_bytes(cell, root, KINDS)
    with open_file(io.BytesIO(data), name) as file:
        seconds = file.frames / file.samplerate
        if seconds > MAX_SECONDS:
            limit = f"at most {MAX_SECONDS:,.0f} seconds"
            what = f"{name} is {seconds:,.0f} seconds long"
            raise BadCell(what, expected=limit, hint="cut it into pieces")
        yield file, name


@contextmanager
def open_file(source: Path | io.BytesIO, name: str) -> Iterator[Any]:
    """Open an audio file; ``name`` is for messages. Raises BadCell if it is damaged or not audio
    (also while it is read inside the block), has too many channels or an implausible sample
    rate."""
    soundfile = needed("soundfile", "audio")
    try:
        with soundfile.SoundFile(source) as file:
            if not MIN_RATE <= file.samplerate <= MAX_RATE:
                what = f"{name} has {file.samplerate:,} samples per second"
                raise BadCell(what, expected=f"{MIN_RATE:,} to {MAX_RATE:,}")
            if file.channels > MAX_CHANNELS:
                what = f"{name} has {file.channels} channels"
                raise BadCell(what, expected=f"at most {MAX_CHANNELS}")
            yield file
    except soundfile.SoundFileError as error:
        why = str(error).rpartition(": ")[2].strip(". ")  # soundfile's own name comes first
        what = f"{name} is damaged or not audio ({why[:120]})"
        raise BadCell(what, expected=KINDS, hint="get the file again") from None


def _mono(file: Any) -> Sound:
    """`one_channel` of the file, (N,), block by block: sixteen channels of silence are small in a
    FLAC file and large in memory."""
    means, powers = [np.zeros(0, np.float32)], np.zeros(file.channels)
    for block in blocks(file, BLOCK):
        means.append(block.mean(axis=1))
        powers += _powers(block)
    mono = np.concatenate(means)
    if not _cancel(mono, powers):
        return mono
    file.seek(0)
    loudest = int(powers.argmax())
    return np.concatenate([block[:, loudest] for block in blocks(file, BLOCK)])
