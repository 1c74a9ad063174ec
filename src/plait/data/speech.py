"""Cuts long recordings at their pauses into pieces that fit a model.

Recordings are read block by block, so that memory doesn't grow with their length.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plait.data.audio import check_samples
from plait.data.cells import in_chunks
from plait.data.paths import find_file, missing_file
from plait.data.recordings import KINDS, Recording, Sound, one_channel, open_recording
from plait.types import BadCell
from plait.util.files import is_file, is_folder
from plait.util.imports import needed

log = logging.getLogger("plait")

BLOCK = 60.0  # seconds analysed together
STEP = 1024  # samples decoded at a time; damage loses this many
FRAME = 0.02  # seconds per frame, whose loudness is one number
PAUSE = 0.4  # seconds of quiet that separate two pieces
MARGIN = 0.15  # seconds of quiet kept around a piece
HEARD = 6000  # latest frames, which decide what is quiet and what is loud
SPREAD = 12.0  # decibels between quiet and loud frames; if less, there are no pauses
SHARE = 0.35  # of the way from quiet to loud at which speech starts
SILENCE = -65.0  # decibels relative to full scale; always silence below
STEADY = 3.0  # decibels; sound that varies less is hiss or hum, as speech has syllables
HISS, ABOVE = -35.0, 3.0  # soft steady sound is silence, except where it is exceeded
CERTAIN = 50  # frames needed to judge that


@dataclass(frozen=True)
class Piece:
    """A part of a recording: its start in seconds, and its samples."""

    start: float
    samples: Sound


def pieces(path: Path, rate: int, longest: float) -> Iterator[Piece]:
    """The parts of a recording that aren't silent, each at most ``longest`` seconds long.

    They have ``rate`` samples per second, one channel and a mean of 0. A truncated file gives what
    it has, and a warning on the logger "plait".

    Raises:
        BadCell: the file is missing, damaged from the start, or not audio.
    """
    rest, start = np.zeros(0, np.float32), 0
    size = max(1, round(FRAME * rate))
    heard = np.zeros(0)
    path = find_recording(path)
    with open_recording(path, path.name) as recording:
        for block, last in _blocks(recording, path.name, rate):
            rest = np.concatenate([rest, block])
            heard = np.concatenate([heard, _decibels(block, size)])[-HEARD:]
            parts = _parts(rest, size, longest, _threshold(heard))
            done = len(rest)
            if not last and parts and parts[-1].stop > len(rest) - PAUSE * rate:
                done = parts[-1].start  # it may continue in the next block
            for part in parts:
                if part.stop <= done:
                    yield Piece((start + part.start) / rate, rest[part])
            rest, start = rest[done:], start + done


def find_recording(path: str | Path) -> Path:
    """The file that a path means; it isn't opened.

    Raises:
        BadCell: there is none.
    """
    if str(path) == "-":
        raise BadCell("recordings can't be read from a pipe", expected="a path: " + KINDS)
    found = find_file(path, Path())
    if isinstance(found, Path) and is_file(found):
        return found
    if isinstance(found, Path) and is_folder(found):
        raise BadCell(f"{path} is a folder", expected=KINDS)
    hint = missing_file(path, str(path), Path()).hint
    raise BadCell(f"there is no file {path!s:.300}", expected=KINDS, hint=hint)


def count_seconds(path: Path) -> float:
    """The duration that a recording's header claims, however long it is. Raises BadCell if the file
    is damaged from the start, or not audio."""
    with open_recording(path, path.name) as recording:
        return recording.seconds


def _blocks(recording: Recording, name: str, rate: int) -> Iterator[tuple[Sound, bool]]:
    """Resampled blocks, each with whether it is the last."""
    stream = needed("soxr", "audio").ResampleStream(recording.rate, rate, 1, dtype="float32")
    count, offset, broken = 0, None, list[str]()
    steps = max(1, round(BLOCK * recording.rate / STEP))
    for parts in in_chunks(_decoded(recording, broken), steps):
        mono = one_channel(np.concatenate(parts))
        check_samples(mono, name)
        # A constant offset is silent, but resampling would turn its start and end into clicks.
        offset = mono.mean() if offset is None else offset
        yield stream.resample_chunk(mono - offset), False
        count += len(mono)
    if broken or recording.stops_early(count):
        seconds = count / recording.rate
        log.warning("%s stops early, after %.1f seconds: it is truncated or damaged", name, seconds)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True), True


def _decoded(recording: Recording, broken: list[str]) -> Iterator[Sound]:
    """What can be decoded, (N, C) each; the reason for stopping early is added to ``broken``.
    Raises BadCell if nothing can be decoded."""
    started = False
    try:
        for samples in recording.blocks(STEP):
            yield samples
            started = True
    except BadCell as error:
        if not started:
            raise
        broken.append(str(error))


def _parts(sound: Sound, size: int, longest: float, threshold: float) -> list[slice]:
    """The parts that aren't silent, in samples; a frame has ``size`` samples."""
    loudness, margin = _decibels(sound, size), round(MARGIN / FRAME)
    return [
        slice(begin * size, min(end * size, len(sound)))
        for first, last in _runs(loudness > threshold, round(PAUSE / FRAME))
        for begin, end in _cut(
            loudness,
            max(0, first - margin),
            min(len(loudness), last + margin),
            max(1, int(longest / FRAME)),
        )
    ]


def _decibels(sound: Sound, size: int) -> NDArray[np.float64]:
    """The power of each frame around its mean, in decibels relative to full scale."""
    if not len(sound):
        return np.zeros(0)
    starts, samples = np.arange(0, len(sound), size), sound.astype(np.float64)
    counts = np.minimum(size, len(sound) - starts)
    squares, sums = np.add.reduceat(samples**2, starts), np.add.reduceat(samples, starts)
    return 10 * np.log10(np.maximum(squares - sums**2 / counts, 0) / size + 1e-12)


def _threshold(loudness: NDArray[np.float64]) -> float:
    """The loudness above which there is sound: between the quiet and the loud frames if they
    differ, a little above a soft hiss, otherwise just above silence."""
    if not len(loudness):
        return SILENCE
    quiet, loud = np.percentile(loudness, [10, 95])
    if loud - quiet > SPREAD:
        return max(SILENCE, quiet + SHARE * (loud - quiet))
    hiss = loud - quiet < STEADY and loud < HISS and len(loudness) >= CERTAIN
    return max(SILENCE, quiet + ABOVE) if hiss else SILENCE


def _runs(there: NDArray[np.bool_], apart: int) -> Iterator[tuple[int, int]]:
    """The first frame of each run of True and the one after its last; gaps up to ``apart`` frames
    don't end a run."""
    frames = np.flatnonzero(there)
    if len(frames):
        breaks = np.flatnonzero(np.diff(frames) > apart)
        firsts = frames[np.concatenate([[0], breaks + 1])]
        lasts = frames[np.concatenate([breaks, [len(frames) - 1]])] + 1
        yield from zip(firsts.tolist(), lasts.tolist(), strict=True)


def _cut(
    loudness: NDArray[np.float64], begin: int, end: int, most: int
) -> Iterator[tuple[int, int]]:
    """Cut a run into pieces of at most ``most`` frames, at the quietest frame of the second half
    of each."""
    while end - begin > most:
        middle = begin + most // 2
        cut = max(middle + int(loudness[middle : begin + most].argmin()), begin + 1)
        yield begin, cut
        begin = cut
    yield begin, end
