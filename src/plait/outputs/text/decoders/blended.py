"""The decoders of several branches as one: at every word their log-probabilities are blended.

Known from speech recognition and translation as shallow fusion (Gulcehre et al. 2015,
arXiv:1503.03535). Being a decoder itself, it is trained, searched and explained as any other.

Shapes: N sentences, L words, M branches, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from plait.nn.blocks import NamedModules
from plait.nn.branches import Blend
from plait.outputs.text.decoders.base import Decoder, DecoderState
from plait.types import Branches, Fused

WEIGHTS, TOKENS = "weights", "tokens"  # of the memory that is not a branch's
PLACES = "places"  # where a branch's tokens lie among all


class BlendedDecoder(Decoder):
    """One decoder a branch, each reading what its branch sees."""

    def __init__(self, branches: Branches, vocabulary: int, make: Callable[[], Decoder]) -> None:
        super().__init__()
        self.branches = NamedModules({name: make() for name in branches.names})
        self.blend = Blend(branches, vocabulary)

    def start(self, fused: Fused) -> DecoderState:
        """The branches' states, each under its name, and how much each counts."""
        assert fused.weights is not None
        places = _places(fused)
        states = {}
        for name, part in fused.branches.items():
            states[name] = self._decoder(name).start(part)
            own = torch.cat([places[n] for n in part.parts])
            states[name].memory[PLACES] = own.expand(fused.pooled.shape[0], -1)
        found = DecoderState.together(states)
        found.memory.update({WEIGHTS: fused.weights, TOKENS: fused.tokens.mask})
        return found

    def forward(
        self, words: Tensor, state: DecoderState, attend: bool = False
    ) -> tuple[Tensor, Tensor | None, DecoderState]:
        """Hidden (N, L, M, D + 1): each branch's, and its weight behind it."""
        hiddens: list[Tensor] = []
        states: dict[str, DecoderState] = {}
        shape = (*words.shape, state.memory[TOKENS].shape[1])
        looks = state.memory[WEIGHTS].new_zeros(shape) if attend else None
        for number, name in enumerate(self.branches):
            weight = state.memory[WEIGHTS][:, number, None, None]  # (N, 1, 1)
            hidden, look, states[name] = self._decoder(name)(words, state.of(name), attend)
            hiddens.append(torch.cat([hidden, weight.expand_as(hidden[..., :1])], dim=-1))
            if looks is not None:
                places = state.memory[f"{name}/{PLACES}"][:, None].expand_as(look)  # (N, L, T')
                looks = looks.scatter_add(2, places, weight * look)
        past = DecoderState.together(states).past
        return torch.stack(hiddens, dim=2), looks, DecoderState(state.memory, past)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., M, D + 1) -> (..., V), the blended log-probabilities."""
        answers = [
            self._decoder(name).logits(hidden[..., number, :-1]).float().log_softmax(-1)
            for number, name in enumerate(self.branches)
        ]
        return self.blend(torch.stack(answers, dim=-2), hidden[..., -1].float())

    def _decoder(self, name: str) -> Decoder:
        decoder = self.branches[name]
        assert isinstance(decoder, Decoder)
        return decoder


def _places(fused: Fused) -> dict[str, Tensor]:
    """Input name -> the numbers of its tokens, among the inputs' tokens side by side."""
    found, at = {}, 0
    for name, part in fused.parts.items():
        count = part.values.shape[1]
        found[name] = torch.arange(at, at + count, device=part.values.device)
        at += count
    return found
