"""Text <-> token ids: by words, by subwords (byte-pair encoding of `tokenizers`), by characters, or
by a pretrained language model's own tokens."""

from __future__ import annotations

import re
import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, Literal

from plait.types import PlaitError, State

PAD, BOS, EOS, UNK = 0, 1, 2, 3
SPECIALS = ("<pad>", "<start>", "<end>", "<unk>")

# Thai, Lao, Tibetan, Burmese, Khmer, kana and Chinese characters, which have no spaces between
# words: each, with the signs above and below it, counts as a word.
_UNSPACED = (
    "\u0e01-\u0e30\u0e32-\u0e33\u0e40-\u0e46\u0e81-\u0eb0\u0eb2-\u0eb3\u0ebd-\u0ec6\u0f40-\u0f6c"
    "\u1000-\u102a\u1780-\u17b3\u3041-\u3096\u30a1-\u30fa\u30fc\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_MARKS = (
    "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ecd\u0f71-\u0fbc\u102b-\u103e\u17b4-\u17d3"
    "\u3099\u309a"
)
CHARACTER = rf"[{_UNSPACED}][{_MARKS}]*"
"""Matches a character of a script without spaces."""
LETTERS = rf"[^\W{_UNSPACED}]+"
"""Matches letters of other scripts, and digits."""
EMOJI = r"[\u2600-\u27bf\U0001f300-\U0001faff]"
"""Matches a picture that says as much as a word."""
# A number with its separators, a word with its inner apostrophes and hyphens, or one sign.
_WORD = re.compile(rf"\d+(?:[.,]\d+)+|{CHARACTER}|{LETTERS}(?:[-'’]{LETTERS})*|[^\w\s]")
_BETWEEN = re.compile(rf"(?<=[{_UNSPACED}{_MARKS}])\s+(?=[{_UNSPACED}])")
_NO_SPACE_BEFORE = re.compile(r"\s+([.,!?;:%)\]}。，、！？；：）」』])")
_NO_SPACE_AFTER = re.compile(r"([(\[{$#（「『]|[。，、！？；：])\s+")

Unit = Literal["words", "subwords", "characters", "hub"]
"""What a token is; ``hub``: a token of the ``hub:NAME`` decoder's own tokenizer."""


def split_words(sentence: str, punctuation: bool = True, lower: bool = True) -> list[str]:
    """Words, lower-cased or as they are written, with punctuation apart (or left out)."""
    words = _WORD.findall(sentence.lower() if lower else sentence)
    return words if punctuation else [w for w in words if w[0].isalnum() or w[0] == "_"]


def word_spans(sentence: str) -> list[tuple[int, int]]:
    """The start and end of each word and sign of `split_words`, punctuation included."""
    return [match.span() for match in _WORD.finditer(sentence)]


def join_words(words: Sequence[str]) -> str:
    """Words as a text: no space before a full stop, after a bracket, or in scripts without any."""
    text = _BETWEEN.sub("", " ".join(words))
    return _NO_SPACE_AFTER.sub(r"\1", _NO_SPACE_BEFORE.sub(r"\1", text))


