"""Texts as numbers for pretrained vectors and models: of whole words, or of a model's word pieces.
Knows no torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain

from tokenizers import Tokenizer

from plait.data.vocabulary import split_words, word_spans

UNKNOWN = 0  # the table's words have numbers from 1
# Vectors are of the parts of such words, as in the Penn Treebank: do n't, it 's, well known.
_ENDING = re.compile(r"(?i)(?<=\w)(n't|'\w+)$")


class TableWords:
    """Numbers a text's words by a table of words that have vectors."""

    def __init__(self, words: Sequence[str]) -> None:
        self.numbers = {word: number for number, word in enumerate(words, start=1)}

    def __call__(self, text: str) -> list[int]:
        """By `lookup`, word by word."""
        return list(chain(*(lookup(word, self.numbers) for word in words_of(text))))

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where in the text each of those numbers lies: a word's for each of its parts that have a
        vector of their own."""
        return [
            span for span in word_spans(_plain(text)) for _ in self(text[slice(*span)])
        ]  # fmt: skip


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


def cut_pieces(tokenizer: Tokenizer, text: str, longest: int) -> str:
    """Whether a tokenizer of `make_tokenizer` leaves out some of a text, as a few words."""
    cut = bool(tokenizer.encode(text).overflowing)
    return f"only its first {longest} word pieces are read" if cut else ""


def make_tokenizer(tokenizer: str, longest: int) -> Tokenizer:
    """A model's own tokenizer, of its JSON, with its start and end pieces, cut to ``longest``
    pieces with them."""
    made = Tokenizer.from_str(tokenizer)
    made.no_padding()
    made.enable_truncation(longest)
    # A text that spells a special token is text. The JSON does not keep this.
    made.encode_special_tokens = True
    return made
