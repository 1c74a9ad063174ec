"""Several decoders that search a sentence together: the sum of their weighted scores, word by word.

Shallow fusion (Gulcehre et al. 2015, arXiv:1503.03535): a decoder, what CTC says of it (Watanabe
et al. 2017, "Hybrid CTC/attention architecture"), a language model. Each was trained by itself.

Shapes: N sentences, L words, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from plait.data.vocabulary import EOS
from plait.outputs.text.decoders.base import Decoder, DecoderState, log_scores
from plait.types import Fused


@dataclass(frozen=True)
class Guide:
    """A decoder and how much its scores count."""

    decoder: Decoder
    weight: float


class GuidedDecoder(Decoder):
    """What the guides say together. Attention is the first one's."""

    exported = False
    final_scores = True

    def __init__(self, guides: Sequence[Guide], bonus: float = 0.0) -> None:
        """``bonus`` is added for every word but the end, against sentences too short."""
        super().__init__()
        self.guides, self.bonus = guides, bonus

    def start(self, fused: Fused) -> DecoderState:
        """The guides' states."""
        return DecoderState.together(
            {str(n): guide.decoder.start(fused) for n, guide in enumerate(self.guides)}
        )

    def forward(
        self, words: Tensor, state: DecoderState, attend: bool = False
    ) -> tuple[Tensor, Tensor | None, DecoderState]:
        """Hidden (N, L, V): the scores."""
        scores, looks, states = [], [], {}
        for number, guide in enumerate(self.guides):
            own = state.of(str(number))
            hidden, look, states[str(number)] = guide.decoder(words, own, attend and number == 0)
            scores.append(guide.weight * log_scores(guide.decoder, hidden))
            looks.append(look)
        total = torch.stack(scores).sum(dim=0)  # (N, L, V)
        bonus = torch.full_like(total[0, 0], self.bonus)
        bonus[EOS] = 0.0
        past = DecoderState.together(states).past
        return total + bonus, looks[0], DecoderState(state.memory, past)

    def logits(self, hidden: Tensor) -> Tensor:
        """The scores are ready."""
        return hidden
