"""`hub:NAME`: the word pieces' vectors of any text model of the transformers library.

NAME is a model's name on the Hugging Face hub or a local folder in its format (BERT, RoBERTa,
DistilBERT, MPNet, the encoder of T5, the text side of CLIP...). The weights' origin and licence
are the model's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from plait.config.registry import register
from plait.modalities.text.base import TokenizedText
from plait.modalities.text.tokenizer import PieceTokenizer, load_pieces
from plait.nn.hub import HubName, HubTrain
from plait.types import State


@register("text", "hub")
class HubText(TokenizedText):
    """Any text model of the Hugging Face hub, or of a local folder in its format."""

    encoder_class = "plait.modalities.text.networks.HubTextEncoder"

    name: HubName
    train: HubTrain = "frozen"
    tokens: Literal["pieces", "text"] = Field(
        "pieces", description="a token for each word piece, or their mean for the whole text"
    )

    @property
    def ends(self) -> int:
        """A start and an end."""
        return 1

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """The model's architecture and tokenizer."""
        return load_pieces(self.name)

    @cached_property
    def tokenizer(self) -> PieceTokenizer:
        """The model's own."""
        return PieceTokenizer(self.state["tokenizer"], self.max_length)
