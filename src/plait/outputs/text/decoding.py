"""Options of decoding: the settings of a recipe's `decoding`, which `predict` can override."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, model_validator

from plait.data.vocabulary import BOS, PAD, UNK
from plait.outputs.options import Options
from plait.types import UsageError

DECODER, CTC, LANGUAGE = "decoder", "ctc", "language"  # the models that score the next token
REQUIRED = {
    CTC: {"ctc": "CTC beside its decoder"},
    LANGUAGE: {"language": "language model", "bonus": "language model"},
}
"""Model -> the options that need it, and what a network without it lacks."""
NEVER_GENERATED = (PAD, BOS, UNK)
MOST = 512  # the largest `max_words`


@dataclass(frozen=True)
class Limits:
    """Which token sequences may be generated.

    Attributes:
        min_words, max_words: fewest and most tokens, without the end token.
        no_repeat: no n-gram of this length occurs twice; 0 allows all.
    """

    min_words: int = 1
    max_words: int = 40
    no_repeat: int = 3


class Decoding(Options):
    """How a text is generated: ``num`` random samples with ``sample``, otherwise beam search.

    Beams are ranked with the length penalty; the score that is shown is the mean log-probability of
    a token.
    """

    beam: Annotated[int, Field(ge=1, le=64, description="beams; 1 is greedy")] = 3
    length_penalty: Annotated[
        float, Field(ge=0, le=4, description="0 favours short texts, 1 the mean of a token")
    ] = 0.8
    ctc: Annotated[
        float | None,
        Field(ge=0, le=1, description="weight of CTC beside the decoder; null: as in training"),
    ] = None
    language: Annotated[
        float | None,
        Field(ge=0, le=4, description="weight of the language model; null: as calibrated"),
    ] = None
    bonus: Annotated[
        float | None,
        Field(
            ge=-10,
            le=10,
            description="added for each token, beside a language model; null: as calibrated",
        ),
    ] = None
    min_words: Annotated[
        int | None,
        Field(ge=0, description="fewest words; null: 3 for captions, otherwise 1 or 0"),
    ] = None
    max_words: Annotated[
        int | None,
        Field(ge=1, le=MOST, description="most words; null: 24 for captions, otherwise max_length"),
    ] = None
    no_repeat: Annotated[
        int | None,
        Field(
            ge=0,
            description="no n-gram of this length twice, 0 allows all; null: 3 for captions, "
            "otherwise 0",
        ),
    ] = None
    num: Annotated[int, Field(ge=1, le=64, description="texts for each record")] = 1
    sample: Annotated[bool, Field(description="sample instead of searching")] = False
    temperature: Annotated[float, Field(gt=0, le=100, description="of sampling")] = 1.0
    top_k: Annotated[int, Field(ge=0, description="sample the k likeliest words; 0: all")] = 0
    top_p: Annotated[
        float, Field(gt=0, le=1, description="sample the likeliest words with this probability")
    ] = 1.0
    seed: Annotated[int, Field(ge=0, lt=2**63, description="of sampling")] = 0

    @model_validator(mode="after")
    def _lengths_fit(self) -> Decoding:
        if self.max_words is not None and (self.min_words or 0) > self.max_words:
            raise ValueError(f"min_words {self.min_words} is above max_words {self.max_words}")
        return self

    def settled(self, usual: Limits, max_length: int) -> Decoding:
        """With ``usual`` limits where none are set, at most ``max_length`` words."""
        most = self.max_words or min(usual.max_words, max_length, MOST)
        return self.changed(
            min_words=min(usual.min_words, most) if self.min_words is None else self.min_words,
            max_words=most,
            no_repeat=usual.no_repeat if self.no_repeat is None else self.no_repeat,
        )

    @property
    def limits(self) -> Limits:
        """The limits of a `settled` one."""
        names = {"min_words", "max_words", "no_repeat"}
        return Limits(**self.model_dump(include=names, exclude_none=True))

    def within(self, max_length: int, models: Collection[str], **options: Any) -> Decoding:
        """With ``options`` changed, for a network with these ``models``, whose decoder knows
        ``max_length`` positions.

        Raises:
            UsageError: there is no such option, its value is out of range, it needs a model that
                the network lacks, or texts would be too long.
        """
        decoding = self.changed(**options)
        for name, lacks in unavailable(models).items():
            if getattr(decoding, name) is not None:
                raise UsageError(
                    f"{name} is {getattr(decoding, name)}, but the model has no {lacks}",
                    expected="none set",
                )
        if decoding.limits.max_words > max_length:
            raise UsageError(f"max_words is {decoding.max_words}", expected=f"at most {max_length}")
        return decoding


def unavailable(models: Collection[str]) -> dict[str, str]:
    """The options that a network with these models has no use for -> what it lacks."""
    return {
        option: lacks
        for model, options in REQUIRED.items()
        if model not in models
        for option, lacks in options.items()
    }
