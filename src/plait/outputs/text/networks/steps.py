"""Runs decoder networks token by token in torch: the engine of the search.

Shapes: B records, N texts, L tokens, T input tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plait.data.vocabulary import BOS
from plait.outputs.base import RawOutputs
from plait.outputs.text.decoders.networks.base import DecoderNetwork, DecoderState, log_scores
from plait.outputs.text.decoding import DECODER


@dataclass(frozen=True)
class _State:
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
        """
        Args:
            networks: by name.
            starts: the state of each before the first token, a row a record.
            inputs: where each input's tokens are among the fused ones, for `attention`.
        """
        self.networks, self.starts, self.inputs = networks, starts, inputs or {}

    def start(self, raw: RawOutputs, models: Collection[str]) -> _State:
        """The state of these models before the first token."""
        starts = {name: self.starts[name] for name in models}
        return _State(starts, np.arange(len(next(iter(starts.values())))))

    @torch.no_grad()
    def step(
        self, tokens: NDArray[np.int64], state: _State
    ) -> tuple[dict[str, NDArray[np.float32]], _State]:
        """Append a token to each text: every model's scores of the next, and the state."""
        scores, after = {}, {}
        for name, own in state.states.items():
            network = self.networks[name]
            hidden, _, after[name] = network(self._tensor(tokens)[:, None], own)
            scores[name] = log_scores(network, hidden[:, 0]).cpu().numpy()
        return scores, _State(after, state.records)

    @torch.no_grad()
    def select(self, state: _State, rows: NDArray[np.int64]) -> _State:
        """These texts, in this order."""
        index, records = self._tensor(rows), state.records[rows]
        if np.array_equal(records, state.records):
            return _State({n: own.reorder(index) for n, own in state.states.items()}, records)
        return _State({n: own.select(index) for n, own in state.states.items()}, records)

    @torch.no_grad()
    def attention(self, raw: RawOutputs, tokens: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """The decoder's attention for each of the tokens (B, L): input -> (B, L, T)."""
        if not self.inputs:
            return {}
        ids = self._tensor(tokens)
        _, attention, _ = self.networks[DECODER](before(ids), self.starts[DECODER], attend=True)
        weights = attention.float().cpu().numpy()
        return {name: weights[..., place] for name, place in self.inputs.items()}

    def _tensor(self, array: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(array).to(next(iter(self.starts.values())).device)


def before(tokens: Tensor) -> Tensor:
    """Tokens (N, L) -> what a decoder has been given before each of them."""
    return torch.cat([torch.full_like(tokens[:, :1], BOS), tokens[:, :-1]], dim=1)
