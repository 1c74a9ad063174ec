"""Sentences of an exported decoder: its step run again and again by the search."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plait.data.vocabulary import from_state
from plait.onnx.search import Floats, Ints, Speech, Tensors, beam_search, sample
from plait.outputs.answers import Answers, Numbers
from plait.outputs.text.decoding import (
    DETECTED,
    MEMORY,
    NEXT,
    PAST,
    PROBABLE,
    SCORES,
    TEXT,
    WORDS,
    Decoding,
    detected_words,
    spoken,
)
from plait.types import Prediction, State

Run = Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]
"""A graph: named arrays -> named arrays."""


class SentenceAnswers(Answers):
    """Sentences, said word by word."""

    kind = TEXT

    def __init__(self, settings: State, step: Run) -> None:
        """``settings`` and ``step``: of `TextHead.answers` and `TextHead.graph`."""
        self.vocabulary = from_state(settings["vocabulary"])
        self.longest, self.final = int(settings["longest"]), bool(settings["final"])
        self.decoding, self.step = Decoding(**settings["decoding"]), step

    def options(self, **options: Any) -> Decoding:
        """The recipe's way of decoding with ``options`` changed."""
        return self.decoding.within(self.longest, (), **options)

    def predictions(self, numbers: Numbers, **options: Any) -> list[Prediction]:
        """A sentence a record (``num`` with alternatives)."""
        decoding = self.options(**options)
        memory = {name: value for name, value in numbers.items() if name.startswith(MEMORY)}
        past = {name: value for name, value in numbers.items() if name.startswith(PAST)}
        speech, records = (
            Speech(self._say, memory, past, self.final),
            len(next(iter(memory.values()))),
        )
        if decoding.sample:
            found = sample(speech, records, decoding)
        else:
            beams = max(decoding.beam, decoding.num)
            penalty, limits = decoding.length_penalty, decoding.limits
            found = beam_search(speech, records, beams, penalty, limits)
        means = (found.scores / np.maximum(found.lengths, 1)).tolist()
        return [
            self._prediction(numbers, row, ids[: decoding.num], mean[: decoding.num])
            for row, (ids, mean) in enumerate(zip(found.ids.tolist(), means, strict=True))
        ]

    def _say(self, words: Ints, memory: Tensors, past: Tensors) -> tuple[Floats, Tensors]:
        found = self.step({WORDS: words, **memory, **past})
        return found[SCORES], {name: found[f"{NEXT}{name}"] for name in past}

    def _prediction(
        self, numbers: Numbers, row: int, sentences: list[list[int]], means: list[float]
    ) -> Prediction:
        _, said = spoken(self.vocabulary, sentences, means)
        if DETECTED not in numbers:
            return said
        words, probable = numbers[DETECTED][row].tolist(), numbers[PROBABLE][row].tolist()
        return replace(said, detected=detected_words(self.vocabulary, words, probable))

    def cell(self, value: Any) -> Any:
        """The sentence."""
        return value
