"""Files with sound, opened: what their headers claim, and their samples block by block.

WAV, FLAC, OGG, MP3 and the like are decoded by soundfile. What it doesn't know (M4A, AAC, AMR, WMA,
the sound track of a video) is decoded by PyAV, which the extra ``video`` brings.
"""

from __future__ import annotations

import io
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plait.data.cells import FileKind, library_for
from plait.types import BadCell
from plait.util.imports import needed

SOUND = FileKind(
    (".wav", ".flac", ".ogg", ".oga", ".opus", ".spx", ".mp3", ".mp2", ".aiff", ".aif", ".au",
     ".m4a", ".m4b", ".aac", ".amr", ".wma", ".weba", ".mka", ".caf", ".ac3", ".ape", ".wv"),
    # An MP3 frame is eleven 1 bits, the version and layer III; AAC's begin nearly alike.
    re.compile(
        rb"(?s)RIFF....WAVE|FORM....AIF|fLaC|OggS|ID3|\xff[\xe2\xe3\xea\xeb\xf2\xf3\xfa\xfb]"
        rb"|\xff[\xf0\xf1\xf8\xf9]|....ftyp(?:M4[ABP] |F4[AB] )|\.snd|caff|#!AMR|wvpk|MAC "
    ),
)  # fmt: skip
KINDS = "a WAV, FLAC, OGG, MP3, M4A or AAC file, or a video with sound"
MAX_CHANNELS = 16
MIN_RATE, MAX_RATE = 1000, 400_000  # samples a second
CANCELLED = 0.01  # of the loudest channel's power; if the mean has less, channels cancel out

MP3_TAGS = 1 << 20  # bytes at the start of a file that hold its tags and first frame
# How libsndfile reports a header that claims more than the file holds: WAV and AU, then AIFF.
CLAIMS = re.compile(
    r"^ *data(?: size)? *: *(\d+) \(should be (\d+)\)"
    r"|frame count read from 'comm' chunk \((\d+)\) not equal to frame count\s+\*+\s+"
    r"calculated from length of 'ssnd' chunk \((\d+)\)",
    re.MULTILINE,
)
UNKNOWN = 1 << 48  # samples: libsndfile's word for a count that the header leaves open
LONGEST = 3600.0  # seconds that are counted
BLOCK = 1 << 16  # samples
STREAMED = 0x7FFF0000  # a header with this size or more was written before the length was known
OGG, OGG_FIRST, OGG_LAST = b"OggS", 2, 4  # a page's mark, and the flags of a stream's two ends

# FFmpeg's names. Formats that may refer to more files are not among them.
CONTAINERS = (
    "mov,matroska,avi,mpeg,mpegts,asf,flv,aac,loas,amr,ac3,eac3,caf,wav,w64,aiff,au,ogg,flac,mp3,"
    "ape,wv,tta"
)
COUNTED = {"mov", "matroska", "avi", "asf", "flv", "caf", "wav", "aiff", "ape", "wv", "tta"}
"""Those that know their duration; that of the others is a guess by their size."""
CONTAINER = re.compile(
    rb"(?s)....(?:ftyp|moov|mdat)|RIFF....AVI |\x1a\x45\xdf\xa3|0&\xb2u\x8ef\xcf\x11|FLV\x01"
    rb"|\0\0\x01\xba|G.{187}G|\xff[\xf0\xf1\xf8\xf9\xfc\xfd]|#!AMR|MAC |wvpk|TTA1|\x0bw"
)
"""The start of MP4 and MOV, AVI, Matroska and WebM, ASF (WMA, WMV), FLV, MPEG, MPEG's transport
streams, AAC and MP2, AMR, APE, WavPack, TTA and AC-3, none of which soundfile reads."""
MARK = b"\xff"  # of every packet of MP3 and AAC
WHOLE = 0.95  # share of the duration that must be there

Sound = NDArray[np.float32]


class Recording(ABC):
    """An open file with sound.

    Attributes:
        rate: samples a second.
        channels: at least 1.
        seconds: the duration that the header claims; that of all packets if it claims none.
    """

    rate: int
    channels: int
    seconds: float

    @abstractmethod
    def blocks(self, size: int) -> Iterator[Sound]:
        """All samples from the start, (N, C) each, about ``size`` at a time.

        Raises:
            BadCell: the rest can't be decoded.
        """

    @abstractmethod
    def stops_early(self, count: int) -> bool:
        """Whether samples are missing at the end, as far as the file itself tells; ``count`` is how
        many `blocks` gave."""

    def close(self) -> None:  # noqa: B027
        """Let go of the file."""


