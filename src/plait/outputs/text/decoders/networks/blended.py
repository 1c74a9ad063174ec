"""The decoders of several branches as one: their log-probabilities of each token are blended
(shallow fusion, Gulcehre et al. 2015, arXiv:1503.03535).

It is a decoder network itself, trained, searched and explained like any other.

Shapes: N texts, L text tokens, M branches, T input tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from plait.nn.base import Blend
from plait.nn.blocks import NamedModules
from plait.outputs.text.decoders.networks.base import DecoderNetwork, DecoderState
from plait.types import Branches, Fused

WEIGHTS, MASK = "weights", "tokens"  # in the memory: the branches' weights, all tokens' mask
PLACES = "places"  # under a branch's name: where its tokens are among all


class BlendedNetwork(DecoderNetwork):
    """A decoder for each branch."""

    def __init__(
        self, branches: Branches, vocabulary: int, make: Callable[[], DecoderNetwork]
    ) -> None:
        super().__init__()
        self.branches = NamedModules({name: make() for name in branches.names})
        self.blend = Blend(branches, vocabulary)
        self.final_scores = self._decoder(branches.names[0]).final_scores

    def start(self, fused: Fused) -> DecoderState:
        """The branches' states, each under its name, and the branches' weights."""
        assert fused.weights is not None
        places, at = {}, 0  # of each input's tokens among those of all inputs side by side
        for name, tokens in fused.parts.items():
            end = at + tokens.values.shape[1]
            places[name], at = torch.arange(at, end, device=fused.pooled.device), end
        states = {}
        for name, part in fused.branches.items():
            states[name] = self._decoder(name).start(part)
            own = torch.cat([places[n] for n in part.parts])
            states[name].memory[PLACES] = own.expand(fused.pooled.shape[0], -1)
        together = DecoderState.together(states)
        together.memory.update({WEIGHTS: fused.weights, MASK: fused.tokens.mask})
        return together

    def forward(
        self, tokens: Tensor, state: DecoderState, attend: bool = False
    ) -> tuple[Tensor, Tensor | None, DecoderState]:
        """Hidden (N, L, M, D + 1): each branch's, followed by its weight."""
        hiddens: list[Tensor] = []
        states: dict[str, DecoderState] = {}
        shape = (*tokens.shape, state.memory[MASK].shape[1])
        looks = state.memory[WEIGHTS].new_zeros(shape) if attend else None
        for number, name in enumerate(self.branches):
            weight = state.memory[WEIGHTS][:, number, None, None]  # (N, 1, 1)
            hidden, look, states[name] = self._decoder(name)(tokens, state.of(name), attend)
            hiddens.append(torch.cat([hidden, weight.expand_as(hidden[..., :1])], dim=-1))
            if looks is not None:
                places = state.memory[f"{name}/{PLACES}"][:, None].expand_as(look)  # (N, L, T')
                looks = looks.scatter_add(2, places, weight * look)
        past = DecoderState.together(states).past
        return torch.stack(hiddens, dim=2), looks, DecoderState(state.memory, past)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., M, D + 1) -> (..., V), the blended log-probabilities."""
        answers = [
            self._decoder(name).log_scores(hidden[..., number, :-1])
            for number, name in enumerate(self.branches)
        ]
        return self.blend(torch.stack(answers, dim=-2), hidden[..., -1].float())

    def _decoder(self, name: str) -> DecoderNetwork:
        return cast(DecoderNetwork, self.branches[name])