class Vocabulary(ABC):
    """Text <-> token ids. Ids 0 to 3 are padding, start, end and unknown."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def encode(self, sentence: str) -> list[int]:
        """The token ids of a text, without start and end."""

    @abstractmethod
    def units(self) -> list[str]:
        """The text of every id, all distinct, specials included; not always readable."""

    @abstractmethod
    def spans(self, sentence: str) -> list[tuple[int, int]]:
        """The start and end of each token of `encode` in the text."""

    @abstractmethod
    def pieces(self, ids: Sequence[int]) -> list[str]:
        """A readable string for each id, specials left out."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """The text, specials left out."""

    @abstractmethod
    def to_state(self) -> State:
        """Plain JSON, from which `load_vocabulary` makes the same vocabulary."""

    def with_words(self, words: Iterable[str], size: int) -> Vocabulary:
        """With these words too, after the others and until there are ``size`` entries; only a
        vocabulary of words takes any."""
        return self


class _Listed(Vocabulary):
    """The words or characters that occur often enough, most frequent first."""

    def __init__(self, entries: Sequence[str], lower: bool) -> None:
        self.entries, self.lower = [*SPECIALS, *entries], lower

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {entry: i for i, entry in enumerate(self.entries) if i > UNK}

    @abstractmethod
    def _split(self, sentence: str) -> Sequence[str]: ...

    def __len__(self) -> int:
        return len(self.entries)

    def encode(self, sentence: str) -> list[int]:
        return [self._ids.get(entry, UNK) for entry in self._split(sentence)]

    def units(self) -> list[str]:
        return list(self.entries)

    def pieces(self, ids: Sequence[int]) -> list[str]:
        return [self.entries[i] for i in ids if i > UNK]


class WordVocabulary(_Listed):
    """Words; those that are too rare are unknown."""

    def __init__(self, words: Sequence[str], punctuation: bool = True, lower: bool = True) -> None:
        super().__init__(words, lower)
        self.punctuation = punctuation

    def _split(self, sentence: str) -> list[str]:
        return split_words(sentence, self.punctuation, self.lower)

    def spans(self, sentence: str) -> list[tuple[int, int]]:
        """The words'."""
        spans = word_spans(sentence)
        return [(a, b) for a, b in spans if split_words(sentence[a:b], self.punctuation)]

    def decode(self, ids: Sequence[int]) -> str:
        """The words joined."""
        return join_words(self.pieces(ids))

    def with_words(self, words: Iterable[str], size: int) -> WordVocabulary:
        """Those that are single words by its own way of splitting."""
        known = {*self.entries, *SPECIALS}
        new = [w for w in dict.fromkeys(words) if w not in known and self._split(w) == [w]]
        entries = [*self.entries[len(SPECIALS) :], *new]
        most = max(size, len(self.entries)) - len(SPECIALS)
        return WordVocabulary(entries[:most], self.punctuation, self.lower)

    def to_state(self) -> State:
        """The list of words."""
        settings = {"punctuation": self.punctuation, "lower": self.lower}
        return {"unit": "words", "words": self.entries[len(SPECIALS) :], **settings}


class CharacterVocabulary(_Listed):
    """Characters, a space among them; those that are too rare are unknown."""

    def __init__(self, characters: Sequence[str], lower: bool = True) -> None:
        super().__init__(characters, lower)

    def _split(self, sentence: str) -> str:
        return _as_characters(sentence, self.lower)

    def spans(self, sentence: str) -> list[tuple[int, int]]:
        """The characters', an accent with the letter before it."""
        starts = [at for at, c in enumerate(sentence) if not at or not unicodedata.combining(c)]
        return list(zip(starts, [*starts[1:], len(sentence)], strict=True))

    def decode(self, ids: Sequence[int]) -> str:
        """The characters joined, nothing added or taken away."""
        return "".join(self.pieces(ids))

    def to_state(self) -> State:
        """The characters as one string."""
        characters = "".join(self.entries[len(SPECIALS) :])
        return {"unit": "characters", "characters": characters, "lower": self.lower}


class HubVocabulary(Vocabulary):
    """A pretrained language model's own tokens, their order kept, after the same four specials.

    The tokenizer's special tokens (start, end, padding, reserved...) are replaced by plait's
    four.
    """

    def __init__(self, tokenizer_json: str, specials: Sequence[int]) -> None:
        from tokenizers import Tokenizer  # slow to import

        self._json, self._specials = tokenizer_json, list(specials)
        self._tokenizer = Tokenizer.from_str(tokenizer_json)

    @cached_property
    def tokens(self) -> list[int]:
        """The tokenizer's id for each of plait's from 4 on."""
        known = self._tokenizer.get_vocab(with_added_tokens=True).values()
        return sorted(set(known) - set(self._specials))

    @cached_property
    def _ids(self) -> dict[int, int]:
        return {token: i for i, token in enumerate(self.tokens, start=len(SPECIALS))}

    def _encoded(self, sentence: str) -> Any:
        return self._tokenizer.encode(sentence, add_special_tokens=False)

    def _theirs(self, ids: Sequence[int]) -> list[int]:
        return [self.tokens[i - len(SPECIALS)] for i in ids if i > UNK]

    def __len__(self) -> int:
        return len(SPECIALS) + len(self.tokens)

    def encode(self, sentence: str) -> list[int]:
        """As the tokenizer does, nothing added; its special tokens become <unk>."""
        return [self._ids.get(token, UNK) for token in self._encoded(sentence).ids]

    def units(self) -> list[str]:
        """The tokens as the tokenizer writes them."""
        return [*SPECIALS, *(str(self._tokenizer.id_to_token(token)) for token in self.tokens)]

    def spans(self, sentence: str) -> list[tuple[int, int]]:
        """As the tokenizer has them."""
        return list(self._encoded(sentence).offsets)

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The tokens."""
        return [self._tokenizer.decode([token]).strip() for token in self._theirs(ids)]

    def decode(self, ids: Sequence[int]) -> str:
        """The tokens joined to a sentence."""
        text: str = self._tokenizer.decode(self._theirs(ids))
        return text.strip()

    def to_state(self) -> State:
        """The tokenizer's own JSON, and which of its tokens are special."""
        return {"unit": "hub", "tokenizer": self._json, "specials": self._specials}


