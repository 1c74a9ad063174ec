"""The contract of a language model: how probable the next token of a text is, whatever the input.

Its scores are added to a decoder's while searching (`plait.outputs.text.search.Mixture`), with a
weight that is calibrated on the validation records.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from plait.config.registry import Component
from plait.data.vocabulary import Vocabulary
from plait.types import State

if TYPE_CHECKING:
    from plait.outputs.text.decoders.networks.base import DecoderNetwork
    from plait.outputs.text.lm.ngram import NGram


class LanguageModel(Component, ABC):
    """Settings of a language model: an n-gram model, or a network that learns with the rest."""

    @abstractmethod
    def fit(self, texts: Iterable[Sequence[int]], vocabulary: Vocabulary) -> State:
        """What a package must keep; ``texts`` of the training records are token ids without end
        tokens, ``vocabulary`` is the output's."""

    @property
    def ngram(self) -> NGram | None:
        """The n-gram model of the state; None where it is a network."""
        return None

    def network(self, vocabulary: int, width: int, max_length: int) -> DecoderNetwork | None:
        """A decoder network that ignores its input and has a `sequence_loss`; None for n-grams."""
        return None
