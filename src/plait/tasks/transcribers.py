"""Transcribes recordings of any length: cut at their pauses, piece by piece, with times.

A package's transcriber is here; `speech_models`, which need torch, are imported when one is opened.
"""

from __future__ import annotations

import io
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from plait.data.cells import ErrorPolicy, check_policy, in_chunks
from plait.data.speech import Piece, count_seconds, find_recording, pieces
from plait.modalities.audio.base import Sound
from plait.model import Model
from plait.outputs.text.search import Decoding
from plait.render.console import errors, show_bad
from plait.render.progress import Progress, show_progress
from plait.runtime.engines import load
from plait.types import BadCell, PlaitError, Prediction, UsageError
from plait.util.arguments import checked
from plait.util.files import write_atomically
from plait.util.imports import needed

HUB = "hub:"
SHIPPED = "whisper"
"""The name of the model of the extra ``whisper``."""
SURE = -1.0  # nats per unit; below, Whisper's authors count its text as failed
FORMATS, SUBTITLES = ("txt", "json", "srt", "vtt"), ("srt", "vtt")
TOGETHER = 16  # pieces per batch
UNSURE = "  (unsure)"


@dataclass(frozen=True)
class Word:
    """A word and its times, in seconds of the recording."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Segment:
    """The transcript of a part of a recording between two pauses.

    Attributes:
        start, end: its times, in seconds of the recording.
        text: the transcript.
        score: mean log-probability per unit, in nats; at most 0.
        words: the words with their times, if the model knows them (CTC).
        sure: whether the score is high enough, and the model took the audio for speech (if it
            tells).
    """

    start: float
    end: float
    text: str
    score: float
    words: tuple[Word, ...] = ()
    sure: bool = True


class Transcriber(ABC):
    """Transcribes pieces of up to ``longest`` seconds, with ``rate`` samples per second."""

    rate: int
    longest: float
    options: Collection[str] = ("beam",)  # of decoding

    def check(self, options: Mapping[str, Any]) -> None:
        """Raise UsageError for an unknown decoding option or a bad value."""
        if wrong := options.keys() - self.options:
            raise UsageError(
                f"this model has no decoding option {min(wrong)!r}",
                expected=f"one of: {', '.join(sorted(self.options))}" if self.options else "none",
            )
        Decoding().changed(**options)

    @abstractmethod
    def transcribe(self, parts: Sequence[Piece], options: Mapping[str, Any]) -> list[Segment]:
        """The transcript of each piece."""

    def _end(self, part: Piece) -> float:
        return part.start + len(part.samples) / self.rate


def open_transcriber(name: str, engine: str = "torch") -> Transcriber:
    """Open a transcriber.

    Args:
        name: a package; ``hub:NAME``, a whole model such as Whisper or wav2vec 2.0; or ``whisper``.
        engine: what runs a package, as for `plait.load`; the others have an engine of their own.

    Raises:
        UsageError: the model doesn't turn audio into text.
        PlaitError: ``whisper`` needs the extra of that name.
    """
    if name != SHIPPED and not name.startswith(HUB):
        return PackageTranscriber(load(name, engine))
    from plait.tasks.speech_models import HubTranscriber, ShippedWhisper  # need torch

    return ShippedWhisper() if name == SHIPPED else HubTranscriber(name.removeprefix(HUB))


class PackageTranscriber(Transcriber):
    """A package from one audio input to one text."""

    def __init__(self, model: Model) -> None:
        parts = model.parts
        sounds = {n: sound for n, sound in parts.modalities.items() if isinstance(sound, Sound)}
        texts = [n for n, output in parts.outputs.items() if output.answer_type == "text"]
        if len(sounds) != 1 or len(parts.modalities) != 1 or len(texts) != 1:
            raise UsageError(
                f"the model {model.recipe.name} goes from {', '.join(model.recipe.inputs)} to "
                f"{', '.join(model.recipe.outputs)}",
                expected="a model from one audio input to one text",
            )
        self.model, (self.output,) = model, texts
        ((self.name, sound),) = sounds.items()
        self.rate, self.longest = sound.rate, sound.max_seconds
        # Seconds of a token; where silence is trimmed, tokens don't tell the time.
        self.token = 0.0 if sound.trim else sound.pace()

    def check(self, options: Mapping[str, Any]) -> None:
        """The options of the model's output."""
        self.model.decoding_options(**options)

    def transcribe(self, parts: Sequence[Piece], options: Mapping[str, Any]) -> list[Segment]:
        """Each piece as a record."""
        soundfile, records = needed("soundfile", "audio"), []
        for part in parts:
            wav = io.BytesIO()
            soundfile.write(wav, part.samples, self.rate, format="WAV", subtype="FLOAT")
            records.append({self.name: wav.getvalue()})
        segments = []
        for part, each in zip(parts, self.model.predict_batch(records, **options), strict=True):
            answer, end = each[self.output], self._end(part)
            words = _words_in_time(answer, part.start, self.token) if self.token else ()
            # CTC may emit a unit at a single token. If it is the only one, the piece is the word.
            if words and sum(1 for unit in answer.details.words if unit.strip()) == 1:
                words = (Word(words[0].text, part.start, end),)
            segments.append(Segment(part.start, end, answer.value, answer.score, words))
        return segments


