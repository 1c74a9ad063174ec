"""How a sentence is found: the settings of a recipe's `decoding`, and of `predict`'s options; and
how the answer is made of it. Knows no torch."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, model_validator

from plait.data.vocabulary import BOS, EOS, PAD, UNK, Vocabulary
from plait.outputs.options import Options
from plait.types import Alternative, Prediction, UsageError

TEXT = "text"
# The names of a decoder's numbers, see `TextHead.numbers`; those with a slash stand
# before many.
MEMORY, PAST, NEXT, SCORES = "memory/", "past/", "next/", "scores/"
WORDS, DETECTED, PROBABLE = "words", "detected", "probable"
DECODER, CTC, LANGUAGE = "decoder", "ctc", "language"  # who says a word
GUIDES = {
    "ctc": "no CTC beside its decoder",
    "language": "no language model",
    "bonus": "no language model",
}
"""Options that are of no use without a guide -> what a model lacks that has none."""
NEVER_SAID = (PAD, BOS, UNK)
MOST = 512  # words that a sentence may have


@dataclass(frozen=True)
class Limits:
    """What a sentence may look like."""

    min_words: int = 1
    max_words: int = 40
    no_repeat: int = 3  # no n-gram of this length twice; 0 allows all


class Decoding(Options):
    """How a sentence is found: ``num`` drawn at random with ``sample``, else by beam search.

    Beams are ranked with the length penalty; the score shown is the mean a word.
    """

    beam: Annotated[int, Field(ge=1, le=64, description="beams; 1 is greedy")] = 3
    length_penalty: Annotated[
        float, Field(ge=0, le=4, description="0 favours short sentences, 1 the mean a word")
    ] = 0.8
    ctc: Annotated[
        float | None,
        Field(
            ge=0, le=1, description="share of CTC's score beside the decoder's; null: as learned"
        ),
    ] = None
    language: Annotated[
        float | None,
        Field(ge=0, le=4, description="weight of the language model; null: as it was found best"),
    ] = None
    bonus: Annotated[
        float | None,
        Field(ge=-10, le=10, description="score of a word more, beside a language model; null: so"),
    ] = None
    min_words: Annotated[
        int | None, Field(ge=0, description="fewest words; null: 3 of a caption, else 1 or none")
    ] = None
    max_words: Annotated[
        int | None,
        Field(ge=1, le=MOST, description="most words; null: 24 of a caption, else the longest"),
    ] = None
    no_repeat: Annotated[
        int | None,
        Field(
            ge=0,
            description="no n-gram of this length twice, 0 allows all; null: 3 in a "
            "caption, else 0",
        ),
    ] = None
    num: Annotated[int, Field(ge=1, le=64, description="sentences a record")] = 1
    sample: Annotated[bool, Field(description="draw at random instead of searching")] = False
    temperature: Annotated[float, Field(gt=0, le=100, description="of the random draw")] = 1.0
    top_k: Annotated[int, Field(ge=0, description="draw from the k likeliest words; 0: all")] = 0
    top_p: Annotated[
        float, Field(gt=0, le=1, description="draw from this share of the probability")
    ] = 1.0
    seed: Annotated[int, Field(ge=0, lt=2**63, description="of the random draw")] = 0

    @model_validator(mode="after")
    def _lengths_fit(self) -> Decoding:
        if self.max_words is not None and (self.min_words or 0) > self.max_words:
            raise ValueError(f"min_words {self.min_words} is above max_words {self.max_words}")
        return self

    def settled(self, usual: Limits, longest: int) -> Decoding:
        """With what was left open as it is usual for such texts, at most ``longest`` words."""
        most = self.max_words or min(usual.max_words, longest, MOST)
        return self.changed(
            min_words=min(usual.min_words, most) if self.min_words is None else self.min_words,
            max_words=most,
            no_repeat=usual.no_repeat if self.no_repeat is None else self.no_repeat,
        )

    @property
    def limits(self) -> Limits:
        """The part that the search functions know; of a `settled` one."""
        names = {"min_words", "max_words", "no_repeat"}
        return Limits(**self.model_dump(include=names, exclude_none=True))

    def within(self, longest: int, has: Collection[str], **options: Any) -> Decoding:
        """With ``options`` changed, within the ``longest`` sentence that the decoder knows places
        for, and those of a guide only where the model ``has`` it.

        Raises:
            UsageError: there is no such option, it can't have that value, or sentences would be
                too long.
        """
        decoding = self.changed(**options)
        for name, lacks in GUIDES.items():
            if getattr(decoding, name) is not None and name not in has:
                raise UsageError(
                    f"{name} is {getattr(decoding, name)}, but the model has {lacks}",
                    expected="none set",
                )
        if decoding.limits.max_words > longest:
            raise UsageError(
                f"max_words is {decoding.max_words}", expected=f"{longest} at the most"
            )
        return decoding


def guides(ctc: bool, language: bool) -> list[str]:
    """The options of `GUIDES` that a model has which has these."""
    return ["ctc"] * ctc + ["language", "bonus"] * language


def spoken(
    vocabulary: Vocabulary, sentences: Sequence[Sequence[int]], means: Sequence[float]
) -> tuple[list[int], Prediction]:
    """A record's sentences, best first, as ids and with their mean scores -> the best one's words
    and the answer.

    A narrow vocabulary may have fewer sentences than were asked for; those left over are at -inf.
    """
    said = [
        ([word for word in ids if word > EOS], mean)
        for ids, mean in zip(sentences, means, strict=True)
        if math.isfinite(mean)
    ]
    # Where units are characters, spaces may stand at a sentence's ends.
    texts = [vocabulary.decode(ids).strip() for ids, _ in said]
    others = (Alternative(text, mean) for text, (_, mean) in zip(texts[1:], said[1:], strict=True))
    best, score = said[0]
    words = tuple(vocabulary.pieces(best))
    return best, Prediction(texts[0], score, alternatives=tuple(others), words=words)


def detected_words(
    vocabulary: Vocabulary, words: Sequence[int], probable: Sequence[float]
) -> dict[str, float]:
    """How probable each detected word is; subwords may look alike: the first stands out more."""
    found: dict[str, float] = {}
    for word, chance in zip(vocabulary.pieces(words), probable, strict=True):
        found.setdefault(word, chance)
    return found
