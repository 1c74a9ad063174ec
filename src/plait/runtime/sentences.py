"""Sentences of an exported decoder: its step run again and again by the search."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.data.vocabulary import BOS, EOS, from_state
from plait.outputs.base import Output, RawOutputs
from plait.outputs.text.decoding import (
    CTC,
    DECODER,
    DETECTED,
    LANGUAGE,
    MEMORY,
    NEXT,
    PAST,
    PROBABLE,
    SCORES,
    TEXT,
    WORDS,
    Decoding,
    detected_words,
    guides,
    spoken,
)
from plait.outputs.text.details import TextDetails
from plait.outputs.text.lm.ngram import NGram
from plait.runtime.search import Floats, Ints, Sentences, Speech, Tensors, beam_search, sample
from plait.types import Prediction, State

Run = Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]
"""A graph: named arrays -> named arrays."""
CONTEXT = f"{PAST}{LANGUAGE}/ngram"  # how far the n-grams have come


@dataclass(frozen=True)
class Weights:
    """How much each of those who say a word counts, and the bonus for a word more."""

    decoder: float
    ctc: float
    language: float
    bonus: float

    def alone(self) -> bool:
        """Whether the decoder says the words by itself."""
        return self == Weights(1.0, 0.0, 0.0, 0.0)


class SentenceAnswers:
    """Sentences, said word by word."""

    kind = TEXT

    def __init__(self, settings: State, step: Run) -> None:
        """``settings`` and ``step``: of `TextHead.answers` and `TextHead.graph`."""
        self.vocabulary = from_state(settings["vocabulary"])
        self.longest, self.final = int(settings["longest"]), bool(settings["final"])
        self.decoding, self.step = Decoding(**settings["decoding"]), step
        self.ctc: float | None = settings["ctc"]
        self.language: State | None = settings["language"]
        grams = self.language and self.language["ngram"]
        self.ngram = NGram.from_state(grams) if grams else None

    def options(self, **options: Any) -> Decoding:
        """The recipe's way of decoding with ``options`` changed."""
        has = guides(self.ctc is not None, self.language is not None)
        return self.decoding.within(self.longest, has, **options)

    def decode(self, numbers: RawOutputs, fitted: State, decoding: Decoding) -> list[Prediction]:
        """A sentence a record (``num`` with alternatives)."""
        weights = self._weights(decoding)
        speech, records = self._speech(numbers, weights), len(next(iter(numbers.values())))
        if decoding.sample:
            found = sample(speech, records, decoding)
        else:
            beams = max(decoding.beam, decoding.num)
            penalty, limits = decoding.length_penalty, decoding.limits
            found = beam_search(speech, records, beams, penalty, limits)
        if weights.language or weights.bonus:
            answering = replace(weights, language=0.0, bonus=0.0)
            found = _scored(self._speech(numbers, answering), found)
        means = (found.scores / np.maximum(found.lengths, 1)).tolist()
        return [
            self._prediction(numbers, row, ids[: decoding.num], mean[: decoding.num])
            for row, (ids, mean) in enumerate(zip(found.ids.tolist(), means, strict=True))
        ]

    def _weights(self, decoding: Decoding) -> Weights:
        """As the recipe has them, as they were found, or as they are asked for."""
        ctc = (self.ctc or 0.0) if decoding.ctc is None else decoding.ctc
        weight, bonus = (0.0, 0.0) if self.language is None else self.language["found"]
        weight = weight if decoding.language is None else decoding.language
        bonus = bonus if decoding.bonus is None else decoding.bonus
        return Weights(1 - ctc, ctc, weight, bonus)

    def _speech(self, numbers: RawOutputs, weights: Weights) -> Speech:
        """The records before the first word."""
        memory = {name: value for name, value in numbers.items() if name.startswith(MEMORY)}
        past = {name: value for name, value in numbers.items() if name.startswith(PAST)}
        if self.ngram is not None:
            records = len(next(iter(numbers.values())))
            past[CONTEXT] = np.full(records, self.ngram.start)

        def say(words: Ints, memory: Tensors, past: Tensors) -> tuple[Floats, Tensors]:
            return self._say(weights, words, memory, past)

        return Speech(say, memory, past, self.final or not weights.alone())

    def _say(
        self, weights: Weights, words: Ints, memory: Tensors, past: Tensors
    ) -> tuple[Floats, Tensors]:
        """Words (N,) -> scores (N, V) of the next ones, see `GuidedDecoder`; and the next past."""
        found = self.step({WORDS: words, **memory, **past})
        after = {name: found[f"{NEXT}{name}"] for name in past if name != CONTEXT}
        total = weights.decoder * found[f"{SCORES}{DECODER}"]
        if self.ctc is not None:
            total += weights.ctc * found[f"{SCORES}{CTC}"]
        if self.ngram is not None:
            after[CONTEXT] = self.ngram.step(past[CONTEXT], words)
            if weights.language:
                total += weights.language * self.ngram.scores(after[CONTEXT])
        elif self.language is not None:
            total += weights.language * found[f"{SCORES}{LANGUAGE}"]
        if weights.bonus:
            total += np.where(np.arange(total.shape[1]) == EOS, 0.0, weights.bonus)
        return total.astype(np.float32), after

    def _prediction(
        self, numbers: RawOutputs, row: int, sentences: list[list[int]], means: list[float]
    ) -> Prediction:
        _, said = spoken(self.vocabulary, sentences, means)
        detected: dict[str, float] = {}
        if DETECTED in numbers:
            words, probable = numbers[DETECTED][row].tolist(), numbers[PROBABLE][row].tolist()
            detected = detected_words(self.vocabulary, words, probable)
        details = TextDetails(words=said.words, detected=detected)
        return replace(said, detected=detected, details=details)

    shows_score = Output.shows_score
    extra_cells = Output.extra_cells

    def to_cell(self, value: str) -> str:
        """The sentence."""
        return value

    to_json, details_json = Output.to_json, Output.details_json


def _scored(speech: Speech, found: Sentences) -> Sentences:
    """The same sentences in the same order with other scores: those that ``speech``, which knows
    no language model, gives their words. Where a sentence's score is -inf there is none."""
    count, each, length = found.ids.shape
    speech.select(np.arange(count).repeat(each))
    said, total = found.ids.reshape(-1, length), np.zeros(count * each, np.float32)
    words = np.full(count * each, BOS)
    for place in range(length):
        scores, words = speech.next(words), said[:, place]
        own = np.take_along_axis(scores, words[:, None], axis=1)[:, 0]
        total += np.where(place < found.lengths.ravel(), own, 0.0)
    scored = total.reshape(count, each)
    return replace(found, scores=np.where(np.isfinite(found.scores), scored, found.scores))
