"""Texts as numbers for pretrained vectors and models: of whole words, or of a model's word pieces.
Knows no torch."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import chain

from tokenizers import Tokenizer

from plait.data.vocabulary import split_words, word_spans

UNKNOWN = 0  # the table's words have numbers from 1
# Vectors are of the parts of such words, as in the Penn Treebank: do n't, it 's, well known.
_ENDING = re.compile(r"(?i)(?<=\w)(n't|'\w+)$")


class Numbering(ABC):
    """Numbers a text's words or pieces, cut to the ``longest`` that is read."""

    longest: int

    @abstractmethod
    def __call__(self, text: str) -> list[int]:
        """The numbers."""

    @abstractmethod
    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where in the text each of them lies."""

    @abstractmethod
    def unread(self, text: str) -> str:
        """As `Modality.unread`: whether the text is cut."""


class TableWords(Numbering):
    """By a table of words that have vectors; a word's parts have numbers of their own where the
    word has none."""

    def __init__(self, words: Sequence[str], longest: int) -> None:
        self.numbers = {word: number for number, word in enumerate(words, start=1)}
        self.longest = longest

    def __call__(self, text: str) -> list[int]:
        """By `lookup`, word by word."""
        return self._all(text)[: self.longest]

    def _all(self, text: str) -> list[int]:
        return list(chain(*(lookup(word, self.numbers) for word in words_of(text))))

    def spans(self, text: str) -> list[tuple[int, int]]:
        """A word's for each of its parts that have a vector of their own."""
        whole = [span for span in word_spans(_plain(text)) for _ in self._all(text[slice(*span)])]
        return whole[: self.longest]

    def unread(self, text: str) -> str:
        """With how many words or parts it has."""
        count = len(self._all(text))
        if count <= self.longest:
            return ""
        return f"only the first {self.longest} of its {count:,} words are read"


class Pieces(Numbering):
    """By a model's own tokenizer, of its JSON, with its start and end pieces."""

    def __init__(self, tokenizer: str, longest: int) -> None:
        self.tokenizer, self.longest = Tokenizer.from_str(tokenizer), longest
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(longest)
        # A text that spells a special token is text. The JSON does not keep this.
        self.tokenizer.encode_special_tokens = True

    def __call__(self, text: str) -> list[int]:
        """The tokenizer's ids."""
        return list(self.tokenizer.encode(text).ids)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """The pieces'; their start and end are nowhere."""
        return list(self.tokenizer.encode(text).offsets)

    def unread(self, text: str) -> str:
        """As the tokenizer tells it."""
        cut = bool(self.tokenizer.encode(text).overflowing)
        return f"only its first {self.longest} word pieces are read" if cut else ""


def words_of(text: str) -> list[str]:
    """A text's words and signs as they are written, apostrophes made plain."""
    return split_words(_plain(text), lower=False)


def _plain(text: str) -> str:
    return text.replace("’", "'")


def parts(word: str) -> list[str]:
    """don't -> do, n't; it's -> it, 's; well-known -> well, known."""
    return _ENDING.sub(r" \1", word).replace("-", " ").split() or [word]


def forms(word: str) -> Iterator[str]:
    """What a word may be found as: as it is written, in lower case, and so its parts."""
    for part in (word, *parts(word)):
        yield part
        yield part.lower()


def lookup(word: str, numbers: dict[str, int]) -> list[int]:
    """A word's number, or else its parts'; `UNKNOWN` for what has none."""
    for written in ([word], parts(word)):
        found = [numbers.get(part) or numbers.get(part.lower(), UNKNOWN) for part in written]
        if any(found):
            return found
    return [UNKNOWN]
