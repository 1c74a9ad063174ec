"""Long recordings cut at their pauses into pieces that a model can read.

A recording is read block by block, so that its length does not matter for the memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plait.data.audio import KINDS, LOUDEST, Sound, check_channels, one_channel
from plait.registry import needed
from plait.types import BadCell

BLOCK = 60.0  # seconds that are looked at together
FRAME = 0.02  # seconds whose loudness is one number
PAUSE = 0.4  # seconds of quiet that part two pieces
MARGIN = 0.15  # seconds of quiet kept round a piece
HEARD = 6000  # frames, the latest, that tell what is quiet and what is loud
SPREAD = 12.0  # decibels between quiet and loud frames; with less there are no pauses
SHARE = 0.35  # of the way from quiet to loud, where speech begins
SILENCE = -65.0  # decibels below full scale; what is softer is silence anywhere


@dataclass(frozen=True)
class Piece:
    """A part of a recording: where it begins, in seconds, and its samples."""

    start: float
    samples: Sound


def pieces(path: Path, rate: int, longest: float) -> Iterator[Piece]:
    """The parts of a recording in which there is sound, each of ``longest`` seconds at the most,
    at ``rate`` samples a second, all channels as one.

    Raises:
        BadCell: it is missing, damaged or no sound. A file that ends too early gives what there is
            of it.
    """
    rest, start = np.zeros(0, np.float32), 0
    size = max(1, round(FRAME * rate))
    heard = np.zeros(0)
    for block, last in _blocks(path, rate):
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


def _blocks(path: Path, rate: int) -> Iterator[tuple[Sound, bool]]:
    """Resampled blocks, and whether each is the last."""
    soundfile, soxr = needed("soundfile", "audio"), needed("soxr", "audio")
    if not path.is_file():
        raise BadCell(f"there is no file {path}", expected=KINDS)
    try:
        with soundfile.SoundFile(path) as file:
            check_channels(path.name, file.samplerate, file.channels)
            stream = soxr.ResampleStream(file.samplerate, rate, 1, dtype="float32")
            size = round(BLOCK * file.samplerate)
            block = file.read(size, dtype="float32", always_2d=True)
            while True:
                following = file.read(size, dtype="float32", always_2d=True)
                last = not len(following)
                mono = one_channel(block)
                if not (np.abs(mono) <= LOUDEST).all():
                    raise BadCell(f"{path.name} has samples that are no numbers or far too large")
                yield stream.resample_chunk(mono, last=last), last
                if last:
                    return
                block = following
    except soundfile.SoundFileError as error:
        why = str(error).rpartition(": ")[2].strip(". ")
        raise BadCell(f"{path.name} is damaged or no sound ({why[:120]})", expected=KINDS) from None


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
    """The power of each frame in decibels below full scale."""
    if not len(sound):
        return np.zeros(0)
    power = np.add.reduceat(sound.astype(np.float64) ** 2, np.arange(0, len(sound), size)) / size
    return 10 * np.log10(power + 1e-12)


def _threshold(loudness: NDArray[np.float64]) -> float:
    """Above it there is sound: part of the way from the quiet frames to the loud ones."""
    if not len(loudness):
        return SILENCE
    quiet, loud = np.percentile(loudness, [10, 95])
    return max(SILENCE, quiet + SHARE * (loud - quiet) if loud - quiet > SPREAD else SILENCE)


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
