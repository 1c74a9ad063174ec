"""What all representations of a text share: reading it safely, and leaving words out.

Shapes: L words or terms.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from plait.data.media import MediaInfo
from plait.data.texts import MAX_LETTERS, as_text
from plait.data.vocabulary import word_spans
from plait.modalities.base import Modality
from plait.modalities.segments import Kept, Segments, Words
from plait.types import BadCell, PlaitError, State

READING_VERSION = 1  # raise it when the same text would be read otherwise: old caches must miss
T = TypeVar("T")
MOST_PARTS = 64  # of a text, where it is laid out
DROPPED = 0.15  # of the words, in an augmented view


class Text(Modality):
    """Reads a cell's text, a string or several, to a tensor whose first axis is its words."""

    media = False
    corruptions = ("dropped words",)

    def __init__(self, views: int, ends: int = 0) -> None:
        """``ends``: items at either end that stay in every view, such as a start and an end."""
        self.views, self.ends = views, ends
        self._made: tuple[State, Any] | None = None

    def made_of(self, state: State, make: Callable[[State], T]) -> T:
        """What ``make`` makes of the state; the last is kept, as every cell asks for it."""
        if self._made is None or self._made[0] is not state:
            self._made = (state, make(state))
        made: T = self._made[1]
        return made

    def texts(self, cells: Iterable[Any]) -> Iterator[str]:
        """The training column's texts; cells that can't be used are left out here, and named when
        they are read.

        Raises:
            PlaitError: there is none.
        """
        found = False
        for cell in cells:
            try:
                text = as_text(cell)
            except BadCell:
                continue
            found = True
            yield text
        if not found:
            raise PlaitError("all training texts are empty", expected="at least one text")

    def content(self, cell: Any, root: Path) -> bytes:
        """The text itself."""
        return as_text(cell).encode("utf-8", "surrogatepass")

    def media_info(self, cell: Any, root: Path) -> MediaInfo:
        """Nothing: a text has neither pixels nor seconds."""
        return MediaInfo()

    def request_type(self, state: State) -> Any:
        """A string."""
        return Annotated[str, Field(max_length=MAX_LETTERS)]

    def augment(self, item: Tensor, view: int) -> Tensor:
        """View 0 the text; of others about one word in seven is left out, the same each time."""
        start, inner, end = self._parts(item)
        if view == 0 or len(inner) < 2:
            return item
        generator = torch.Generator().manual_seed(view * 7919 + int(item.sum()) % 1_000_003)
        kept = torch.rand(len(inner), generator=generator) >= DROPPED
        kept[int(torch.randint(len(inner), (1,), generator=generator))] = False
        kept[0] |= not bool(kept.any())
        return torch.cat([start, inner[kept], end])

    def _parts(self, item: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What stays at the start, the words, and what stays at the end."""
        last = max(self.ends, len(item) - self.ends)
        return item[: self.ends], item[self.ends : last], item[last:]

    def corrupt(self, item: Tensor, kind: str, strength: int) -> Tensor:
        """A tenth to a half of the words are left out."""
        generator = torch.Generator().manual_seed(int(item.sum()) % 1_000_003)
        start, inner, end = self._parts(item)
        count = max(1, len(inner) - round(len(inner) * strength / 10))
        kept = torch.randperm(len(inner), generator=generator)[:count].sort().values
        return torch.cat([start, inner[kept], end])

    @abstractmethod
    def token_spans(self, text: str, state: State) -> list[tuple[int, int]]:
        """Where each of the items that `read` gives lies in the text: its first character and the
        one behind its last; one span where the items are in no order."""

    def segments(self, cell: Any, root: Path, state: State) -> Segments:
        """The words, or of a long text as many stretches of words as can be looked at; those that
        are hidden are cut out of the text."""
        text = as_text(cell)
        words = _stretches(word_spans(text), text)

        def keep(kept: Kept) -> Tensor:
            left, at = "", 0
            for (start, end), here in zip(words, kept, strict=True):
                left, at = left + text[at:start] + (text[start:end] if here else ""), end
            return self.read(left + text[at:], root, state)

        return Words(text, words, self.token_spans(text, state), keep)

    def samples(self) -> list[Any]:
        """Two short texts."""
        return ["a text of some words", "another text of other words"]

    def fingerprint(self, state: State) -> str:
        """What was learned, and the version of the reading code."""
        return json.dumps([type(self).__name__, READING_VERSION, state], sort_keys=True)

    def picture(self, cell: Any, root: Path, state: State) -> Tensor | None:
        """None: a text has none."""
        return None


def _stretches(words: list[tuple[int, int]], text: str) -> list[tuple[int, int]]:
    """At most so many spans of words in a row; the text itself where it has no words."""
    size = -(-len(words) // MOST_PARTS)
    groups = [words[at : at + size] for at in range(0, len(words), max(1, size))]
    return [(group[0][0], group[-1][1]) for group in groups] or [(0, len(text))]
