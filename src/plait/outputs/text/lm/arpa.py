r"""N-gram models as ARPA files, which other toolkits (SRILM, KenLM, IRSTLM) write and read.

    \data\
    ngram 1=4
    ngram 2=3

    \1-grams:
    -99       <s>    -0.30103
    ...
    \end\

A line is log10 p of the last word after the others, the words, and log10 of the weight that shorter
contexts have where they stand in for this n-gram as a context (0 where it is left out).

Words of a file have no spaces: the space that is a unit of texts in letters stands there as ▁.
"""

from __future__ import annotations

import gzip
import logging
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn

import numpy as np
from pydantic import Field

from plait.config.registry import UserFile, register
from plait.data.vocabulary import BOS, EOS, SPECIALS, UNK, Vocabulary
from plait.outputs.text.lm.base import LanguageModel
from plait.outputs.text.lm.ngram import NEVER_FOLLOWS, Ints, Level, NGram, find
from plait.types import PlaitError, State
from plait.util.files import write_atomically

ARPA_SPECIALS = {BOS: "<s>", EOS: "</s>", UNK: "<unk>"}
UNKNOWN_TOO = b"<UNK>"  # of CMU's and MIT's tools
SPACE = "▁"  # U+2581, as SentencePiece has it
NEVER = -99.0  # log10 p of what can't follow, as SRILM writes it
ROUNDING = 1e-4  # how far above 1 other tools' probabilities may be, as log10 p
BYTE_ORDER = b"\xef\xbb\xbf"  # what Windows' editors put before a file
LN_10 = math.log(10)
EXPECTED = "an ARPA file of n-grams, perhaps gzipped (.gz)"

log = logging.getLogger("plait")

_COUNT = re.compile(rb"ngram\s+(\d+)\s*=\s*(\d+)")


@register("language-model", "arpa")
class ArpaLanguageModel(LanguageModel):
    """An n-gram model from another tool (KenLM, SRILM, MITLM), over the same units."""

    file: Annotated[
        str, Field(description="an ARPA file over the output's units, also .gz"), UserFile()
    ]

    def fit(self, texts: Iterable[Sequence[int]], vocabulary: Vocabulary) -> State:
        """The file's n-grams, see `read_arpa`; the texts are not counted."""
        return read_arpa(Path(self.file), vocabulary.units()).to_state()

    @cached_property
    def ngram(self) -> NGram:
        """The model of the state."""
        return NGram.from_state(self.state)


def write_arpa(path: Path, model: NGram, words: Sequence[str]) -> None:
    """Write the model, gzipped if the name ends in .gz.

    Args:
        path: the file.
        model: what to write.
        words: the text of each id, specials included (`Vocabulary.units`); they are written as ARPA
            has them, and a space as ▁.

    Raises:
        PlaitError: a word can't stand in the file (it is empty, has white space, or is twice or a
            special word's), or the file can't be written.
    """
    names = _names(words, model.vocabulary)

    def write(part: Path) -> None:
        with _open(path, part, "wb") as file:
            file.writelines(f"{line}\n".encode() for line in _lines(model, names))

    write_atomically(path, write)


def _open(path: Path, part: Path, mode: str) -> Any:
    """The file ``part``, gzipped if the name of ``path`` ends in .gz."""
    return (gzip.open if path.suffix.lower() == ".gz" else open)(part, mode)


def _names(words: Sequence[str], vocabulary: int) -> dict[int, str]:
    """Each id's word in the file; padding has none."""
    if len(words) != vocabulary:
        raise ValueError(f"{len(words)} words for {vocabulary} ids")
    own = {i: word.replace(" ", SPACE) for i, word in enumerate(words) if i >= len(SPECIALS)}
    names = {**ARPA_SPECIALS, **own}
    seen: set[str] = set()
    for name in names.values():
        if name in seen or name.encode().split() != [name.encode()]:
            why = "stands twice" if name in seen else "is empty or has white space"
            raise PlaitError(
                f"the word {name!r} can't be in an ARPA file: it {why}",
                expected="words without white space, each once; ▁ is a space",
            )
        seen.add(name)
    return names


