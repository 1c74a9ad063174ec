"""Texts to the ids of pretrained vectors and models: of words, or of a model's word pieces."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import chain

from tokenizers import Tokenizer as HubTokenizer

from plait.data.vocabulary import split_words, word_spans
from plait.nn.hub import load_config, load_tokenizer
from plait.types import State

UNKNOWN = 0  # the table's words have ids from 1
# Vectors are of the parts of such words, as in the Penn Treebank: do n't, it 's, well known.
_ENDING = re.compile(r"(?i)(?<=\w)(n't|'\w+)$")


class Tokenizer(ABC):
    """Turns a text's words or pieces into ids, cut to ``max_length`` of them."""

    max_length: int

    @abstractmethod
    def token_ids(self, text: str) -> list[int]:
        """The ids."""

    @abstractmethod
    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where each of them lies in the text."""

    @abstractmethod
    def unread(self, text: str) -> str:
        """As `Modality.unread`: whether the text is cut."""


class TableTokenizer(Tokenizer):
    """By a table of words that have vectors; a word that has none becomes its parts that do."""

    def __init__(self, words: Sequence[str], max_length: int) -> None:
        self.ids = {word: number for number, word in enumerate(words, start=1)}
        self.max_length = max_length

    def _all(self, text: str) -> list[int]:
        return list(chain(*(lookup(word, self.ids) for word in words_of(text))))

    def token_ids(self, text: str) -> list[int]:
        """By `lookup`, word by word."""
        return self._all(text)[: self.max_length]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """A word's for each of its parts that have a vector of their own."""
        whole = [span for span in word_spans(_plain(text)) for _ in self._all(text[slice(*span)])]
        return whole[: self.max_length]

    def unread(self, text: str) -> str:
        """With how many words or parts it has."""
        count = len(self._all(text))
        if count <= self.max_length:
            return ""
        return f"only the first {self.max_length} of its {count:,} words are read"


class PieceTokenizer(Tokenizer):
    """A model's own tokenizer, from its JSON, with its start and end pieces."""

    def __init__(self, tokenizer: str, max_length: int) -> None:
        self.tokenizer, self.max_length = HubTokenizer.from_str(tokenizer), max_length
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_length)
        # A text that spells a special token is text. The JSON does not keep this.
        self.tokenizer.encode_special_tokens = True

    def token_ids(self, text: str) -> list[int]:
        """The tokenizer's ids."""
        return list(self.tokenizer.encode(text).ids)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """The pieces'; their start and end are nowhere."""
        return list(self.tokenizer.encode(text).offsets)

    def unread(self, text: str) -> str:
        """As the tokenizer tells it."""
        cut = bool(self.tokenizer.encode(text).overflowing)
        return f"only its first {self.max_length} word pieces are read" if cut else ""


def load_pieces(name: str) -> State:
    """Architecture and tokenizer of a model on the hub or in a folder, so that a package needs
    neither.

    Raises:
        PlaitError: there is no such model, or it has no tokenizer of the tokenizers library.
    """
    return {"config": load_config(name), "tokenizer": load_tokenizer(name)["tokenizer"]}


def words_of(text: str) -> list[str]:
    """A text's words and signs as they are written, apostrophes made plain."""
    return split_words(_plain(text), lower=False)


def _plain(text: str) -> str:
    return text.replace("’", "'")


def parts(word: str) -> list[str]:
    """don't -> do, n't; it's -> it, 's; well-known -> well, known."""
    return _ENDING.sub(r" \1", word).replace("-", " ").split() or [word]


def forms(word: str) -> Iterator[str]:
    """The forms in which a word may be in a table: as written, in lower case, and so its parts."""
    for part in (word, *parts(word)):
        yield part
        yield part.lower()


def lookup(word: str, ids: dict[str, int]) -> list[int]:
    """A word's id, or else its parts'; `UNKNOWN` for what has none."""
    for written in ([word], parts(word)):
        known = [ids.get(part) or ids.get(part.lower(), UNKNOWN) for part in written]
        if any(known):
            return known
    return [UNKNOWN]
