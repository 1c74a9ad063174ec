"""The networks of the text representations.

Shapes: B texts, L words or word pieces, V words of a table, E the vectors' width, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from plait.data.vocabulary import PAD, SPECIALS
from plait.modalities.text.bag_of_words import SCALE, BagOfWords
from plait.modalities.text.hub import HubText, TokenizedText
from plait.modalities.text.word_sequence import WordSequence
from plait.modalities.text.word_vectors import MINILM, UNKNOWN, WordVectors, minilm_folder
from plait.nn.base import Encoder, VectorEncoder
from plait.nn.blocks import (
    FrozenPart,
    encode_sequence,
    freeze,
    length_mask,
    make_sequence_encoder,
    masked_mean,
    present_tokens,
    real_tokens,
    zero_after,
)
from plait.nn.pretrained import build_features
from plait.types import Tags, Tokens

TEXT_TOWER = "text_model"  # of models that also see images


class BagEncoder(Encoder):
    """(L, 2) terms and weights -> Tokens (B, 1, width)."""

    def __init__(self, text: BagOfWords, pretrained: bool) -> None:
        super().__init__()
        self.trunk = nn.Identity()
        self.length, self.width, self.dropout = 1, text.width, text.dropout
        self.term = nn.Embedding(len(text.state["terms"]), text.width)
        nn.init.normal_(self.term.weight, std=text.width**-0.5)
        self.bias = nn.Parameter(torch.zeros(text.width))

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, L, 2) -> Tokens (B, 1, width): the terms' vectors, weighed and added."""
        ids, weights = zero_after(prepared, lengths).unbind(dim=-1)  # (B, L) each
        weights = nn.functional.dropout(weights.float() / SCALE, self.dropout, self.training)
        values = torch.einsum("bl,bld->bd", weights, self.term(ids)) + self.bias  # (B, D)
        return present_tokens(values[:, None], lengths > 0)


class BagVectors(VectorEncoder):
    """(L, 2) terms and weights -> Tokens (B, 1, V): the weight of every term, V of them."""

    scaled = True

    def __init__(self, text: BagOfWords, pretrained: bool) -> None:
        super().__init__(text, pretrained)
        self.width = len(text.state["terms"])

    def vectors(self, prepared: Tensor, lengths: Tensor) -> Tensor:
        """(B, L, 2) -> (B, V)."""
        ids, weights = prepared.unbind(dim=-1)  # (B, L) each; the filling has the weight 0
        values = torch.zeros(ids.shape[0], self.width, device=ids.device)
        return values.scatter_add(1, ids.long(), weights.float() / SCALE)


class WordSequenceEncoder(Encoder):
    """(L,) ids -> Tokens (B, L, width)."""

    def __init__(self, text: WordSequence, pretrained: bool) -> None:
        super().__init__()
        self.trunk = nn.Identity()
        self.length, self.width = text.max_length, text.width
        self.tagged = bool(text.tag_names)
        self.embedding = nn.Embedding(len(text.words), text.width, padding_idx=PAD)
        self.drop = nn.Dropout(text.dropout)
        self.sequence = make_sequence_encoder(text, text.max_length)

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, L) ids -> Tokens (B, L, width)."""
        ids = zero_after(prepared, lengths)  # zero is `PAD`
        tokens = encode_sequence(self.sequence, self.drop(self.embedding(ids)), lengths)
        if not self.tagged:
            return tokens
        names = ids.long() - len(SPECIALS)
        return replace(tokens, tags=Tags(names.clamp(min=0), (names >= 0).float()))


class PieceModel(FrozenPart):
    """A pretrained transformer: pieces -> the last layer's vectors, or with ``mean`` their mean
    (Reimers and Gurevych 2019, arXiv:1908.10084).

    Attributes:
        width: D.
    """

    width: int

    def __init__(self, model: nn.Module, mean: bool) -> None:
        super().__init__(f"mean={mean}")
        self.model, self.mean = model, mean

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, L) ids, (B, L) -> (B, L, D), or (B, 1, D) of the mean; padding must be masked."""
        first = torch.zeros_like(mask)
        first[:, 0] = ~mask.any(dim=1)  # attention to nothing at all would be no number
        seen = (mask | first).long()
        values: Tensor = self.model(input_ids=ids, attention_mask=seen).last_hidden_state
        return masked_mean(values, mask)[:, None] if self.mean else values


def build_pieces(name: str, text: TokenizedText, mean: bool, pretrained: bool) -> PieceModel:
    """The model of a text whose state is of `load_pieces`; ``name`` is read if ``pretrained``."""
    config, size = text.state["config"], text.max_length

    def reading_side(whole: Any) -> nn.Module:
        """A translator's encoder, the text side of a model that sees, or all of it."""
        is_translator = config.get("is_encoder_decoder")
        return whole.get_encoder() if is_translator else getattr(whole, TEXT_TOWER, whole)

    model, values = build_features(
        name,
        config,
        pretrained,
        lambda whole: PieceModel(reading_side(whole), mean),
        (torch.zeros(1, size, dtype=torch.int64), torch.ones(1, size, dtype=torch.bool)),
        what=f"hub:{name} can't read a text of {size} pieces",
        expected="a text model with a vector for each piece (last_hidden_state)",
        hint="lower max_length, or name another model",
    )
    model.width = values.shape[-1]
    return model