def _lines(model: NGram, names: Mapping[int, str]) -> Iterator[str]:
    tables = []  # for each length, its lines
    ids = np.zeros((1, 0), np.int64)  # (n, length) of its n-grams
    for level in model.levels():
        contexts, words = np.divmod(level.codes, model.vocabulary)
        ids = np.column_stack([ids[contexts], words])
        scores = np.maximum(level.scores / LN_10, NEVER).tolist()
        backoffs = np.maximum(level.backoffs / LN_10, NEVER).tolist()
        tables.append(
            [
                f"{score:.8g}\t{' '.join(names[i] for i in gram)}"
                + (f"\t{backoff:.8g}" if backoff else "")
                for gram, score, backoff in zip(ids.tolist(), scores, backoffs, strict=True)
                if all(i in names for i in gram)
            ]
        )
    yield "\\data\\"
    yield from (f"ngram {length}={len(table)}" for length, table in enumerate(tables, 1))
    for length, table in enumerate(tables, 1):
        yield from ("", f"\\{length}-grams:", *table)
    yield from ("", "\\end\\")


def read_arpa(path: Path, words: Sequence[str]) -> NGram:
    """Read a model for a vocabulary, from a gzipped file if the name ends in .gz.

    N-grams with a word that the vocabulary lacks are dropped. Many words would become one <unk>,
    and neither their probabilities after a context nor their weights as contexts can be made one
    number. What they had of the probability is lost, so that a row may sum to less than 1.

    Words that the file lacks have equal shares of what it gives <unk>; where it has no <unk>, they
    can't follow (-inf).

    Args:
        path: the file.
        words: the text of each id, specials included (`Vocabulary.units`); they are named in the
            file as ARPA has them, and a space as ▁.

    Raises:
        PlaitError: the file is missing or damaged (the message names the line), or a word can't be
            in such a file.
    """
    ids = {name.encode(): i for i, name in _names(words, len(words)).items()}
    ids.setdefault(UNKNOWN_TOO, UNK)
    try:
        with _open(path, path, "rb") as file:
            return _Reader(file, path, ids).read(len(words))
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise PlaitError(f"{path} can't be read: {why}", expected=EXPECTED) from None


class _Line(NamedTuple):
    number: int
    ids: list[int]
    score: float
    backoff: float


