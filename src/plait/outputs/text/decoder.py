"""What every text decoder does: read the fused tokens, then say words one after the other.

Shapes: B records, N sentences (several a record), L words, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from plait.types import Fused, State

DecoderState = dict[str, Tensor]
"""All that is kept between two words. Every tensor's first axis is the sentence."""


class Decoder(nn.Module, ABC):
    """Fused -> state; (words, state) -> hidden vectors, attention, next state.

    One run over a whole sentence and a run word by word give the same numbers, so training,
    decoding and explanation share the one `forward`.

    Every decoder is built with ``vocabulary`` (its size), ``width`` (of the fused tokens) and
    ``max_words``; one that `learn` something is given it back as ``state``, with ``pretrained``.
    """

    @classmethod
    def learn(cls, settings: Mapping[str, Any]) -> State:
        """What must be kept in a package of a pretrained model; empty where there is none.

        ``settings`` are the recipe's, resolved: the decoder's kind and parameters.
        """
        return {}

    @abstractmethod
    def start(self, fused: Fused) -> DecoderState:
        """The state before the first word, one row a record (B, ...)."""

    @abstractmethod
    def forward(
        self, words: Tensor, state: DecoderState, attend: bool = False
    ) -> tuple[Tensor, Tensor | None, DecoderState]:
        """Words (N, L) that follow the state -> hidden (N, L, D), attention, next state.

        Attention (N, L, T) says how much each place was looked at for the *next* word; it is
        None unless ``attend``.
        """

    @abstractmethod
    def logits(self, hidden: Tensor) -> Tensor:
        """(..., D) -> (..., V)."""


def select(state: DecoderState, index: Tensor) -> DecoderState:
    """The state's rows ``index`` (N,): to repeat records or to reorder beams."""
    return {name: value.index_select(0, index) for name, value in state.items()}
