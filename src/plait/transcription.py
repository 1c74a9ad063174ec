"""Recordings of any length to text with times: cut at their pauses, piece by piece transcribed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from plait.cells import BadCells, check_policy, in_chunks
from plait.console import show_bad
from plait.data.speech import pieces
from plait.files import make_folder, write_atomically
from plait.model import Model
from plait.transcribers import PackageTranscriber, Segment, Transcriber, open_transcriber
from plait.types import BadCell, UsageError

TOGETHER = 16  # pieces that are transcribed at a time


def transcribe(model: Model | Transcriber, path: str | Path, **options: Any) -> Iterator[Segment]:
    """What is said in a recording, piece by piece, as soon as it is known.

    Args:
        model: one that makes text of a sound alone, or what `open_transcriber` gives.
        path: a recording of any length.
        options: of the decoding, as ``beam=5``.

    Raises:
        UsageError: it is no such model.
        BadCell: the file can't be read.
    """
    transcriber = PackageTranscriber(model) if isinstance(model, Model) else model
    parts = pieces(Path(path), transcriber.rate, transcriber.longest)
    for chunk in in_chunks(parts, TOGETHER):
        yield from transcriber.write_down(chunk, options)


def clock(seconds: float, comma: str = ".") -> str:
    """``01:02:03.456``."""
    milliseconds = round(seconds * 1000)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{comma}{rest % 1000:03}"


def as_srt(segments: Sequence[Segment]) -> str:
    """SubRip subtitles."""
    blocks = [
        f"{number}\n{clock(s.start, ',')} --> {clock(s.end, ',')}\n{s.text}\n"
        for number, s in enumerate((s for s in segments if s.text), start=1)
    ]
    return "\n".join(blocks)


def as_vtt(segments: Sequence[Segment]) -> str:
    """WebVTT subtitles (W3C)."""
    blocks = [f"{clock(s.start)} --> {clock(s.end)}\n{s.text}\n" for s in segments if s.text]
    return "\n".join(["WEBVTT\n", *blocks])


def as_text(segments: Sequence[Segment]) -> str:
    """A line a segment."""
    return "".join(f"{segment.text}\n" for segment in segments if segment.text)


def as_json(segments: Sequence[Segment]) -> str:
    """All that is known."""
    return json.dumps([asdict(segment) for segment in segments], ensure_ascii=False) + "\n"


FORMATS: dict[str, Callable[[Sequence[Segment]], str]] = {
    "txt": as_text, "json": as_json, "srt": as_srt, "vtt": as_vtt
}  # fmt: skip


def transcribe_files(
    files: Sequence[Path],
    model_name: str,
    kind: str,
    out: Path | None,
    on_bad: str,
    options: Mapping[str, Any],
) -> None:
    """Transcribe recordings; print, or write a file for each to a folder.

    Printed as text, every segment is shown with its times as soon as it is known.
    """
    if kind not in FORMATS:
        raise UsageError(f"there is no format {kind!r}", expected=f"one of: {', '.join(FORMATS)}")
    bad, model = BadCells(check_policy(on_bad), in_table=False), open_transcriber(model_name)
    model.check(options)  # before any file is read
    for number, path in enumerate(files):
        said = transcribe(model, path, **options)
        try:
            if out is None and kind == "txt":
                _show(path, said, len(files) > 1)
            else:
                _write(path, FORMATS[kind](list(said)), out, kind)
        except BadCell as error:
            bad.meet(number + 1, "audio", error)
    show_bad(bad.problems)


def _show(path: Path, segments: Iterable[Segment], named: bool) -> None:
    if named:
        print(f"{path}:")
    for segment in segments:
        print(f"{clock(segment.start)} {segment.text}", flush=True)


def _write(path: Path, text: str, out: Path | None, kind: str) -> None:
    if out is None:
        print(text, end="")
        return
    make_folder(out)
    target = out / f"{path.stem}.{kind}"
    write_atomically(target, lambda part: part.write_text(text, encoding="utf-8"))
    print(f"{path} -> {target}")
