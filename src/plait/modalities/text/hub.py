"""`hub:NAME`: the word pieces' vectors of any text model of the transformers library.

NAME is a model's name on the Hugging Face hub or a local folder in its format (BERT, RoBERTa,
DistilBERT, MPNet, the encoder of T5, the text side of CLIP...). The weights' origin and licence
are the model's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from plait.config.registry import register
from plait.data.texts import as_text
from plait.modalities.base import Encoder
from plait.modalities.text.base import Text
from plait.modalities.text.numbering import Pieces
from plait.modalities.text.pieces import FrozenPieces, PieceModel, learn_pieces, pieces_reading
from plait.nn.blocks import length_mask
from plait.nn.pretrained import HubName, HubTrain
from plait.types import State, Tokens


@register("text", "hub")
class HubText(Text):
    """Any text model of the Hugging Face hub, or of a local folder in its format."""

    reads_whole = False

    def __init__(
        self,
        *,
        name: HubName,
        train: HubTrain = "frozen",
        tokens: Annotated[
            Literal["pieces", "text"],
            Field(description="a token for each word piece, or their mean for the whole text"),
        ] = "pieces",
        longest: Annotated[
            int, Field(ge=4, le=4096, description="texts are cut to this many word pieces")
        ] = 128,
        views: Annotated[
            int, Field(ge=1, le=16, description="augmented versions (pieces left out) to cache")
        ] = 1,
    ) -> None:
        super().__init__(views, ends=1)
        self.name, self.trained, self.longest, self.mean = name, train, longest, tokens == "text"

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """The model's architecture and tokenizer, so that a package needs no hub."""
        return learn_pieces(self.name)

    def reading(self, state: State) -> State:
        """The tokenizer."""
        return pieces_reading(state, self.longest)

    def read(self, cell: Any, root: Path, state: State) -> Tensor:
        """(L,) the tokenizer's ids, int32, with its start and end."""
        return torch.tensor(self._pieces(state)(as_text(cell)), dtype=torch.int32)

    def unread(self, cell: Any, root: Path, state: State) -> str:
        """Whether it is cut."""
        return self._pieces(state).unread(as_text(cell))

    def token_spans(self, text: str, state: State) -> list[tuple[int, int]]:
        """The pieces'; its start and end are nowhere."""
        return self._pieces(state).spans(text)

    def _pieces(self, state: State) -> Pieces:
        return self.made_of(state, lambda its: Pieces(its["tokenizer"], self.longest))

    def example(self, state: State) -> Tensor:
        """As many pieces as are read."""
        return torch.zeros(self.longest, dtype=torch.int32)

    def encoder(self, state: State, pretrained: bool) -> Encoder:
        """The model; its weights come from the hub or the folder only if ``pretrained``."""
        model = PieceModel(self.name, state, self.longest, self.mean, pretrained)
        return HubTextEncoder(model, self.trained == "frozen", self.longest)


class HubTextEncoder(Encoder):
    """(L,) ids -> Tokens (B, L, D), or (B, 1, D) of the mean."""

    pretrained = True

    def __init__(self, model: PieceModel, frozen: bool, longest: int) -> None:
        super().__init__()
        self.width, self.length = model.width, 1 if model.mean else longest
        self.trunk: nn.Module = FrozenPieces(model) if frozen else nn.Identity()
        self.top = None if frozen else model

    def prepare(self, items: Sequence[Tensor]) -> list[Tensor]:
        """The frozen model's vectors (L, D) or (1, D); the ids as they are if it learns."""
        return self.trunk(list(items))

    def prepare_batch(self, batch: Tensor) -> Tensor:
        """(B, L) ids -> (B, L, D) or (B, 1, D), or the ids as they are."""
        return self.trunk.batch(batch) if isinstance(self.trunk, FrozenPieces) else batch

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, L) ids or (B, L, D) -> Tokens."""
        mask = length_mask(lengths, prepared.shape[1])
        values = prepared
        if self.top is not None:
            values = self.top(torch.where(mask, prepared, 0), mask)
        mask = mask[:, : values.shape[1]]  # of a mean's one token: whether there is a text
        return Tokens(torch.where(mask[..., None], values, 0.0), mask)