class _Reader:
    """Goes down the lines of a file.

    Attributes:
        number: of the line read last, from 1.
        dropped: how many n-grams have a word that the vocabulary lacks.
        lacking: the first such word.
    """

    def __init__(self, file: Iterable[bytes], path: Path, ids: Mapping[bytes, int]) -> None:
        self._lines, self._path, self._ids, self.number = file, path, ids, 0
        self.dropped, self.lacking = 0, b""

    def read(self, vocabulary: int) -> NGram:
        """The model."""
        levels: list[Level] = []
        counts = self._counts()
        singles: Ints = np.zeros(0, np.int64)  # the ids that have 1-grams
        for length, count in enumerate(counts, 1):
            if length > 1:
                self._expect(f"\\{length}-grams:".encode())
            lines = [line for line in (self._gram(length) for _ in range(count)) if line]
            level = self._level(lines, length, levels, singles, vocabulary)
            if length == 1:
                singles, level = level.codes, self._whole(level, vocabulary)
            levels.append(level)
        self._expect(b"\\end\\")
        if self.dropped:
            lower = self.lacking.decode(errors="replace").lower()
            case = f" (it has {lower!r})" if lower.encode() in self._ids else ""
            share, word = 100 * self.dropped / sum(counts), _shown(self.lacking)
            log.warning(
                "%s: %.3g %% of the n-grams are left out, as the vocabulary lacks their words, "
                "%s for example%s", self._path, share, word, case,
            )  # fmt: skip
        return NGram.of_levels(vocabulary, [level for level in levels if len(level.codes)])

    def _next(self) -> bytes:
        """The next line that is not empty."""
        for line in self._lines:
            self.number += 1
            if line := line.removeprefix(BYTE_ORDER if self.number == 1 else b"").strip():
                return line
        self.number += 1
        self._stop("the file ends here")

    def _stop(self, what: str, line: int | None = None) -> NoReturn:
        raise PlaitError(f"{self._path} line {line or self.number}: {what}", expected=EXPECTED)

    def _expect(self, wanted: bytes) -> None:
        if (line := self._next()) != wanted:
            self._stop(f"{_shown(line)} where {_shown(wanted)} should be")

    def _counts(self) -> list[int]:
        """How many n-grams of each length the file says that it has; reads on to the first."""
        while self._next() != b"\\data\\":
            pass  # other programs' remarks
        counts: list[int] = []
        while match := _COUNT.fullmatch(line := self._next()):
            if int(match[1]) != len(counts) + 1:
                self._stop(f"{_shown(line)} where the number of {len(counts) + 1}-grams should be")
            counts.append(int(match[2]))
        if not counts or line != b"\\1-grams:":
            self._stop(f"{_shown(line)} where numbers of n-grams, then \\1-grams:, should be")
        return counts

    def _gram(self, length: int) -> _Line | None:
        """The next line, or none if it has a word that the vocabulary lacks."""
        line = self._next()
        score, *words = line.split()
        try:  # log10 p, and log10 of a weight if there is one
            numbers = [float(number) for number in (score, *words[length:])]
        except ValueError:
            numbers = [math.inf]
        right = length <= len(words) <= length + 1
        if not right or not numbers[0] <= ROUNDING or not all(n < math.inf for n in numbers):
            self._stop(f"{_shown(line)} where a {length}-gram should be")
        ids = [self._ids[word] for word in words[:length] if word in self._ids]
        if len(ids) < length:
            self.dropped += 1
            self.lacking = self.lacking or next(w for w in words if w not in self._ids)
            return None
        return _Line(self.number, ids, min(numbers[0], 0.0), sum(numbers[1:]))

    def _level(
        self, lines: list[_Line], length: int, shorter: list[Level], singles: Ints, size: int
    ) -> Level:
        """The n-grams of one length; each without its last word must be in the file, too."""
        ids = np.array([line.ids for line in lines], np.int64).reshape(-1, length)
        codes = ids[:, 0]
        for at, level in enumerate(shorter, 1):
            places, known = find(level.codes, codes)
            if at == 1:  # all ids are there, those that the file lacks too
                known = np.isin(codes, singles)
            if not known.all():
                number = lines[int(np.argmin(known))].number
                self._stop(f"the file has no {at}-gram of its first words", number)
            codes = places * size + ids[:, at]
        order = np.argsort(codes, kind="stable")
        twice = np.flatnonzero(np.diff(codes[order]) == 0)
        if len(twice):
            self._stop("the same words again", lines[order[twice[0] + 1]].number)
        scores = LN_10 * np.array([line.score for line in lines])
        scores[ids[:, -1] == BOS] = -np.inf
        backoffs = LN_10 * np.array([line.backoff for line in lines])
        return Level(codes[order], scores[order], backoffs[order])

    def _whole(self, level: Level, size: int) -> Level:
        """All ids, those that the file lacks too."""
        if EOS not in level.codes:
            self._stop(f"the 1-grams have no {ARPA_SPECIALS[EOS]}")
        scores, backoffs = np.full(size, -np.inf), np.zeros(size)
        scores[level.codes], backoffs[level.codes] = level.scores, level.backoffs
        sharing = np.setdiff1d(np.arange(size), [*level.codes, *NEVER_FOLLOWS])
        sharing = np.union1d(sharing, [UNK])
        scores[sharing] = scores[UNK] - math.log(len(sharing))
        return Level(np.arange(size), scores, backoffs)


def _shown(line: bytes) -> str:
    return repr(line[:60].decode(errors="replace"))