@contextmanager
def open_recording(source: Path | io.BytesIO, name: str) -> Iterator[Recording]:
    """Open a file with sound; ``name`` is for messages.

    Raises:
        BadCell: it is damaged or has no sound, has too many channels or an implausible sample
            rate, or the library for its format is not installed.
    """
    try:
        opened = source.open("rb") if isinstance(source, Path) else source
    except OSError as error:
        raise BadCell(f"{name} can't be read ({error.strerror})", expected=KINDS) from None
    with opened as file, closing(_open(file, name)) as recording:
        if not MIN_RATE <= recording.rate <= MAX_RATE:
            raise BadCell(
                f"{name} has {recording.rate:,} samples per second",
                expected=f"{MIN_RATE:,} to {MAX_RATE:,}",
            )
        if recording.channels > MAX_CHANNELS:
            raise BadCell(
                f"{name} has {recording.channels} channels", expected=f"at most {MAX_CHANNELS}"
            )
        yield recording


def _open(file: BinaryIO, name: str) -> Recording:
    start = file.read(256)
    pages = _ogg_pages(file) if start.startswith(OGG) else None
    if CONTAINER.match(start):
        return _Container(file, name, pages)
    try:
        return _SoundFile(file, name, pages)
    except BadCell:
        if not SOUND.is_certain(start):
            raise
        try:  # one of its formats, with contents that it doesn't know
            return _Container(file, name, pages)
        except BadCell:
            pass
        raise


# By soundfile ---------------------------------------------------------------------------------


class _SoundFile(Recording):
    """WAV, FLAC, OGG, MP3, AIFF, AU, CAF and others that libsndfile knows."""

    def __init__(self, file: BinaryIO, name: str, pages: _Pages | None) -> None:
        self._library = needed("soundfile", "audio")
        self._bytes, self.name, self._pages = file, name, pages
        self._links = [] if pages is None else pages.links
        self._begun = False
        with self._errors():
            self._file = self._library.SoundFile(self._link(0))
            self.rate, self.channels = self._file.samplerate, self._file.channels
            self.seconds = self._file.frames / self.rate
            for link in self._further():
                self.seconds += link.frames / link.samplerate
        if self._file.frames > UNKNOWN:
            self.seconds = self._counted()

    def blocks(self, size: int) -> Iterator[Sound]:
        with self._errors():
            if self._begun:
                self._file.seek(0)
            self._begun = True
            yield from self._read(self._file, size)
            for link in self._further():
                parts = ((link.samplerate, block) for block in self._read(link, size))
                yield from _alike(parts, self.rate, self.channels)

    def stops_early(self, count: int) -> bool:
        if self._pages is not None:
            return not self._pages.whole
        if self._file.format == "MP3" and not self._counts_frames():
            return False  # its length is a guess from its first frames
        for line in CLAIMS.findall(self._file.extra_info.lower()):
            claimed, there = (int(number) for number in line if number)
            if there < claimed < STREAMED:
                return True
        # An MP3 file's count may be off by what its encoder put before the audio.
        return count + self.rate // 10 < self._file.frames < STREAMED

    def close(self) -> None:
        self._file.close()

    def _counted(self) -> float:
        """The duration of a file whose header leaves it open, decoded up to `LONGEST`."""
        seconds = 0.0
        for block in self.blocks(BLOCK):
            seconds += len(block) / self.rate
            if seconds > LONGEST:
                break
        return seconds

    def _counts_frames(self) -> bool:
        """Whether an MP3 file says, after its tags, how many frames it has."""
        self._bytes.seek(0)
        start = self._bytes.read(MP3_TAGS)
        return any(mark in start for mark in (b"Xing", b"Info", b"VBRI"))

    def _read(self, file: Any, size: int) -> Iterator[Sound]:
        # soundfile would seek after each block to where it already is, and mpg123 warns of that.
        file.seekable = lambda: False
        # What follows the samples of a FLAC file, such as a tag, is not decoded.
        left = file.frames if file.format == "FLAC" else UNKNOWN
        while len(samples := file.read(min(size, left), dtype="float32", always_2d=True)):
            left -= len(samples)
            yield samples

    def _link(self, number: int) -> BinaryIO:
        """The bytes of one recording of a chain, without what follows the last; the file itself
        if it has no more."""
        size = self._bytes.seek(0, io.SEEK_END)
        begin, end = self._links[number] if self._links else (0, size)
        self._bytes.seek(begin)
        if (begin, end) == (0, size):
            return self._bytes
        return io.BytesIO(self._bytes.read(end - begin))

    def _further(self) -> Iterator[Any]:
        """The recordings of a chain behind the first, opened."""
        for number in range(1, len(self._links)):
            with self._library.SoundFile(self._link(number)) as link:
                yield link

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except self._library.SoundFileError as error:
            why = str(error).rpartition(": ")[2].strip(". ")  # soundfile's own name comes first
            raise _damaged(self.name, why) from None


