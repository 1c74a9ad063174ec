"""Recordings of any length to text with times: cut at their pauses, piece by piece transcribed."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from plait.data.speech import Piece, pieces
from plait.features import BadCells, check_policy, in_chunks
from plait.files import make_folder, write_atomically
from plait.modalities.audio.sound import Sound
from plait.model import Model, load
from plait.registry import needed
from plait.terminal import show_bad
from plait.types import BadCell, Prediction, UsageError

TOGETHER = 16  # pieces that are transcribed at a time


@dataclass(frozen=True)
class Word:
    """A word and when it is said, in seconds of the recording."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Segment:
    """What is said between two pauses.

    Attributes:
        start, end: seconds of the recording.
        text: what is said.
        score: mean log-probability a unit, in nats.
        words: with their times, where the model knows them (CTC).
    """

    start: float
    end: float
    text: str
    score: float
    words: tuple[Word, ...] = ()


def transcribe(model: Model, path: str | Path, **options: Any) -> Iterator[Segment]:
    """What is said in a recording, piece by piece, as soon as it is known.

    Args:
        model: one that makes text of a sound alone.
        path: a recording of any length.
        options: of the decoding, as ``beam=5``.

    Raises:
        UsageError: it is no such model.
        BadCell: the file can't be read.
    """
    name, output = _sound_and_text(model)
    modality = model.parts.modalities[name]
    assert isinstance(modality, Sound)
    seconds = modality.longest / model.network.encoder(name).length  # of a token
    parts = pieces(Path(path), modality.rate, modality.longest)
    for chunk in in_chunks(parts, TOGETHER):
        records = [{name: _wav(part, modality.rate)} for part in chunk]
        for part, answers in zip(chunk, model.answers(records, **options), strict=True):
            yield _segment(part, answers[output], modality.rate, 0 if modality.trim else seconds)


def _sound_and_text(model: Model) -> tuple[str, str]:
    sounds = [n for n, modality in model.parts.modalities.items() if isinstance(modality, Sound)]
    texts = [n for n, spec in model.recipe.outputs.items() if spec.kind == "text"]
    if len(sounds) != 1 or len(model.parts.modalities) != 1 or len(texts) != 1:
        raise UsageError(
            f"the model {model.recipe.name} makes {', '.join(model.recipe.outputs)} of "
            f"{', '.join(model.recipe.inputs)}",
            expected="a model that makes a text of one sound",
        )
    return sounds[0], texts[0]


def _wav(part: Piece, rate: int) -> bytes:
    stream = io.BytesIO()
    needed("soundfile", "audio").write(stream, part.samples, rate, format="WAV", subtype="FLOAT")
    return stream.getvalue()


def _segment(part: Piece, answer: Prediction, rate: int, token: float) -> Segment:
    end = part.start + len(part.samples) / rate
    words = _words(answer, part.start, token) if token else ()
    return Segment(part.start, end, answer.value, answer.score, words)


def _words(answer: Prediction, start: float, token: float) -> tuple[Word, ...]:
    """Words and their times, of units and the tokens that say them."""
    if not answer.moments:
        return ()
    texts = str(answer.value).split()
    found: list[list[tuple[int, int]]] = [[] for _ in texts]
    for number, moment in zip(_owners(answer.words, texts), answer.moments, strict=True):
        if number is not None and moment[1] > moment[0]:
            found[number].append(moment)
    return tuple(
        Word(text, start + moments[0][0] * token, start + moments[-1][1] * token)
        for text, moments in zip(texts, found, strict=True)
        if moments
    )


def _owners(units: Sequence[str], words: Sequence[str]) -> Iterator[int | None]:
    """The word that each unit belongs to; None for spaces and what is in no word."""
    at, left = 0, words[0] if words else ""
    for unit in units:
        text = unit.strip()
        if not text:
            yield None
            continue
        if not left and at + 1 < len(words):
            at, left = at + 1, words[at + 1]
        yield at if left.startswith(text) else None
        left = left.removeprefix(text)


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
    bad, model = BadCells(check_policy(on_bad), in_table=False), load(model_name)
    model.decoding_options(**options)  # checked before any file is read
    _sound_and_text(model)
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
