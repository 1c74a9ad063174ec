"""Opening sounds safely: WAV, FLAC, OGG and MP3 by soundfile, resampled by soxr."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.data.media import load_bytes
from plait.types import BadCell
from plait.util.imports import needed

KINDS = "a WAV, FLAC, OGG or MP3 sound"
SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au")
MAX_SECONDS, MAX_CHANNELS = 1800.0, 16
MIN_RATE, MAX_RATE = 1000, 400_000  # samples a second
QUIET = 40.0  # decibels below the loudest frame that count as silence
FRAME = 0.02  # seconds of a frame when silence is looked for
LOUDEST = 2.0**31  # of a sample; a file of floats may hold whole numbers, unscaled

CANCELLED = 0.01  # of the loudest channel's power; with less in their mean, channels cancel
MP3_TAGS = 1 << 20  # bytes of a file in which its tags and first frame lie
BLOCK = 1 << 16  # samples decoded at a time
# What libsndfile tells of a header that names more than there is: WAV and AU, then AIFF.
CLAIMS = re.compile(
    r"^ *data(?: size)? *: *(\d+) \(should be (\d+)\)"
    r"|frame count read from 'comm' chunk \((\d+)\) not equal to frame count\s+\*+\s+"
    r"calculated from length of 'ssnd' chunk \((\d+)\)",
    re.MULTILINE,
)
STREAMED = 0x7FFF0000  # a header that says so much, or more, was written before its sound

Sound = NDArray[np.float32]


def open_sound(cell: str | Path | bytes, root: Path, rate: int) -> Sound:
    """A sound as one channel at ``rate`` samples a second: (N,) float32, about -1 to 1.

    The channels become one, see `one_channel`. The header is read first, so that a small file which
    claims to hold days is refused without decoding it.

    Raises:
        BadCell: it is missing, empty, damaged, too long, of too many channels or no sound.
    """
    soundfile, soxr = needed("soundfile", "audio"), needed("soxr", "audio")
    data, name = load_bytes(cell, root, KINDS)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            _check(name, file.frames, file.samplerate, file.channels)
            found, mono = file.samplerate, _mono(file)
    except soundfile.SoundFileError as error:
        raise _damaged(name, error) from None
    if not len(mono):
        raise BadCell(f"{name} has no samples", expected=KINDS, hint="record it again")
    if not (np.abs(mono) <= LOUDEST).all():  # nor is NaN
        raise BadCell(
            f"{name} has samples that are no numbers or far too large", expected="samples in ±1"
        )
    resampled = mono if found == rate else soxr.resample(mono, found, rate).astype(np.float32)
    if not len(resampled):
        raise BadCell(
            f"{name} has {len(mono)} samples", expected=f"one at {rate:,} a second or more"
        )
    return resampled


def open_cut(cell: Any, root: Path, rate: int, most: int, trim: bool) -> Sound:
    """`open_sound`, without silence at its ends if ``trim``, and cut to ``most`` samples."""
    sound = open_sound(cell, root, rate)
    return (without_silence(sound, rate) if trim else sound)[:most].copy()


def without_silence(sound: Sound, rate: int) -> Sound:
    """The sound from its first to its last frame that is less than 40 dB below the loudest."""
    size = max(1, round(FRAME * rate))
    frames = np.add.reduceat(sound.astype(np.float64) ** 2, np.arange(0, len(sound), size))
    loud = np.flatnonzero(frames > frames.max() * 10 ** (-QUIET / 10))
    return sound[loud[0] * size : (loud[-1] + 1) * size] if len(loud) else sound


def one_channel(samples: Sound) -> Sound:
    """(N, C) -> (N,): the channels' mean; the loudest where they cancel each other, as those of a
    microphone that is wired the wrong way round do."""
    mono: Sound = samples.mean(axis=1)
    powers = _powers(samples)
    return samples[:, int(powers.argmax())] if _cancel(mono, powers) else mono


def _powers(samples: Sound) -> NDArray[np.float64]:
    """(N, C) -> (C,) of each channel."""
    return np.einsum("nc,nc->c", samples, samples, dtype=np.float64)


def _cancel(mono: Sound, powers: NDArray[np.float64]) -> bool:
    """Whether little is left in the mean of channels of these powers."""
    return len(powers) > 1 and float(_powers(mono[:, None])[0]) < CANCELLED * powers.max()


def blocks(file: Any, size: int) -> Iterator[Sound]:
    """The samples of an open sound file from where it stands, (N, C) each, ``size`` at a time.

    Raises:
        SoundFileError: what follows can't be decoded.
    """
    # soundfile would seek after each block, to where it stands; mpg123 complains of that.
    file.seekable = lambda: False
    while len(samples := file.read(size, dtype="float32", always_2d=True)):
        yield samples


def stops_early(file: Any, count: int) -> bool:
    """Whether an open sound file, of which ``count`` samples a channel could be decoded, lacks its
    end, as one that was not wholly copied does; by what its header and its pages say."""
    if file.format == "MP3" and not _counts_frames(file.name):
        return False  # its length is guessed from its first frames
    told = file.extra_info.lower()
    if "end-of-stream" in told:  # libsndfile misses the mark on an OGG file's last page
        return True
    for line in CLAIMS.findall(told):
        claimed, there = (int(number) for number in line if number)
        if there < claimed < STREAMED:
            return True
    # An MP3 file's count may be off by what its encoder put before the sound.
    return count + file.samplerate // 10 < file.frames < STREAMED


def _counts_frames(path: str) -> bool:
    """Whether an MP3 file says how many frames it has; that stands behind its tags."""
    with open(path, "rb") as file:
        start = file.read(MP3_TAGS)
    return any(mark in start for mark in (b"Xing", b"Info", b"VBRI"))


def count_seconds(cell: str | Path | bytes, root: Path) -> float:
    """How long a sound claims to be, by its header.

    Raises:
        BadCell: as for `open_sound`, but for damage behind the header.
    """
    soundfile = needed("soundfile", "audio")
    data, name = load_bytes(cell, root, KINDS)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            _check(name, file.frames, file.samplerate, file.channels)
            return float(file.frames / file.samplerate)
    except soundfile.SoundFileError as error:
        raise _damaged(name, error) from None


def _mono(file: Any) -> Sound:
    """The channels as one, (N,), see `one_channel`: block by block, as sixteen channels of silence
    are small in a FLAC file and large in memory."""
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


def _damaged(name: str, error: Exception) -> BadCell:
    why = str(error).rpartition(": ")[2].strip(". ")  # what is opened has no name
    return BadCell(
        f"{name} is damaged or no sound ({why[:120]})", expected=KINDS, hint="get it again"
    )


def has_sound_suffix(name: str) -> bool:
    """Whether a name ends as a sound's does."""
    return name.lower().endswith(SUFFIXES)