def _damaged(name: str, why: str) -> BadCell:
    return BadCell(
        f"{name} is damaged or not audio ({why[:120]})", expected=KINDS, hint="get the file again"
    )


class _Pages(NamedTuple):
    """The first and last byte of each recording in an OGG file, and whether its last page is
    there."""

    links: list[tuple[int, int]]
    whole: bool


def _ogg_pages(file: BinaryIO) -> _Pages:
    """Walk the pages of an OGG file by their headers; what follows the last one doesn't count."""
    size, at, flags, starts = file.seek(0, io.SEEK_END), 0, 0, list[int]()
    while True:
        file.seek(at)
        header = file.read(27)
        if len(header) < 27 or not header.startswith(OGG):
            whole = at <= size and bool(flags & OGG_LAST) and not header.startswith(OGG)
            return _Pages(list(pairwise([*starts, at])), whole)
        if header[5] & OGG_FIRST and not flags & OGG_FIRST:  # a track or, side by side, several
            starts.append(at)
        flags = header[5]
        at += 27 + header[26] + sum(file.read(header[26]))


def _alike(parts: Iterable[tuple[int, Sound]], rate: int, channels: int) -> Iterator[Sound]:
    """Blocks of samples, each with its rate, at one rate and with one number of channels."""
    stream: Any = None
    before = 0
    for own, samples in parts:
        if samples.shape[1] != channels:
            samples = np.repeat(one_channel(samples)[:, None], channels, axis=1)
        if own == rate:
            yield samples
            continue
        if own != before:
            stream, before = _resampler(own, rate, channels), own
        yield stream.resample_chunk(samples)
    if stream is not None:
        yield stream.resample_chunk(np.zeros((0, channels), np.float32), last=True)


def _resampler(own: int, rate: int, channels: int) -> Any:
    return needed("soxr", "audio").ResampleStream(own, rate, channels, dtype="float32")


def one_channel(samples: Sound) -> Sound:
    """(N, C) -> (N,): the mean of the channels, or the loudest one if they cancel out (as with a
    microphone wired the wrong way round)."""
    mono: Sound = samples.mean(axis=1)
    each = powers(samples)
    return samples[:, int(each.argmax())] if cancel(mono, each) else mono


def powers(samples: Sound) -> NDArray[np.float64]:
    """(N, C) -> (C,): the power of each channel."""
    return np.einsum("nc,nc->c", samples, samples, dtype=np.float64)


def cancel(mono: Sound, each: NDArray[np.float64]) -> bool:
    """Whether the mean keeps little of the power of the channels."""
    return len(each) > 1 and float(powers(mono[:, None])[0]) < CANCELLED * each.max()


# By PyAV --------------------------------------------------------------------------------------


