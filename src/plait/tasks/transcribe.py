"""Transcribes recordings of any length: cut at their pauses, piece by piece, with times."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from plait.data.cells import ErrorPolicy, check_policy, in_chunks
from plait.data.speech import check_recording, pieces
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
from plait.util.files import write_atomically

FORMATS, SUBTITLES = ("txt", "json", "srt", "vtt"), ("srt", "vtt")
TOGETHER = 16  # pieces per batch
UNSURE = "  (unsure)"


def transcribe(
    model: Model | Transcriber, path: str | Path, *, sure: float = SURE, **options: Any
) -> Iterator[Segment]:
    """Transcribe a recording, segment by segment.

    A truncated file gives what it has, and a warning on the logger "plait".

    Args:
        model: a model from audio to text, or the result of `open_transcriber`.
        path: a recording of any length.
        sure: segments with a lower score, in nats per unit, are not `Segment.sure`.
        options: decoding options, such as ``beam=5``.

    Returns:
        An iterator over the segments, each available as soon as it is transcribed.

    Raises:
        UsageError: the model doesn't transcribe, an option is unknown, or ``path`` is not a path.
        BadCell: the file can't be read. A missing file is reported at once, damage on iteration.

    Example:
        >>> for segment in plait.transcribe(plait.load("my-speech"), "talk.wav"):
        ...     print(segment.start, segment.text)
    """
    if not isinstance(path, (str, Path)):
        raise UsageError(f"the recording is {path!r:.60}", expected="a single path")
    check_recording(Path(path))
    transcriber = PackageTranscriber(model) if isinstance(model, Model) else model
    if not isinstance(transcriber, Transcriber):
        raise UsageError(
            f"the model is {model!r:.60}",
            expected="the result of plait.load or open_transcriber",
        )
    transcriber.check(options)
    parts = pieces(Path(path), transcriber.rate, transcriber.longest)
    return (
        replace(segment, sure=segment.sure and segment.score >= sure)
        for chunk in in_chunks(parts, TOGETHER)
        for segment in transcriber.transcribe(chunk, options)
    )


def clock(seconds: float, comma: str = ".") -> str:
    """``01:02:03.456``."""
    milliseconds = round(seconds * 1000)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{comma}{rest % 1000:03}"


def written(kind: str, file: str, segments: Sequence[Segment]) -> str:
    """A transcript as ``txt`` (a line for each segment), as subtitles in SubRip (``srt``) or WebVTT
    (``vtt``, W3C), or as ``json``: everything on one line."""
    if kind == "json":
        whole = {"file": file, "segments": [asdict(segment) for segment in segments]}
        return json.dumps(whole, ensure_ascii=False) + "\n"
    said = [segment for segment in segments if segment.text]
    if kind == "txt":
        return "".join(f"{segment.text}\n" for segment in said)
    comma = "," if kind == "srt" else "."
    blocks = [f"{clock(s.start, comma)} --> {clock(s.end, comma)}\n{s.text}\n" for s in said]
    if kind == "vtt":
        return "\n".join(["WEBVTT\n", *blocks])
    return "\n".join(f"{number}\n{block}" for number, block in enumerate(blocks, start=1))


def transcribe_files(
    files: Sequence[Path],
    model_name: str,
    kind: str,
    out: Path | None,
    on_bad: str,
    sure: float,
    options: Mapping[str, Any],
    engine: str = "torch",
) -> None:
    """Transcribe recordings, and print the transcripts or write one file for each to a folder.

    Plain text is printed as soon as a segment is transcribed, with its start time, and with a mark
    if its score is below ``sure``.

    Raises:
        UsageError: the format is unknown, a file is missing, or two transcripts would be written
            to the same file.
        PlaitError: no recording could be read.
    """
    if kind not in FORMATS:
        raise UsageError(f"there is no format {kind!r}", expected=f"one of: {', '.join(FORMATS)}")
    targets = _targets(files, kind, out)
    for path in files:
        try:
            check_recording(path)
        except BadCell as error:  # a wrong name is not a bad recording, which might be skipped
            raise UsageError(error.what, expected=error.expected, hint=error.hint) from None
    bad = ErrorPolicy(check_policy(on_bad), in_table=False)
    model = open_transcriber(model_name, engine)
    model.check(options)  # before reading any file
    for number, (path, target) in enumerate(zip(files, targets, strict=True)):
        try:
            segments = transcribe(model, path, sure=sure, **options)
            if target is None and kind == "txt":
                first = list(islice(segments, 1))  # an unreadable file gets no heading
                if len(files) > 1:
                    print(f"{path}:")
                if not first:
                    errors.print(f"{path} contains no speech", soft_wrap=True)
                for one in chain(first, segments):
                    mark = "" if one.sure else UNSURE
                    print(f"{clock(one.start)} {one.text}{mark}", flush=True)
                continue
            text = written(kind, str(path), list(segments))
            if target is None:
                print(text, end="")
            else:
                write_atomically(target, text)
                print(f"{path} -> {target}")
        except BadCell as error:
            bad.handle(number + 1, "audio", error)
    show_bad(bad.failures)
    if len(bad.failures) == len(files):
        raise PlaitError("no recording could be read")


def _targets(files: Sequence[Path], kind: str, out: Path | None) -> list[Path | None]:
    """The file for each transcript; None is standard output."""
    if out is None:
        if len(files) > 1 and kind in SUBTITLES:
            raise UsageError(
                f"the subtitles of {len(files)} recordings don't fit in one file",
                hint="name a folder for them with --out",
            )
        return [None] * len(files)
    taken: dict[Path, Path] = {}
    for path in files:
        target = out / f"{path.stem}.{kind}"
        if target in taken:
            raise UsageError(
                f"{taken[target]} and {path} would both be written to {target}",
                hint="transcribe them separately, with different --out",
            )
        taken[target] = path
    return list(taken)
