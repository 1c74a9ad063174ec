"""What all representations of a text share: reading it safely, and leaving words out.

Shapes: L words or terms.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from plait.data.cells import COLUMN_NAMES, MAX_LETTERS, as_text, is_sentence
from plait.data.vocabulary import word_spans
from plait.modalities.base import Facts, Item, Match, Modality, item_generator, view_generator
from plait.modalities.segments import Kept, Segments, Words
from plait.types import BadCell, PlaitError

READING_VERSION = 1  # raise it when the same text would be read otherwise: old caches must miss
MOST_PARTS = 64  # segments of a text
DROPPED = 0.15  # of the words, in an augmented view


class Text(Modality):
    """Reads a cell's text, a string or several, to an array whose first axis is its words."""

    facts = Facts(
        column_names=COLUMN_NAMES,
        example="'a few words'",
        noun="a text",
        widget="text",
        hub_tasks={"category": "text-classification"},
        request="That needs a text: type it",
    )
    media = False
    corruptions = ("dropped words",)

    views: int = Field(1, ge=1, le=16, description="augmented versions (words left out) to cache")

    @classmethod
    def recognises(cls, cell: Any) -> Match:
        """Sentences; a single word may be a text too."""
        return "certain" if is_sentence(cell) else "possible" if isinstance(cell, str) else "no"

    @property
    def ends(self) -> int:
        """Items at either end that are no words of the text, such as a start and an end."""
        return 0

    def texts(self, cells: Iterable[Any]) -> Iterator[str]:
        """The training column's texts; cells that can't be used are left out here, and named when
        they are read.

        Raises:
            PlaitError: there is none.
        """
        empty = True
        for cell in cells:
            try:
                text = as_text(cell)
            except BadCell:
                continue
            empty = False
            yield text
        if empty:
            raise PlaitError("all training texts are empty", expected="at least one text")

    def content(self, cell: Any, root: Path) -> bytes:
        """The text itself."""
        return as_text(cell).encode("utf-8", "surrogatepass")

    def request_type(self) -> Any:
        """A string."""
        return Annotated[str, Field(max_length=MAX_LETTERS)]

    def augment(self, item: Item, view: int, seed: int) -> Item:
        """About one word in seven is left out, and one at least."""
        start, inner, end = self._parts(item)
        if view == 0 or len(inner) < 2:
            return item
        rng = view_generator(view, seed)
        kept = rng.random(len(inner)) >= DROPPED
        kept[rng.integers(len(inner))] = False
        kept[0] |= not kept.any()
        return np.concatenate([start, inner[kept], end])

    def _parts(self, item: Item) -> tuple[Item, Item, Item]:
        """What stays at the start, the words, and what stays at the end."""
        last = max(self.ends, len(item) - self.ends)
        return item[: self.ends], item[self.ends : last], item[last:]

    def corrupt(self, item: Item, kind: str, strength: int) -> Item:
        """A tenth to a half of the words are left out."""
        start, inner, end = self._parts(item)
        count = max(1, len(inner) - round(len(inner) * strength / 10))
        kept = np.sort(item_generator(item).permutation(len(inner))[:count])
        return np.concatenate([start, inner[kept], end])

    @abstractmethod
    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Where each of the items that `read` returns lies in the text, ends exclusive; one
        span where the items are in no order."""

    def segments(self, cell: Any, root: Path) -> Segments:
        """The words, or in a long text stretches of words; those that are hidden are cut out."""
        text = as_text(cell)
        spans = word_spans(text)
        size = max(1, -(-len(spans) // MOST_PARTS))
        stretches = [spans[at : at + size] for at in range(0, len(spans), size)]
        words = [(some[0][0], some[-1][1]) for some in stretches] or [(0, len(text))]

        def perturb(kept: Kept) -> Item:
            left, at = "", 0
            for (start, end), here in zip(words, kept, strict=True):
                left, at = left + text[at:start] + (text[start:end] if here else ""), end
            return self.read(left + text[at:], root)

        return Words(text, words, self.token_spans(text), perturb)

    def samples(self) -> list[Any]:
        """Two short texts."""
        return ["a text of some words", "another text of other words"]

    def fingerprint(self) -> str:
        """What was learned, and the version of the reading code."""
        return json.dumps([type(self).__name__, READING_VERSION, self.state], sort_keys=True)