def has_sound_start(data: bytes) -> bool:
    """Whether bytes begin as a sound file does."""
    wav = data[:4] == b"RIFF" and data[8:12] == b"WAVE"
    # Eleven bits are 1 where an MP3 frame begins; the next tell its version and layer III.
    mp3 = data[:1] == b"\xff" and data[1:2] != b"" and data[1] & 0xE6 == 0xE2
    return wav or mp3 or data.startswith((b"fLaC", b"OggS", b"ID3"))


def is_sound(cell: Any) -> bool:
    """Whether a cell is a path or a file's bytes that can only be a sound's."""
    if isinstance(cell, bytes):
        return has_sound_start(cell)
    return isinstance(cell, str) and has_sound_suffix(cell)


def check_channels(name: str, rate: int, channels: int) -> None:
    """Raises BadCell where there are too many channels, or a rate that no sound has."""
    if not MIN_RATE <= rate <= MAX_RATE:
        raise BadCell(
            f"{name} has {rate:,} samples a second", expected=f"{MIN_RATE:,} to {MAX_RATE:,}"
        )
    if channels > MAX_CHANNELS:
        raise BadCell(f"{name} has {channels} channels", expected=f"{MAX_CHANNELS} at the most")


def _check(name: str, frames: int, rate: int, channels: int) -> None:
    check_channels(name, rate, channels)
    if frames / rate > MAX_SECONDS:
        raise BadCell(
            f"{name} is {frames / rate:,.0f} seconds long",
            expected=f"{MAX_SECONDS:,.0f} at the most",
            hint="cut it into pieces",
        )
