"""How a sentence is found: the settings of a recipe's `decoding`, and of `predict`'s options."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from plait.components import Options
from plait.outputs.text.search import Limits


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
    min_words: Annotated[int, Field(ge=0, description="fewest words")] = 3
    max_words: Annotated[int, Field(ge=1, le=512, description="most words")] = 24
    no_repeat: Annotated[
        int, Field(ge=0, description="no n-gram of this length twice; 0 allows all")
    ] = 3
    num: Annotated[int, Field(ge=1, le=64, description="sentences a record")] = 1
    sample: Annotated[bool, Field(description="draw at random instead of searching")] = False
    temperature: Annotated[float, Field(gt=0, description="of the random draw")] = 1.0
    top_k: Annotated[int, Field(ge=0, description="draw from the k likeliest words; 0: all")] = 0
    top_p: Annotated[
        float, Field(gt=0, le=1, description="draw from this share of the probability")
    ] = 1.0
    seed: Annotated[int, Field(ge=0, description="of the random draw")] = 0

    @model_validator(mode="after")
    def _lengths_fit(self) -> Decoding:
        if self.min_words > self.max_words:
            raise ValueError(f"min_words {self.min_words} is above max_words {self.max_words}")
        return self

    @property
    def limits(self) -> Limits:
        """The part that the search functions know."""
        return Limits(self.min_words, self.max_words, self.no_repeat)
