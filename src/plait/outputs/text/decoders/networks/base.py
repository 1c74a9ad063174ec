"""The contract of a decoder's network: read the fused tokens, then score one text token after the
other.

Shapes: B records, N texts (several a record), L text tokens, T input tokens, D width, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from plait.types import Fused


@dataclass(frozen=True)
class DecoderState:
    """All that is kept between two tokens. Every tensor's first axis is the text.

    Attributes:
        memory: made from the input, the same for all texts of a record.
        past: made from the tokens so far.
    """

    memory: dict[str, Tensor]
    past: dict[str, Tensor]

    def select(self, index: Tensor) -> DecoderState:
        """The rows ``index`` (N,): to repeat, reorder or leave out texts."""
        return DecoderState(_rows(self.memory, index), _rows(self.past, index))

    def reorder(self, index: Tensor) -> DecoderState:
        """`select` for an index that keeps every record's texts in that record's rows: the memory,
        the larger part, is not copied."""
        return DecoderState(self.memory, _rows(self.past, index))

    @classmethod
    def together(cls, states: Mapping[str, DecoderState]) -> DecoderState:
        """Several networks' states as one, each under its name."""
        return cls(
            {
                f"{name}/{key}": v
                for name, state in states.items()
                for key, v in state.memory.items()
            },
            {f"{name}/{key}": v for name, state in states.items() for key, v in state.past.items()},
        )

    def of(self, name: str) -> DecoderState:
        """One of the states that are `together`."""
        return DecoderState(under(f"{name}/", self.memory), under(f"{name}/", self.past))

    def __len__(self) -> int:
        return len(next(iter(self.memory.values())))

    @property
    def device(self) -> torch.device:
        """The device of the tensors."""
        return next(iter(self.memory.values())).device


def _rows(tensors: Mapping[str, Tensor], index: Tensor) -> dict[str, Tensor]:
    return {name: value.index_select(0, index) for name, value in tensors.items()}


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names start with a prefix, by the rest of their names."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


class DecoderNetwork(nn.Module, ABC):
    """Fused -> state; (tokens, state) -> hidden vectors, attention, next state.

    Running over a whole text and running token by token give the same results, so training,
    decoding and explanation share the one `forward`.
    """

    final_scores: bool = False
    """As `Decoder.final_scores`: `logits` are log-probabilities already, without a softmax."""

    @abstractmethod
    def start(self, fused: Fused) -> DecoderState:
        """The state before the first token, one row a record (B, ...)."""

    @abstractmethod
    def forward(
        self, tokens: Tensor, state: DecoderState, attend: bool = False
    ) -> tuple[Tensor, Tensor | None, DecoderState]:
        """Append tokens to the texts of a state.

        Args:
            tokens: (N, L).
            state: of N texts.
            attend: whether to return the attention.

        Returns:
            Hidden vectors (N, L, D), of which `logits` makes the scores of each *next* token; how
            much each place attended to the input's tokens for it, (N, L, T), None without
            ``attend``; and the state after the tokens.
        """

    @abstractmethod
    def logits(self, hidden: Tensor) -> Tensor:
        """(..., D) -> (..., V)."""

    def sequence_loss(
        self, fused: Fused, owners: Sequence[int], texts: Sequence[Sequence[int]]
    ) -> Tensor | None:
        """The loss of a network that does not learn token by token; None for one that does.

        Args:
            fused: B records.
            owners: each text's record.
            texts: N of them, as token ids with the end token.
        """
        return None


def log_scores(decoder: DecoderNetwork, hidden: Tensor) -> Tensor:
    """(..., D) -> (..., V) log-probabilities of the next token."""
    scores = decoder.logits(hidden).float()
    return scores if decoder.final_scores else scores.log_softmax(-1)
