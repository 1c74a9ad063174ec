"""Recordings of any length to text with times: cut at their pauses, piece by piece transcribed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from plait.data.cells import ErrorPolicy, check_policy, in_chunks
from plait.data.speech import Piece, check_recording, pieces
from plait.model import Model
from plait.render.console import errors, show_bad
from plait.tasks.transcribers import (
    SURE,
    PackageTranscriber,
    Segment,
    Transcriber,
    open_transcriber,
)
from plait.types import BadCell, PlaitError, UsageError
from plait.util.files import make_folder, write_atomically

SUBTITLES = ("srt", "vtt")
TOGETHER = 16  # pieces that are transcribed at a time
UNSURE = "  (unsure)"


def transcribe(
    model: Model | Transcriber, path: str | Path, *, sure: float = SURE, **options: Any
) -> Iterator[Segment]:
    """What is said in a recording, piece by piece, as soon as it is known.

    Of a file that stops early it is what there is; the log "plait" says so.

    Args:
        model: one that makes text of a sound alone, or what `open_transcriber` gives.
        path: a recording of any length.
        sure: the least score, in nats a unit, of what the model is `Segment.sure` of.
        options: of the decoding, as ``beam=5``.

    Raises:
        UsageError: it is no such model, has no such option or ``path`` is none.
        BadCell: the file can't be read. One that is missing is met at once, damage by iterating.
    """
    if not isinstance(path, (str, Path)):
        raise UsageError(f"the recording is {path!r:.60}", expected="a path; one at a time")
    check_recording(Path(path))
    transcriber = PackageTranscriber(model) if isinstance(model, Model) else model
    if not callable(getattr(transcriber, "write_down", None)):
        raise UsageError(
            f"the model is {model!r:.60}", expected="what plait.load or open_transcriber gives"
        )
    transcriber.check(options)
    parts = pieces(Path(path), transcriber.rate, transcriber.longest)
    return _written_down(transcriber, parts, sure, options)


def _written_down(
    transcriber: Transcriber, parts: Iterator[Piece], sure: float, options: Mapping[str, Any]
) -> Iterator[Segment]:
    for chunk in in_chunks(parts, TOGETHER):
        for segment in transcriber.write_down(chunk, options):
            yield replace(segment, sure=segment.sure and segment.score >= sure)


def clock(seconds: float, comma: str = ".") -> str:
    """``01:02:03.456``."""
    milliseconds = round(seconds * 1000)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{comma}{rest % 1000:03}"


@dataclass(frozen=True)
class Transcript:
    """A whole recording's."""

    file: str
    segments: Sequence[Segment]

    @property
    def said(self) -> list[Segment]:
        """The segments in which the model understood anything."""
        return [segment for segment in self.segments if segment.text]


def as_srt(transcript: Transcript) -> str:
    """SubRip subtitles."""
    blocks = [
        f"{number}\n{clock(s.start, ',')} --> {clock(s.end, ',')}\n{s.text}\n"
        for number, s in enumerate(transcript.said, start=1)
    ]
    return "\n".join(blocks)


def as_vtt(transcript: Transcript) -> str:
    """WebVTT subtitles (W3C)."""
    blocks = [f"{clock(s.start)} --> {clock(s.end)}\n{s.text}\n" for s in transcript.said]
    return "\n".join(["WEBVTT\n", *blocks])


def as_text(transcript: Transcript) -> str:
    """A line a segment."""
    return "".join(f"{segment.text}\n" for segment in transcript.said)


def as_json(transcript: Transcript) -> str:
    """All that is known, on a line: ``file``, and ``segments`` with their ``words``."""
    return json.dumps(asdict(transcript), ensure_ascii=False) + "\n"


FORMATS: dict[str, Callable[[Transcript], str]] = {
    "txt": as_text, "json": as_json, "srt": as_srt, "vtt": as_vtt
}  # fmt: skip


def transcribe_files(
    files: Sequence[Path],
    model_name: str,
    kind: str,
    out: Path | None,
    on_bad: str,
    sure: float,
    options: Mapping[str, Any],
) -> None:
    """Transcribe recordings; print, or write a file for each to a folder.

    Printed as text, every segment is shown with its times as soon as it is known, and with a mark
    where its score is less than ``sure``.

    Raises:
        UsageError: there is no such format or file, or the texts would stand in each other's place.
        PlaitError: no recording at all could be read.
    """
    if kind not in FORMATS:
        raise UsageError(f"there is no format {kind!r}", expected=f"one of: {', '.join(FORMATS)}")
    targets = _targets(files, kind, out)
    _check_all(files)
    bad, model = ErrorPolicy(check_policy(on_bad), in_table=False), open_transcriber(model_name)
    model.check(options)  # before any file is read
    for number, (path, target) in enumerate(zip(files, targets, strict=True)):
        try:
            said = transcribe(model, path, sure=sure, **options)
            if target is None and kind == "txt":
                _show(path, said, len(files) > 1)
            else:
                _write(path, FORMATS[kind](Transcript(str(path), list(said))), target)
        except BadCell as error:
            bad.handle(number + 1, "audio", error)
    show_bad(bad.failures)
    if len(bad.failures) == len(files):
        raise PlaitError("no recording could be read")


def _check_all(files: Sequence[Path]) -> None:
    """Names that are wrong are no bad recordings, which might be skipped."""
    for path in files:
        try:
            check_recording(path)
        except BadCell as error:
            raise UsageError(error.what, expected=error.expected, hint=error.hint) from None


def _targets(files: Sequence[Path], kind: str, out: Path | None) -> list[Path | None]:
    """Where each text goes; None is the terminal."""
    if out is None:
        if len(files) > 1 and kind in SUBTITLES:
            raise UsageError(
                f"subtitles of {len(files)} recordings can't stand in one file",
                hint="name a folder for them with --out",
            )
        return [None] * len(files)
    taken: dict[Path, Path] = {}
    for path in files:
        target = out / f"{path.stem}.{kind}"
        if target in taken:
            raise UsageError(
                f"{taken[target]} and {path} would both be written to {target}",
                hint="transcribe one of them with another --out",
            )
        taken[target] = path
    return list(taken)


def _show(path: Path, segments: Iterator[Segment], named: bool) -> None:
    first = list(islice(segments, 1))  # what can't be read has no heading
    if named:
        print(f"{path}:")
    if not first:
        errors.print(f"nothing is said in {path}", soft_wrap=True)
    for segment in chain(first, segments):
        print(f"{clock(segment.start)} {segment.text}{'' if segment.sure else UNSURE}", flush=True)


def _write(path: Path, text: str, target: Path | None) -> None:
    if target is None:
        print(text, end="")
        return
    make_folder(target.parent)
    write_atomically(target, lambda part: part.write_text(text, encoding="utf-8"))
    print(f"{path} -> {target}")
