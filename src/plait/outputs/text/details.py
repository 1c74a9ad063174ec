"""What a text output says of an answer beside its text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

# Raw outputs of a text beside its decoder's: detected words, their probabilities, CTC's emissions.
DETECTED, PROBABILITIES, EMISSIONS = "detected", "probabilities", "emissions"


@dataclass(frozen=True)
class TextDetails:
    """How a text was generated.

    Attributes:
        words: its tokens, readable.
        moments: for each of ``words`` the first token of the input that it was heard in and the one
            behind the last, for texts that go along with their input in time (CTC).
        attention: input -> (words, input tokens) float, how much each word attended to each token.
        detected: the words that the input calls for and how probable each is, those that stand out
            most first, for models that detect words.
    """

    words: tuple[str, ...] = ()
    moments: tuple[tuple[int, int], ...] = ()
    attention: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    detected: Mapping[str, float] = field(default_factory=dict)
