"""Long recordings cut at their pauses into pieces that a model can read.

A recording is read block by block, so that its length does not matter for the memory.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.data.audio import (
    KINDS,
    LOUDEST,
    Sound,
    blocks,
    check_channels,
    one_channel,
    stops_early,
)
from plait.data.cells import in_chunks
from plait.types import BadCell
from plait.util.imports import needed

log = logging.getLogger("plait")

BLOCK = 60.0  # seconds that are looked at together
STEP = 1024  # samples decoded at a time; where a decoder finds damage, they are lost
FRAME = 0.02  # seconds whose loudness is one number
PAUSE = 0.4  # seconds of quiet that part two pieces
MARGIN = 0.15  # seconds of quiet kept round a piece
HEARD = 6000  # frames, the latest, that tell what is quiet and what is loud
SPREAD = 12.0  # decibels between quiet and loud frames; with less there are no pauses
SHARE = 0.35  # of the way from quiet to loud, where speech begins
SILENCE = -65.0  # decibels below full scale; what is softer is silence anywhere
STEADY = 3.0  # decibels; what varies less is hiss or hum, while speech has syllables
HISS, ABOVE = -35.0, 3.0  # what is soft and steady is silence, but for what stands out of it
CERTAIN = 50  # frames, of which it can be told


@dataclass(frozen=True)
class Piece:
    """A part of a recording: where it begins, in seconds, and its samples."""

    start: float
    samples: Sound


def pieces(path: Path, rate: int, longest: float) -> Iterator[Piece]:
    """The parts of a recording in which there is sound, each of ``longest`` seconds at the most,
    at ``rate`` samples a second, all channels as one, about a mean of 0.

    Of a file that ends too early they are what there is of it; the log "plait" says so.

    Raises:
        BadCell: it is missing, damaged from its start or no sound.
    """
    rest, start = np.zeros(0, np.float32), 0
    size = max(1, round(FRAME * rate))
    heard = np.zeros(0)
    with _opened(path) as file:
        for block, last in _blocks(file, path.name, rate):
            rest = np.concatenate([rest, block])
            heard = np.concatenate([heard, _decibels(block, size)])[-HEARD:]
            found = _parts(rest, size, longest, _threshold(heard))
            done = len(rest)
            if not last and found and found[-1].stop > len(rest) - PAUSE * rate:
                done = found[-1].start  # it may go on in the next block
            for part in found:
                if part.stop <= done:
                    yield Piece((start + part.start) / rate, rest[part])
            rest, start = rest[done:], start + done


def check_recording(path: Path) -> None:
    """Raises BadCell where there is no such file; it isn't opened."""
    if str(path) == "-":
        raise BadCell("a recording can't be read from a pipe", expected="a path: " + KINDS)
    if path.is_dir():
        raise BadCell(f"{path} is a folder", expected=KINDS)
    if not path.is_file():
        raise BadCell(f"there is no file {path}", expected=KINDS, hint="check the path")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    soundfile = needed("soundfile", "audio")
    check_recording(path)
    try:
        with soundfile.SoundFile(path) as file:
            check_channels(path.name, file.samplerate, file.channels)
            yield file
    except soundfile.SoundFileError as error:
        why = str(error).rpartition(": ")[2].strip(". ")
        raise BadCell(f"{path.name} is damaged or no sound ({why[:120]})", expected=KINDS) from None


def _blocks(file: Any, name: str, rate: int) -> Iterator[tuple[Sound, bool]]:
    """Resampled blocks, and whether each is the last."""
    stream = needed("soxr", "audio").ResampleStream(file.samplerate, rate, 1, dtype="float32")
    count, offset = 0, None
    steps = max(1, round(BLOCK * file.samplerate / STEP))
    broken: list[str] = []
    for parts in in_chunks(_decoded(file, broken), steps):
        mono = one_channel(np.concatenate(parts))
        if not (np.abs(mono) <= LOUDEST).all():
            raise BadCell(f"{name} has samples that are no numbers or far too large")
        # A constant is no sound, but resampling would make a click of where it begins and ends.
        offset = mono.mean() if offset is None else offset
        yield stream.resample_chunk(mono - offset), False
        count += len(mono)
    if broken or stops_early(file, count):
        seconds = count / file.samplerate
        log.warning("%s stops early, after %.1f seconds: it was cut or is damaged", name, seconds)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True), True


def _decoded(file: Any, broken: list[str]) -> Iterator[Sound]:
    """What can be decoded, (N, C) each; why no more can is added to ``broken``. Raises
    SoundFileError where nothing can."""
    some = False
    try:
        for samples in blocks(file, STEP):
            yield samples
            some = True
    except needed("soundfile", "audio").SoundFileError as error:
        if not some:
            raise
        broken.append(str(error))


def _parts(sound: Sound, size: int, longest: float, threshold: float) -> list[slice]:
    """Where there is sound, in samples; a frame has ``size`` of them."""
    loudness = _decibels(sound, size)
    found: list[slice] = []
    for first, last in _runs(loudness > threshold, round(PAUSE / FRAME)):
        margin = round(MARGIN / FRAME)
        begin, end = max(0, first - margin), min(len(loudness), last + margin)
        found += [
            slice(a * size, min(b * size, len(sound)))
            for a, b in _no_longer(loudness, begin, end, max(1, int(longest / FRAME)))
        ]
    return found


def _decibels(sound: Sound, size: int) -> NDArray[np.float64]:
    """The power of each frame, about its mean, in decibels below full scale."""
    if not len(sound):
        return np.zeros(0)
    starts, samples = np.arange(0, len(sound), size), sound.astype(np.float64)
    counts = np.minimum(size, len(sound) - starts)
    squares, sums = np.add.reduceat(samples**2, starts), np.add.reduceat(samples, starts)
    return 10 * np.log10(np.maximum(squares - sums**2 / counts, 0) / size + 1e-12)


def _threshold(loudness: NDArray[np.float64]) -> float:
    """Above it there is sound: part of the way from the quiet frames to the loud ones, where they
    differ; what little stands out of a soft hiss; else all but silence."""
    if not len(loudness):
        return SILENCE
    quiet, loud = np.percentile(loudness, [10, 95])
    if loud - quiet > SPREAD:
        return max(SILENCE, quiet + SHARE * (loud - quiet))
    hiss = loud - quiet < STEADY and loud < HISS and len(loudness) >= CERTAIN
    return max(SILENCE, quiet + ABOVE) if hiss else SILENCE


def _runs(there: NDArray[np.bool_], apart: int) -> Iterator[tuple[int, int]]:
    """First and behind the last frame of each run; runs that are not ``apart`` are one."""
    places = np.flatnonzero(there)
    if len(places):
        breaks = np.flatnonzero(np.diff(places) > apart)
        firsts = places[np.concatenate([[0], breaks + 1])]
        lasts = places[np.concatenate([breaks, [len(places) - 1]])] + 1
        yield from zip(firsts.tolist(), lasts.tolist(), strict=True)


def _no_longer(
    loudness: NDArray[np.float64], begin: int, end: int, most: int
) -> Iterator[tuple[int, int]]:
    """The run, cut at the quietest places in the later half of what may be in one piece."""
    while end - begin > most:
        middle = begin + most // 2
        cut = middle + int(loudness[middle : begin + most].argmin())
        cut = max(cut, begin + 1)
        yield begin, cut
        begin = cut
    yield begin, end