class FrozenPieces(nn.Module):
    """A `PieceModel` that stays as it is, as the frozen part of an encoder."""

    def __init__(self, model: PieceModel) -> None:
        super().__init__()
        self.model = model
        freeze(model)

    @torch.no_grad()
    def forward(self, items: list[Tensor]) -> list[Tensor]:
        """Texts' ids (L,) each -> (L, D) each, or (1, D) of the mean."""
        ids = nn.utils.rnn.pad_sequence(items, batch_first=True)
        lengths = torch.tensor([len(item) for item in items], device=ids.device)
        if not ids.shape[1]:  # a tokenizer may find nothing in a text
            return [ids.new_zeros(0, self.model.width).float() for _ in items]
        values = self.model(ids.long(), length_mask(lengths, ids.shape[1]))
        return [row[: len(item)] for row, item in zip(values, items, strict=True)]


class FromIds(Encoder):
    """An encoder whose frozen part, if any, is a `PieceModel`."""

    def prepare(self, items: Sequence[Tensor]) -> list[Tensor]:
        """The frozen model's vectors (L, D) or (1, D); the ids (L,) if there is none."""
        return self.trunk(list(items))

    @torch.no_grad()
    def prepare_batch(self, batch: Tensor) -> Tensor:
        """(B, L) ids of texts of one length -> (B, L, D) or (B, 1, D), or the ids."""
        if not isinstance(self.trunk, FrozenPieces):
            return batch
        values: Tensor = self.trunk.model(batch.long(), torch.ones_like(batch, dtype=torch.bool))
        return values


class HubTextEncoder(FromIds):
    """(L,) ids -> Tokens (B, L, D), or (B, 1, D) of the mean."""

    pretrained = True

    def __init__(self, text: HubText, pretrained: bool) -> None:
        super().__init__()
        mean = text.tokens == "text"
        model = build_pieces(text.name, text, mean, pretrained)
        frozen = text.train == "frozen"
        self.width, self.length = model.width, 1 if mean else text.max_length
        self.trunk: nn.Module = FrozenPieces(model) if frozen else nn.Identity()
        self.top = None if frozen else model

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, L) ids or (B, L, D) -> Tokens."""
        if self.top is None:
            return real_tokens(prepared, lengths)
        return encode_sequence(self.top, zero_after(prepared, lengths), lengths)


class VectorsEncoder(FromIds):
    """(L,) ids -> Tokens (B, L, width), or (B, 1, width) of the mean."""

    def __init__(self, text: WordVectors, pretrained: bool) -> None:
        super().__init__()
        mean, state = text.sequence_encoder == "mean", text.state
        if text.is_table:
            size = state["size"]
            self.trunk: nn.Module = nn.Identity()
            self.vectors: VectorTable | None = VectorTable(len(state["words"]), size)
            if pretrained:
                self.vectors.fill(text.word_vectors())
        else:
            folder = minilm_folder() if pretrained else MINILM
            model = build_pieces(folder, text, mean, pretrained)
            self.trunk, self.vectors, size = FrozenPieces(model), None, model.width
        self.width, self.length = text.width, 1 if mean else text.max_length
        self.drop = nn.Dropout(text.dropout)
        self.project = nn.Linear(size, text.width)
        self.sequence = make_sequence_encoder(text, text.max_length)

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, L) or (B, L, E) -> Tokens."""
        values = zero_after(prepared, lengths)
        vectors = self.vectors(values) if self.vectors else values  # (B, L, E)
        return encode_sequence(self.sequence, self.project(self.drop(vectors)), lengths)


class TextVectors(VectorEncoder):
    """(L,) ids -> Tokens (B, 1, E): the mean of the words' vectors."""

    def __init__(self, text: WordVectors, pretrained: bool) -> None:
        super().__init__(text, pretrained)
        usual = self.usual
        assert isinstance(usual, VectorsEncoder)
        self.table = usual.vectors and freeze(usual.vectors)
        self.width = usual.project.in_features

    def vectors(self, prepared: Tensor, lengths: Tensor) -> Tensor:
        """(B, L) or (B, L, E) -> (B, E)."""
        values = self.table(prepared) if self.table else prepared
        return masked_mean(values, length_mask(lengths, values.shape[1]))


class VectorTable(nn.Module):
    """Words' frozen vectors, (V, E), and the learned one of unknown words."""

    def __init__(self, words: int, size: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.zeros(words, size), requires_grad=False)
        self.unknown = nn.Parameter(torch.zeros(size))

    @torch.no_grad()
    def fill(self, vectors: NDArray[np.float32]) -> None:
        """Set the vectors (V, E); the unknown one starts at their mean."""
        self.embedding.copy_(torch.from_numpy(vectors))
        self.unknown.copy_(self.embedding.mean(dim=0))

    def forward(self, ids: Tensor) -> Tensor:
        """(B, L) ids -> (B, L, E)."""
        known = nn.functional.embedding((ids - 1).clamp(min=0), self.embedding)
        return torch.where((ids == UNKNOWN)[..., None], self.unknown, known)
