"""A pretrained transformer that reads a text's word pieces, of the transformers library.

Shared by the representations that have one. The state keeps the model's architecture and its
tokenizer, so that a package needs neither the hub nor the model's folder.

Shapes: B texts, L pieces, D the model's width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from plait.nn.blocks import freeze, length_mask, masked_mean
from plait.nn.pretrained import build_model, load_config, load_tokenizer, probe, refuse_missing
from plait.types import State

TEXT_TOWER = "text_model"  # of models that also see images


def learn_pieces(name: str) -> State:
    """Architecture and tokenizer of a model on the hub or in a folder.

    Raises:
        PlaitError: there is no such model, or it has no tokenizer of the tokenizers library.
    """
    return {"config": load_config(name), "tokenizer": load_tokenizer(name)["tokenizer"]}


def pieces_reading(state: State, longest: int) -> State:
    """As `Modality.reading`, of a state of `learn_pieces`."""
    return {"kind": "pieces", "longest": longest, "tokenizer": state["tokenizer"]}


class PieceModel(nn.Module):
    """Pieces -> the last layer's vectors, or their mean over the text.

    Args:
        name: read only for pretrained weights.
        state: of `learn_pieces`.
        longest: pieces that are read at the most.
        mean: one vector a text, the mean over its pieces (Reimers and Gurevych 2019,
            arXiv:1908.10084), instead of one a piece.
        pretrained: as in `Modality.encoder`.

    Attributes:
        width: D.
    """

    def __init__(self, name: str, state: State, longest: int, mean: bool, pretrained: bool) -> None:
        super().__init__()
        self.mean = mean
        whole, missing = build_model("AutoModel", name, state["config"], pretrained)
        self.model: nn.Module = _text_part(whole, state["config"]).eval()
        values, used = probe(
            self,
            torch.zeros(1, longest, dtype=torch.int64),
            torch.ones(1, longest, dtype=torch.bool),
            what=f"hub:{name} can't read a text of {longest} pieces",
            expected="a text model with a vector for each piece (last_hidden_state)",
            hint="lower longest, or name another model",
        )
        refuse_missing(name, whole, missing, used)
        self.width = values.shape[-1]
        for p in self.parameters():  # a pooler, say, has nothing to learn here
            p.requires_grad_(id(p) in used)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, L) ids, (B, L) -> (B, L, D), or (B, 1, D) of the mean; padding must be masked."""
        first = torch.zeros_like(mask)
        first[:, 0] = ~mask.any(dim=1)  # attention to nothing at all would be no number
        seen = (mask | first).long()
        values: Tensor = self.model(input_ids=ids, attention_mask=seen).last_hidden_state
        return masked_mean(values, mask)[:, None] if self.mean else values


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

    @torch.no_grad()
    def batch(self, ids: Tensor) -> Tensor:
        """(B, L) ids of texts of one length -> (B, L, D), or (B, 1, D) of the mean."""
        values: Tensor = self.model(ids.long(), torch.ones_like(ids, dtype=torch.bool))
        return values


def _text_part(model: Any, config: State) -> Any:
    """The side that reads: a translator's encoder, the text side of a model that sees images."""
    if config.get("is_encoder_decoder"):
        return model.get_encoder()
    return getattr(model, TEXT_TOWER, model)
