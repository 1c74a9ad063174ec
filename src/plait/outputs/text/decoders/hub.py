"""`hub:NAME`: a causal language model of the transformers library, with a learned prefix."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from plait.config.registry import register
from plait.data.vocabulary import HubVocabulary
from plait.nn.hub import HubName, load_config, load_tokenizer
from plait.outputs.text.decoders.base import Decoder
from plait.types import State


@register("decoder", "hub")
class HubDecoder(Decoder):
    """Any causal language model of the Hugging Face Hub, or of a local folder; needs unit: hub."""

    network_class = "plait.outputs.text.decoders.networks.hub.HubNetwork"
    exportable = False
    embeds_words = False
    name: HubName
    train: Literal["frozen", "all"] = Field(
        default="frozen", description="which layers of the language model are trained: none, or all"
    )

    def fit(self) -> State:
        """The model's architecture and its tokens."""
        found = load_tokenizer(self.name)
        return {
            "config": load_config(self.name),
            "tokens": HubVocabulary(found["tokenizer"], found["specials"]).tokens,
            "bos": found["bos"],
            "eos": found["eos"],
        }

    def vocabulary(self) -> HubVocabulary:
        """The language model's own."""
        found = load_tokenizer(self.name)
        return HubVocabulary(found["tokenizer"], found["specials"])
