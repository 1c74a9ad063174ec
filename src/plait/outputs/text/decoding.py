"""How a sentence is found: the settings of a recipe's `decoding`, and of `predict`'s options."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from plait.outputs.text.search import Limits
from plait.registry import did_you_mean
from plait.types import UsageError


class Decoding(BaseModel):
    """How a sentence is found: ``num`` drawn at random with ``sample``, else by beam search.

    Beams are ranked with the length penalty; the score shown is the mean a word.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    beam: Annotated[int, Field(ge=1, le=64, description="beams; 1 is greedy")] = 3
    length_penalty: Annotated[
        float, Field(ge=0, le=4, description="0 favours short sentences, 1 the mean a word")
    ] = 0.8
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

    def changed(self, **options: Any) -> Decoding:
        """With some settings changed.

        Raises:
            UsageError: an unknown setting, or a value that can't be.
        """
        try:
            return Decoding.model_validate({**self.model_dump(), **options})
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            if first["type"] == "extra_forbidden":
                raise UsageError(
                    f"there is no decoding option {name!r}",
                    expected=f"one of: {', '.join(Decoding.model_fields)}",
                    mend=did_you_mean(name, Decoding.model_fields),
                ) from None
            got = f" is {options[name]!r}: " if name in options else ": "
            what = f"decoding option {name}".rstrip()
            raise UsageError(f"{what}{got}{first['msg'].lower()}") from None
