"""What every text decoder does: read the fused tokens, then say words one after the other.

Shapes: B records, N sentences (several a record), L words, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from plait.types import Fused, State


@dataclass(frozen=True)
class DecoderState:
    """All that is kept between two words. Every tensor's first axis is the sentence.

    Attributes:
        memory: made from the input, the same for all sentences of a record.
        past: made from the words said so far.
    """

    memory: dict[str, Tensor]
    past: dict[str, Tensor]

    def select(self, index: Tensor) -> DecoderState:
        """The rows ``index`` (N,): to repeat, reorder or leave out sentences."""
        return DecoderState(_rows(self.memory, index), _rows(self.past, index))

    def reorder(self, index: Tensor) -> DecoderState:
        """`select` for an index that keeps every record's sentences in that record's rows: the
        memory, the larger part, need not be copied."""
        return DecoderState(self.memory, _rows(self.past, index))

    @classmethod
    def together(cls, states: Mapping[str, DecoderState]) -> DecoderState:
        """Several decoders' states as one, each under its name."""
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
        """Where it is."""
        return next(iter(self.memory.values())).device


def _rows(tensors: Mapping[str, Tensor], index: Tensor) -> dict[str, Tensor]:
    return {name: value.index_select(0, index) for name, value in tensors.items()}


def under(start: str, tensors: Mapping[str, Tensor], instead: str = "") -> dict[str, Tensor]:
    """Those whose names begin so, with ``instead`` for that beginning."""
    return {f"{instead}{k[len(start) :]}": v for k, v in tensors.items() if k.startswith(start)}


class Decoder(nn.Module, ABC):
    """Fused -> state; (words, state) -> hidden vectors, attention, next state.

    One run over a whole sentence and a run word by word give the same numbers, so training,
    decoding and explanation share the one `forward`.

    Every decoder is built with ``vocabulary`` (its size), ``width`` (of the fused tokens) and
    ``max_words``; one that `learn` something is given it back as ``state``, with ``pretrained``.
    """

    exported: ClassVar[bool] = True
    """Whether a step of it can run without torch."""
    final_scores: ClassVar[bool] = False
    """Whether `logits` are scores to be added up as they are, no softmax over them."""

    @classmethod
    def fit(cls, settings: Mapping[str, Any]) -> State:
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

    def own_loss(
        self, fused: Fused, owners: Sequence[int], sentences: Sequence[Sequence[int]]
    ) -> Tensor | None:
        """The loss of a decoder that does not learn word by word; None where it does.

        Args:
            fused: of B records.
            owners: each sentence's record.
            sentences: N of them, as ids.
        """
        return None


def log_scores(decoder: Decoder, hidden: Tensor) -> Tensor:
    """(..., D) -> (..., V), what is added up word by word: log-probabilities, or final scores."""
    scores = decoder.logits(hidden).float()
    return scores if decoder.final_scores else scores.log_softmax(-1)
