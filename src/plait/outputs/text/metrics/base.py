"""The contract of a metric of texts, and the plain spelling that several of them compare."""

from __future__ import annotations

import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from plait.outputs.scores import Scores, check_paired
from plait.outputs.text.decoding import Limits
from plait.util.imports import needed

Floats: TypeAlias = NDArray[np.float64]
Texts: TypeAlias = Sequence[str]
"""One a record."""
References: TypeAlias = Sequence[Sequence[str]]
"""The right texts of each record, at least one."""

# An apostrophe inside a word, a separator inside a number, a number's minus.
_INSIDE = re.compile(r"(?<=\w)'(?=\w)|(?<=\d)[.,](?=\d)|(?<!\S)-(?=\d)")


class TextMetrics(ABC):
    """Scores texts, one a record, against the right texts of each record.

    A subclass counts what it needs of every record once, in ``__init__``; the scores of any
    selection of records follow from those counts, so that a thousand bootstrap resamples are cheap.
    An instance is a `plait.outputs.scores.Scorer`.

    Args:
        predictions: one text a record.
        references: the right texts of each record.

    Raises:
        PlaitError: there are no records, or not as many predictions as references.
    """

    titles: ClassVar[Mapping[str, str]]
    """As `Output.titles`."""
    best_metrics: ClassVar[Sequence[str]]
    """As `Output.best_metrics`."""
    lowest: ClassVar[float] = 0.0
    """As `Output.lowest`."""
    highest: ClassVar[float] = 1.0
    """As `Output.highest`."""
    limits: ClassVar[Limits]
    """What such texts look like, where a recipe does not say."""
    library: ClassVar[tuple[str, str] | None] = None
    """The optional library that the metric needs, and the extra that installs it."""

    def __init__(self, predictions: Texts, references: References) -> None:
        check_paired(predictions, references)
        self.predictions, self.references = predictions, references

    @classmethod
    def require(cls) -> None:
        """Called before training, so that a missing library is not noticed at validation only.

        Raises:
            PlaitError: the metric needs a library that is not installed.
        """
        if cls.library is not None:
            needed(*cls.library)

    @abstractmethod
    def __call__(self, rows: NDArray[np.int64]) -> dict[str, float]:
        """The scores of these records, (n,) positions, some of which may appear several times."""

    def scores(self, seed: int = 0) -> Scores:
        """The scores of all records with their bootstrap intervals."""
        return Scores.of(self, len(self.predictions), self.extras(), seed)

    def extras(self) -> dict[str, Any]:
        """What else is known of all records, as plain JSON (see `Scores.extras`)."""
        return {}

    def rightness(self) -> Floats:
        """(records,) how right each text is by itself: the first of `best_metrics`."""
        name = self.best_metrics[0]
        return np.array([self(np.array([row]))[name] for row in range(len(self.predictions))])

    def ranked(self) -> list[int]:
        """The records' positions, the best first; among equals in their order."""
        return np.argsort(-self.rightness(), kind="stable").tolist()

    def aligned_errors(self) -> list[tuple[int, str]] | None:
        """The records with errors, the most wrong first, each with the right text and the
        predicted one below each other; None where the metric does not align texts."""
        return None


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