class _Container(Recording):
    """The sound of a file that FFmpeg reads: of the first track, if there are several."""

    def __init__(self, file: BinaryIO, name: str, pages: _Pages | None) -> None:
        what = f"{name} is not WAV, FLAC, OGG or MP3"
        self._av, self._file, self.name = library_for(what, "av", "video"), file, name
        self._cut = _is_cut(file) if pages is None else not pages.whole
        with self._opened() as (container, track):
            frame = next(container.decode(track), None)  # the header may not know the rate
            if frame is None:
                raise BadCell(f"{name} has no samples", expected=KINDS, hint="record it again")
            self.rate, self.channels = frame.sample_rate, len(frame.layout.channels)
            self._claimed = _claimed(container)
        self.seconds = self._claimed or self._walked()

    def blocks(self, size: int) -> Iterator[Sound]:
        yield from _alike(self._gathered(size), self.rate, self.channels)

    def stops_early(self, count: int) -> bool:
        return self._cut or self._walked() < WHOLE * self._claimed

    def _gathered(self, size: int) -> Iterator[tuple[int, Sound]]:
        """Samples, and their rate."""
        waiting: list[Sound] = []
        before = self.rate, self.channels
        for frame in self._frames():
            kind = frame.sample_rate, len(frame.layout.channels)
            if waiting and (kind != before or sum(map(len, waiting)) >= size):
                yield before[0], np.concatenate(waiting)
                waiting = []
            waiting.append(_samples(frame))
            before = kind
        if waiting:
            yield before[0], np.concatenate(waiting)

    def _frames(self) -> Iterator[Any]:
        """The decoded frames. An error behind the last good one means that the rest is missing.

        Raises:
            BadCell: there is an error between good frames.
        """
        broken = None
        with self._opened() as (container, track):
            for packet in self._packets(container, track):
                try:
                    frames = packet.decode()
                except self._av.FFmpegError as error:
                    broken = broken or error
                    continue
                if frames and broken:
                    raise broken
                yield from frames
        self._cut = self._cut or broken is not None

    def _packets(self, container: Any, track: Any) -> Iterator[Any]:
        """All packets up to where the container is cut, without the tags at the end of an MP3 or
        AAC file, whose every packet begins with the same mark."""
        marked = None
        try:
            for packet in container.demux(track):
                mark = bytes(packet)[:1] == MARK
                marked = mark if marked is None else marked
                if mark or not marked or not packet.size:
                    yield packet
        except self._av.FFmpegError:
            self._cut = True

    def _walked(self) -> float:
        """The time between the first and the last packet, in seconds; nothing is decoded."""
        begin, end = float("inf"), float("-inf")
        with self._opened() as (container, _), suppress(self._av.FFmpegError):
            for packet in container.demux():
                tick = packet.dts if packet.pts is None else packet.pts
                if packet.size and tick is not None:
                    begin = min(begin, float(tick * packet.time_base))
                    end = max(end, float((tick + (packet.duration or 0)) * packet.time_base))
        return max(0.0, end - begin)

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        self._file.seek(0)
        limits = {"format_whitelist": CONTAINERS}
        try:
            with self._av.open(self._file, options=limits) as container:
                yield container, self._track(container)
        except (self._av.FFmpegError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error).split("\n", 1)[0]
            raise _damaged(self.name, why) from None

    def _track(self, container: Any) -> Any:
        track = next(iter(container.streams.audio), None)
        if track is None:
            raise BadCell(f"{self.name} has no sound track", expected=KINDS)
        if track.codec_context is None:
            raise BadCell(f"{self.name} has sound that can't be decoded", expected=KINDS)
        track.codec_context.thread_count = 1  # readers are threads already
        return track


def _is_cut(file: BinaryIO) -> bool:
    """Whether an AVI file says that it is longer: FFmpeg makes a new index for what is there."""
    file.seek(0)
    header, size = file.read(12), file.seek(0, io.SEEK_END)
    claimed = int.from_bytes(header[4:8], "little")
    return header.endswith(b"AVI ") and size < claimed + 8 < STREAMED


def _claimed(container: Any) -> float:
    """The duration that the header of a container gives, in seconds; 0 if it gives none."""
    counted = not COUNTED.isdisjoint(container.format.name.split(","))
    return (container.duration or 0) / 1e6 if counted else 0.0


def _samples(frame: Any) -> Sound:
    """(N, C) float32 of a decoded frame, about -1 to 1."""
    values = frame.to_ndarray()
    values = values.T if frame.format.is_planar else values.reshape(frame.samples, -1)
    if values.dtype == np.uint8:
        return ((values.astype(np.float32) - 128) / 128).astype(np.float32)
    scale = 1.0 if values.dtype.kind == "f" else float(np.iinfo(values.dtype).max) + 1
    return (values / scale).astype(np.float32)
