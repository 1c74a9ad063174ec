"""Language models of the sentences to be said: how probable the next word is, whatever the input.

One is combined with a decoder word by word (shallow fusion, see `GuidedDecoder`); how much it
counts is found on the validation records.

Shapes: N sentences, L words, D width, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from plait import registry
from plait.blocks import token_cross_entropy
from plait.data.readers import read_text
from plait.outputs.text.decoder import Decoder, DecoderState
from plait.outputs.text.ngram import NGram
from plait.outputs.text.teaching import real_words
from plait.registry import Nested, register
from plait.types import Fused, State, Tokens

Encode = Callable[[str], list[int]]


class Language(ABC):
    """The data side of a language model; its network side is a decoder that sees no input."""

    @abstractmethod
    def learn(self, sentences: Iterable[Sequence[int]], encode: Encode, vocabulary: int) -> State:
        """What it counts in the training sentences, ids without end tokens."""

    @abstractmethod
    def decoder(self, state: State, vocabulary: int, width: int, max_words: int) -> Decoder:
        """The network side; it has an `own_loss` where it learns by gradient."""


@register("language", "ngram")
class NGramLanguage(Language):
    """Counts of word sequences, with modified Kneser-Ney smoothing."""

    def __init__(
        self,
        *,
        order: Annotated[int, Field(ge=1, le=20, description="words of the longest n-grams")] = 4,
        texts: Annotated[
            str | None,
            Field(description="a file of more sentences, one a line; .gz too; null: none"),
        ] = None,
    ) -> None:
        self.order, self.texts = order, texts

    def learn(self, sentences: Iterable[Sequence[int]], encode: Encode, vocabulary: int) -> State:
        """See `NGram.learn`."""
        lines = [] if self.texts is None else read_text(Path(self.texts)).splitlines()
        more = [encode(line) for line in lines if line.strip()]
        return NGram.learn([*sentences, *more], vocabulary, self.order).to_state()

    def decoder(self, state: State, vocabulary: int, width: int, max_words: int) -> Decoder:
        """It learns nothing more."""
        return NGramDecoder(NGram.from_state(state))


class NGramDecoder(Decoder):
    """An n-gram model as a decoder."""

    final_scores = True

    def __init__(self, model: NGram) -> None:
        super().__init__()
        self.model = model

    def start(self, fused: Fused) -> DecoderState:
        """The start of a sentence."""
        start = torch.full((len(fused.pooled),), self.model.start, device=fused.pooled.device)
        return DecoderState({}, {"context": start})

    def forward(
        self, words: Tensor, state: DecoderState, attend: bool = False
    ) -> tuple[Tensor, Tensor | None, DecoderState]:
        """Hidden (N, L, V): the scores themselves."""
        scores, context = [], state.past["context"]
        for word in words.unbind(dim=1):
            context = self.model.step(context, word)
            scores.append(self.model.scores(context))
        return torch.stack(scores, dim=1), None, DecoderState({}, {"context": context})

    def logits(self, hidden: Tensor) -> Tensor:
        """The scores are ready."""
        return hidden


@register("language", "neural")
class NeuralLanguage(Language):
    """A decoder that sees no input, learned from the training sentences along with the rest."""

    def __init__(
        self,
        *,
        decoder: Annotated[
            dict[str, Any],
            Field(description="the decoder: kind and its settings"),
            Nested("decoder"),
        ] = {"kind": "gru-attention", "units": 256},  # noqa: B006 - never changed
    ) -> None:
        self.settings = decoder

    def learn(self, sentences: Iterable[Sequence[int]], encode: Encode, vocabulary: int) -> State:
        """Nothing before training."""
        return {}

    def decoder(self, state: State, vocabulary: int, width: int, max_words: int) -> Decoder:
        """The decoder, blindfolded."""
        made = registry.build(
            "decoder", self.settings, vocabulary=vocabulary, width=width, max_words=max_words
        )
        return BlindDecoder(made, width)


class BlindDecoder(Decoder):
    """A decoder to which every input is one token of zeros."""

    def __init__(self, decoder: Decoder, width: int) -> None:
        super().__init__()
        self.decoder, self.width = decoder, width

    def start(self, fused: Fused) -> DecoderState:
        """The decoder's own."""
        count, like = len(fused.pooled), fused.pooled
        nothing = Tokens(
            like.new_zeros(count, 1, self.width),
            torch.ones(count, 1, dtype=torch.bool, device=like.device),
        )
        return self.decoder.start(Fused(nothing.values[:, 0], nothing, {}))

    def forward(
        self, words: Tensor, state: DecoderState, attend: bool = False
    ) -> tuple[Tensor, Tensor | None, DecoderState]:
        """The decoder's own, without attention."""
        hidden, _, after = self.decoder(words, state)
        return hidden, None, after

    def logits(self, hidden: Tensor) -> Tensor:
        """The decoder's own."""
        return self.decoder.logits(hidden)

    def own_loss(
        self, fused: Fused, owners: Sequence[int], sentences: Sequence[Sequence[int]]
    ) -> Tensor:
        """Mean cross-entropy over all words."""
        start = self.start(fused)
        hidden, labels, _ = real_words(self, start, owners, sentences)
        return token_cross_entropy(self.logits(hidden).float(), labels)