def _words_in_time(answer: Prediction, start: float, token: float) -> tuple[Word, ...]:
    """The words that the answer's units spell, with their times; tokens last ``token`` seconds."""
    units, moments = answer.details.words, answer.details.moments
    if not moments:
        return ()
    texts = str(answer.value).split()
    spans: list[list[tuple[int, int]]] = [[] for _ in texts]
    at, left = -1, ""  # the word that is being spelt, and what is left of it
    for unit, (first, last) in zip(map(str.strip, units), moments, strict=True):
        if unit and not left and at + 1 < len(texts):
            at, left = at + 1, texts[at + 1]
        if unit and left.startswith(unit):
            left = left.removeprefix(unit)
            if last > first:
                spans[at].append((first, last))
    return tuple(
        Word(text, start + own[0][0] * token, start + own[-1][1] * token)
        for text, own in zip(texts, spans, strict=True)
        if own
    )


@checked
def transcribe(
    model: Model | Transcriber, path: str | Path, *, sure: float = SURE, **options: Any
) -> Iterator[Segment]:
    """Transcribe a recording, segment by segment.

    A truncated file gives what it has, and a warning on the logger "plait".

    Args:
        model: a model from audio to text, or the result of `open_transcriber`.
        path: a recording of any length.
        sure: segments with a lower score, in nats per unit, are not `Segment.sure`.
        **options: decoding options, such as ``beam=5``.

    Returns:
        An iterator over the segments, each available as soon as it is transcribed.

    Raises:
        UsageError: the model doesn't transcribe, an option is unknown, or ``path`` is not a path.
        BadCell: the file can't be read. A missing file is reported at once, damage on iteration.

    Examples:
        >>> for segment in plait.transcribe(plait.load("my-speech"), "talk.wav"):
        ...     print(segment.start, segment.text)
        0.0 seven four one
    """
    found = find_recording(path)
    transcriber = PackageTranscriber(model) if isinstance(model, Model) else model
    transcriber.check(options)
    parts = pieces(found, transcriber.rate, transcriber.longest)
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
    files: Sequence[str | Path],
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
    if its score is below ``sure``. The seconds that are done are shown as progress.

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
            find_recording(path)
        except BadCell as error:  # a wrong name is not a bad recording, which might be skipped
            raise UsageError(error.what, expected=error.expected, hint=error.hint) from None
    bad = ErrorPolicy(check_policy(on_bad), in_table=False)
    model = open_transcriber(model_name, engine)
    model.check(options)  # before reading any file
    with show_progress() as progress:
        for number, (path, target) in enumerate(zip(files, targets, strict=True), start=1):
            try:
                segments = _followed(transcribe(model, path, sure=sure, **options), path, progress)
                if target is None and kind == "txt":
                    _show(path, segments, len(files) > 1)
                    continue
                text = written(kind, str(path), list(segments))
                if target is None:
                    print(text, end="")
                else:
                    write_atomically(target, text)
                    print(f"{path} -> {target}")
            except BadCell as error:
                bad.handle(number, "audio", error)
    show_bad(bad.failures)
    if len(bad.failures) == len(files):
        raise PlaitError("no recording could be read")


def _followed(
    segments: Iterator[Segment], path: str | Path, progress: Progress
) -> Iterator[Segment]:
    """The segments; each reports how many seconds of the recording are done."""
    found = find_recording(path)
    stage, total = f"{found.name}, seconds", math.ceil(count_seconds(found))
    progress(stage, 0, total)
    for segment in segments:
        progress(stage, min(round(segment.end), total), total)
        yield segment
    progress(stage, total, total)


def _targets(files: Sequence[str | Path], kind: str, out: Path | None) -> list[Path | None]:
    """The file for each transcript; None is standard output."""
    if out is None:
        if len(files) > 1 and kind in SUBTITLES:
            raise UsageError(
                f"the subtitles of {len(files)} recordings don't fit in one file",
                hint="name a folder for them with --out",
            )
        return [None] * len(files)
    taken: dict[Path, str | Path] = {}
    for path in files:
        target = out / f"{Path(path).stem}.{kind}"
        if target in taken:
            raise UsageError(
                f"{taken[target]} and {path} would both be written to {target}",
                hint="transcribe them separately, with different --out",
            )
        taken[target] = path
    return list(taken)


def _show(path: str | Path, segments: Iterator[Segment], named: bool) -> None:
    first = list(islice(segments, 1))  # an unreadable file gets no heading
    if named:
        print(f"{path}:")
    if not first:
        errors.print(f"{path} contains no speech", soft_wrap=True)
    for segment in chain(first, segments):
        print(f"{clock(segment.start)} {segment.text}{'' if segment.sure else UNSURE}", flush=True)