class SubwordVocabulary(HubVocabulary):
    """Byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909) with the same four specials.
    Every text has an encoding; bytes are the last resort."""

    def __init__(self, tokenizer_json: str) -> None:
        super().__init__(tokenizer_json, specials=range(len(SPECIALS)))
        # A text that spells a special token is plain text. The JSON does not keep this setting.
        self._tokenizer.encode_special_tokens = True

    def decode(self, ids: Sequence[int]) -> str:
        """The subwords joined to words."""
        return join_words(super().decode(ids).split())

    def to_state(self) -> State:
        """The tokenizer's own JSON."""
        return {"unit": "subwords", "tokenizer": self._json}


def fit_vocabulary(
    sentences: Iterable[str],
    unit: Unit,
    min_count: int,
    size: int,
    punctuation: bool,
    lower: bool = True,
) -> Vocabulary:
    """The vocabulary of the training texts.

    Args:
        sentences: all of them, once.
        unit: what a token is; not ``hub``.
        min_count: rarer words or characters are unknown, rarer pairs are not joined to subwords.
        size: the maximum number of entries, specials included.
        punctuation: whether punctuation is kept, as words of its own.
        lower: whether texts are lower-cased.
    """
    if unit == "subwords":
        return _fit_subwords(sentences, min_count, size, lower)
    if unit == "characters":
        counts = Counter(c for s in sentences for c in _as_characters(s, lower))
        return CharacterVocabulary(_frequent(counts, "character", min_count, size), lower)
    counts = Counter(w for s in sentences for w in split_words(s, punctuation, lower))
    return WordVocabulary(_frequent(counts, "word", min_count, size), punctuation, lower)


def _as_characters(sentence: str, lower: bool) -> str:
    """Normalised: an accented letter is one character, however it was typed."""
    return unicodedata.normalize("NFC", sentence.lower() if lower else sentence)


def _frequent(counts: Counter[str], what: str, min_count: int, size: int) -> list[str]:
    """Those that occur often enough, most frequent first, as many as there is room for."""
    # Ties are broken by the alphabet, so that the order of the rows does not matter.
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    kept = [w for w, n in ranked if n >= min_count][: size - len(SPECIALS)]
    if not kept:
        raise PlaitError(
            f"no {what} occurs {min_count} times in the training texts",
            hint="lower the vocabulary's min_count, or give more texts",
        )
    return kept


def _fit_subwords(sentences: Iterable[str], min_count: int, size: int, lower: bool) -> Vocabulary:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token=SPECIALS[UNK]))
    case = [normalizers.Lowercase()] if lower else []
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), *case])  # kept in its JSON
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=min_count,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences, trainer)
    return SubwordVocabulary(tokenizer.to_str())


def load_vocabulary(state: State) -> Vocabulary:
    """The vocabulary that `Vocabulary.to_state` wrote."""
    if state["unit"] == "subwords":
        return SubwordVocabulary(state["tokenizer"])
    if state["unit"] == "hub":
        return HubVocabulary(state["tokenizer"], state["specials"])
    lower = state.get("lower", True)  # older packages have no such entry
    if state["unit"] == "characters":
        return CharacterVocabulary(state["characters"], lower)
    return WordVocabulary(state["words"], state["punctuation"], lower)
