"""Safe decoding of audio to one channel, resampled by soxr."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from plait.data.cells import load_bytes
from plait.data.recordings import (
    KINDS,
    Recording,
    Sound,
    cancel,
    open_recording,
    powers,
)
from plait.types import BadCell
from plait.util.imports import needed

MAX_SECONDS = 1800.0
QUIET = 40.0  # decibels below the loudest frame: silence
FRAME = 0.02  # seconds per frame when looking for silence
LOUDEST = 2.0**31  # sample; float files may hold integers that were not scaled
BLOCK = 1 << 16  # samples decoded at a time


def open_sound(cell: str | Path | bytes, root: Path, rate: int) -> Sound:
    """Decode audio to one channel at ``rate`` samples per second: (N,) float32, about -1 to 1.

    Channels are merged, see `one_channel`. The header is read first, so that a small file which
    claims to hold days of audio is refused without decoding it.

    Raises:
        BadCell: the file is missing, empty, damaged, too long or not audio, or has too many
            channels.
    """
    soxr = needed("soxr", "audio")
    with _open(cell, root) as (recording, name):
        own, mono = recording.rate, _mono(recording, name)
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


def count_seconds(cell: str | Path | bytes, root: Path) -> float:
    """The duration that an audio file's header claims.

    Raises:
        BadCell: as for `open_sound`, except for damage after the header.
    """
    with _open(cell, root) as (recording, _):
        return recording.seconds


@contextmanager
def _open(cell: str | Path | bytes, root: Path) -> Iterator[tuple[Recording, str]]:
    """A cell's sound, whose header is fine, and its name for messages."""
    data, name = load_bytes(cell, root, KINDS)
    with open_recording(io.BytesIO(data), name) as recording:
        _check_length(recording.seconds, name)
        yield recording, name


def _check_length(seconds: float, name: str) -> None:
    if seconds > MAX_SECONDS:
        limit = f"at most {MAX_SECONDS:,.0f} seconds"
        what = f"{name} is {seconds:,.0f} seconds long"
        raise BadCell(what, expected=limit, hint="cut it into pieces")


def _mono(recording: Recording, name: str) -> Sound:
    """`one_channel` of a recording, (N,), block by block: sixteen channels of silence are small in
    a FLAC file and large in memory."""
    means, each, count = [np.zeros(0, np.float32)], np.zeros(recording.channels), 0
    for block in recording.blocks(BLOCK):
        means.append(block.mean(axis=1))
        each += powers(block)
        count += len(block)
        _check_length(count / recording.rate, name)  # its header may have claimed less
    mono = np.concatenate(means)
    if not cancel(mono, each):
        return mono
    loudest = int(each.argmax())
    return np.concatenate([block[:, loudest] for block in recording.blocks(BLOCK)])
