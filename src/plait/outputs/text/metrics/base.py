"""What every way to score sentences offers, and the plain spelling that several of them compare."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from plait.outputs.scores import Scorer
from plait.outputs.text.decoding import Limits

Sentences: TypeAlias = Sequence[str]
"""One a record."""
References: TypeAlias = Sequence[Sequence[str]]
"""The right sentences of each record, one at least."""

# An apostrophe inside a word, a separator inside a number, a number's minus.
_INSIDE = re.compile(r"(?<=\w)'(?=\w)|(?<=\d)[.,](?=\d)|(?<!\S)-(?=\d)")


class Scores(Protocol):
    """The scores of all records, with their intervals."""

    def to_json(self) -> dict[str, Any]:
        """As plain JSON; ``intervals`` holds the scores' 95 % intervals by name."""


@dataclass(frozen=True)
class Scoring:
    """One way to score sentences against the right ones.

    Attributes:
        titles: as `Output.titles`.
        best_metrics: as `Output.best_metrics`.
        scorer: what scores any choice of the records, without intervals.
        scores: the scores of all records with their intervals.
        usual: what such sentences look like, where a recipe does not say it.
        least, most: as `Output.least` and `Output.most`.
    """

    titles: Mapping[str, str]
    best_metrics: Sequence[str]
    scorer: Callable[[Sentences, References], Scorer]
    scores: Callable[[Sentences, References], Scores]
    usual: Limits
    least: float = 0.0
    most: float = 1.0


def plain(text: str) -> str:
    """A text as it is spoken: lower case, no punctuation and no signs, one space between words.

    Apostrophes inside a word, points and commas inside a number and its minus stay; any other
    punctuation or sign (the Unicode categories P and S) stands for a space.
    """
    text = unicodedata.normalize("NFC", text).lower().replace("’", "'")
    inside = {match.start() for match in _INSIDE.finditer(text)}
    kept = (
        character if at in inside or unicodedata.category(character)[0] not in "PS" else " "
        for at, character in enumerate(text)
    )  # fmt: skip
    return " ".join("".join(kept).split())
