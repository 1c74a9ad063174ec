"""The contract of a decoder's network, and the two ways to run one: over whole texts, given the
right tokens so far (teacher forcing), and token by token, for the search.

Shapes: B records, N texts (several per record), L text tokens, M real tokens, T input tokens,
D width, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from plait.data.vocabulary import BOS, EOS, PAD, UNK
from plait.outputs.base import RawOutputs
from plait.outputs.text.search import DECODER
from plait.types import Fused

GROUPS, LEAST_GROUP = 4, 32  # texts of similar length run together


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
        memory = {name: value.index_select(0, index) for name, value in self.memory.items()}
        return DecoderState(memory, self.reorder(index).past)

    def reorder(self, index: Tensor) -> DecoderState:
        """`select` for an index that keeps every record's texts in that record's rows: the memory,
        the larger part, is not copied."""
        past = {name: value.index_select(0, index) for name, value in self.past.items()}
        return DecoderState(self.memory, past)

    @classmethod
    def together(cls, states: Mapping[str, DecoderState]) -> DecoderState:
        """Several networks' states as one, each under its name."""
        whole = cls({}, {})
        for name, state in states.items():
            whole.memory.update({f"{name}/{key}": value for key, value in state.memory.items()})
            whole.past.update({f"{name}/{key}": value for key, value in state.past.items()})
        return whole

    def of(self, name: str) -> DecoderState:
        """One of the states that are `together`."""
        return DecoderState(under(f"{name}/", self.memory), under(f"{name}/", self.past))

    def __len__(self) -> int:
        return len(next(iter(self.memory.values())))

    @property
    def device(self) -> torch.device:
        """The device of the tensors."""
        return next(iter(self.memory.values())).device


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
    width: int
    """D of the hidden vectors; set by decoders with `Decoder.embeds_words`."""
    embedding: nn.Embedding
    """Of the token ids; set by decoders with `Decoder.embeds_words`."""

    @abstractmethod
    def start(self, fused: Fused) -> DecoderState:
        """The state before the first token, one row per record (B, ...)."""

    @abstractmethod
    def forward(
        self, tokens: Tensor, state: DecoderState, attend: bool = False
    ) -> tuple[Tensor, Tensor | None, DecoderState]:
        """Append tokens (N, L) to the N texts of a state.

        Returns:
            Hidden vectors (N, L, D), of which `logits` makes the scores of each *next* token; how
            much each place attended to the input's tokens for it, (N, L, T), None without
            ``attend``; and the state after the tokens.
        """

    @abstractmethod
    def logits(self, hidden: Tensor) -> Tensor:
        """(..., D) -> (..., V)."""

    def log_scores(self, hidden: Tensor) -> Tensor:
        """(..., D) -> (..., V) log-probabilities of the next token."""
        scores = self.logits(hidden).float()
        return scores if self.final_scores else scores.log_softmax(-1)

    def sequence_loss(
        self, fused: Fused, owners: Sequence[int], texts: Sequence[Sequence[int]]
    ) -> Tensor | None:
        """The loss of a network that does not learn token by token; None for one that does. The N
        texts are token ids with the end token; ``owners`` are their records among the B fused."""
        return None


def teacher_forced(
    decoder: DecoderNetwork,
    start: DecoderState,
    owners: Sequence[int],
    texts: Sequence[Sequence[int]],
    word_dropout: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a decoder over texts, those of similar length together, to compute little for padding.

    Args:
        decoder, start: the network, and its state of every record.
        owners, texts: N texts, as token ids with their end tokens, and the record of each.
        word_dropout: share of the previous tokens that the decoder sees as unknown.

    Returns:
        (M, D) the hidden vector before each real token, (M,) that token, (M,) its text.
    """
    device = start.device
    by_length = sorted(range(len(texts)), key=lambda n: len(texts[n]))
    size = max(LEAST_GROUP, -(-len(by_length) // GROUPS))
    parts = []
    for at in range(0, len(by_length), size):
        group = by_length[at : at + size]
        state = start.select(torch.tensor([owners[n] for n in group], device=device))
        rows = [torch.tensor(texts[n]) for n in group]
        labels = pad_sequence(rows, batch_first=True, padding_value=PAD).to(device)  # (N, L)
        real = labels != PAD
        inputs = before(labels).masked_fill(~real, PAD)
        if word_dropout:
            dropped = torch.rand(inputs.shape, device=device) < word_dropout
            inputs = torch.where(dropped & (inputs > EOS), UNK, inputs)
        hidden, _, _ = decoder(inputs, state)  # (N, L, D)
        numbers = torch.tensor(group, device=device)[:, None].expand_as(labels)
        parts.append((hidden[real], labels[real], numbers[real]))
    hidden, labels, numbers = (torch.cat(part) for part in zip(*parts, strict=True))
    return hidden, labels, numbers


def before(tokens: Tensor) -> Tensor:
    """Tokens (N, L) -> what a decoder has been given before each of them."""
    return torch.cat([torch.full_like(tokens[:, :1], BOS), tokens[:, :-1]], dim=1)


@dataclass(frozen=True)
class _States:
    """The state of each network, by name; ``records`` (N,) says whose each row is."""

    states: Mapping[str, DecoderState]
    records: NDArray[np.int64]


class TorchSteps:
    """Decoder networks for one batch (see `plait.outputs.base.Steps`).

    States stay on the device; only scores and attention are copied from it.
    """

    def __init__(
        self,
        networks: Mapping[str, DecoderNetwork],
        starts: Mapping[str, DecoderState],
        inputs: Mapping[str, slice] | None = None,
    ) -> None:
        """``starts`` are the networks' states before the first token, a row for each record;
        ``inputs`` says where each input's tokens are among the fused ones, for `attention`."""
        self.networks, self.starts, self.inputs = networks, starts, inputs or {}

    def start(self, raw: RawOutputs, models: Collection[str]) -> _States:
        """The state of these models before the first token."""
        starts = {name: self.starts[name] for name in models}
        return _States(starts, np.arange(len(next(iter(starts.values())))))

    @torch.no_grad()
    def step(
        self, tokens: NDArray[np.int64], state: _States
    ) -> tuple[dict[str, NDArray[np.float32]], _States]:
        """Append a token to each text: every model's scores of the next, and the state."""
        scores, after = {}, {}
        for name, own in state.states.items():
            network = self.networks[name]
            hidden, _, after[name] = network(self._tensor(tokens)[:, None], own)
            scores[name] = network.log_scores(hidden[:, 0]).cpu().numpy()
        return scores, _States(after, state.records)

    @torch.no_grad()
    def select(self, state: _States, rows: NDArray[np.int64]) -> _States:
        """These texts, in this order."""
        index, records = self._tensor(rows), state.records[rows]
        same = np.array_equal(records, state.records)
        take = DecoderState.reorder if same else DecoderState.select
        return _States({name: take(own, index) for name, own in state.states.items()}, records)

    @torch.no_grad()
    def attention(self, raw: RawOutputs, tokens: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """The decoder's attention for each of the tokens (B, L): input -> (B, L, T)."""
        if not self.inputs:
            return {}
        ids = before(self._tensor(tokens))
        _, attention, _ = self.networks[DECODER](ids, self.starts[DECODER], attend=True)
        weights = attention.float().cpu().numpy()
        return {name: weights[..., place] for name, place in self.inputs.items()}

    def _tensor(self, array: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(array).to(next(iter(self.starts.values())).device)
