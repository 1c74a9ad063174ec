"""Transcribers of pieces of audio: a package's is here; `speech_models`, which need torch, are
imported when one is opened."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plait.data.speech import Piece
from plait.modalities.audio.base import Sound
from plait.model import Model
from plait.outputs.text.search import Decoding
from plait.runtime.engines import load
from plait.types import Prediction, UsageError
from plait.util.imports import needed

HUB = "hub:"
SHIPPED = "whisper"
"""The name of the model of the extra ``whisper``."""
SURE = -1.0  # nats per unit; below, Whisper's authors count its text as failed


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
