"""`hub:NAME`: the word pieces' vectors of any text model of the transformers library.

NAME is a model's name on the Hugging Face Hub or a local folder in its format (BERT, RoBERTa,
DistilBERT, MPNet, the encoder of T5, the text side of CLIP...). The weights' origin and licence
are the model's own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from pydantic import Field
from tokenizers import Tokenizer as Pieces

from plait.config.registry import register
from plait.data.cells import as_text
from plait.modalities.base import Item
from plait.modalities.text.base import Text
from plait.nn.hub import HubName, HubTrain, load_config, load_tokenizer
from plait.types import State


class Tokenizer(Protocol):
    """Turns a text's words or pieces into ids, at most ``max_length`` of them."""

    def token_ids(self, text: str) -> list[int]:
        """The ids."""

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where each of them lies in the text."""

    def unread(self, text: str) -> str:
        """As `Modality.unread`: whether the text is cut."""


class PieceTokenizer:
    """A model's own `Tokenizer`, from its JSON, with its start and end pieces."""

    def __init__(self, tokenizer: str, max_length: int) -> None:
        self.tokenizer, self.max_length = Pieces.from_str(tokenizer), max_length
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_length)
        # A text that spells a special token is text. The JSON does not keep this.
        self.tokenizer.encode_special_tokens = True

    def token_ids(self, text: str) -> list[int]:
        """The pieces' ids."""
        return list(self.tokenizer.encode(text).ids)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """The pieces'; their start and end are nowhere."""
        return list(self.tokenizer.encode(text).offsets)

    def unread(self, text: str) -> str:
        """Whether pieces are left over."""
        cut = bool(self.tokenizer.encode(text).overflowing)
        return f"only its first {self.max_length} word pieces are read" if cut else ""


class TokenizedText(Text):
    """A text as the ids of a `Tokenizer`: (L,) int32, with the tokenizer's start and end."""

    reads_whole = False
    max_length: int = Field(
        128, ge=4, le=4096, description="texts are cut to this many words or word pieces"
    )

    @property
    @abstractmethod
    def tokenizer(self) -> Tokenizer:
        """As the state has it; kept, as every cell asks for it."""

    def read(self, cell: Any, root: Path) -> Item:
        """(L,) int32."""
        return np.array(self.tokenizer.token_ids(as_text(cell)), np.int32)

    def unread(self, cell: Any, root: Path) -> str:
        """Whether it is cut."""
        return self.tokenizer.unread(as_text(cell))

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """The words' or pieces'; a start and an end are nowhere."""
        return self.tokenizer.spans(text)

    def example(self) -> Item:
        """As many words or pieces as are read."""
        return np.ones(self.max_length, np.int32)


def load_pieces(name: str) -> State:
    """Architecture and tokenizer of a model on the Hub or in a folder, so that a package needs
    neither.

    Raises:
        PlaitError: there is no such model, or it has no tokenizer of the tokenizers library.
    """
    return {"config": load_config(name), "tokenizer": load_tokenizer(name)["tokenizer"]}


@register("text", "hub")
class HubText(TokenizedText):
    """Any text model of the Hugging Face Hub, or of a local folder in its format."""

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
