"""`neural`: a decoder that sees no input, as a language model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from plait.config import registry
from plait.config.registry import Nested, register
from plait.data.vocabulary import Vocabulary
from plait.outputs.text.lm.base import LanguageModel
from plait.types import State

if TYPE_CHECKING:
    from plait.outputs.text.decoders.networks.base import DecoderNetwork


@register("language-model", "neural")
class NeuralLanguageModel(LanguageModel):
    """A decoder that sees no input, trained on the training texts with the rest of the model."""

    decoder: Annotated[dict[str, Any], Nested("decoder", but=("ctc", "hub"))] = Field(
        default={"kind": "gru-attention", "units": 256},
        description="the decoder: kind and its settings",
    )

    def fit(self, texts: Iterable[Sequence[int]], vocabulary: Vocabulary) -> State:
        """Nothing before training."""
        return {}

    def network(self, vocabulary: int, width: int, max_length: int) -> DecoderNetwork:
        """The decoder, which is given no input."""
        from plait.outputs.text.lm.networks import BlindNetwork

        decoder = registry.build("decoder", self.decoder)
        return BlindNetwork(decoder.network(vocabulary, width, max_length))
