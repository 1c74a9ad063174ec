"""The contract of a decoder's settings; its network is a `DecoderNetwork`."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING, ClassVar

from plait.config.registry import Component
from plait.data.vocabulary import Vocabulary
from plait.types import State
from plait.util.imports import load

if TYPE_CHECKING:
    from plait.outputs.text.decoders.networks.base import DecoderNetwork


class Decoder(Component, ABC):
    """Scores the next token of a text, given the tokens before it and the fused inputs."""

    network_class: ClassVar[str]
    """Full name of the `DecoderNetwork`, which is built from the settings and the arguments of
    `network`."""
    exportable: ClassVar[bool] = True
    """Whether a step of it can run without torch."""
    final_scores: ClassVar[bool] = False
    """Whether its scores are final log-probabilities, not to be normalised when tokens that may
    not follow are left out."""
    embeds_words: ClassVar[bool] = True
    """Whether its network has an embedding of the token ids, which a pointer needs."""
    aligned: ClassVar[bool] = False
    """Whether the text follows the order of the input's tokens in time, as CTC assumes."""

    def fit(self) -> State:
        """What a package must keep of a pretrained model: a decoder with such a state builds its
        network from it. Empty if there is none."""
        return {}

    def vocabulary(self) -> Vocabulary | None:
        """A pretrained model's own; None for the output's."""
        return None

    def network(
        self, vocabulary: int, width: int, max_length: int, pretrained: bool = True
    ) -> DecoderNetwork:
        """The network side, for so many token ids, fused tokens of this width and texts of at most
        ``max_length`` tokens. A package's own weights replace ``pretrained`` ones."""
        return load(self.network_class)(self, vocabulary, width, max_length, pretrained)
