"""Language models of the sentences to be said: how probable the next word is, whatever the input.

One is combined with a decoder word by word (shallow fusion, see `GuidedDecoder`); how much it
counts is found on the validation records.

Shapes: N sentences, L words, D width, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from plait.config import registry
from plait.config.component import Nested, UserFile
from plait.config.registry import register
from plait.data.readers import read_text
from plait.data.vocabulary import Vocabulary
from plait.nn.blocks import token_cross_entropy
from plait.outputs.text.decoders.base import Decoder, DecoderState
from plait.outputs.text.decoders.teaching import real_words
from plait.outputs.text.lm.arpa import read_arpa
from plait.outputs.text.lm.ngram import NGram
from plait.types import Fused, State, Tokens


class Language(ABC):
    """The data side of a language model; its network side is a decoder that sees no input."""

    @abstractmethod
    def fit(self, sentences: Iterable[Sequence[int]], vocabulary: Vocabulary) -> State:
        """What it knows before training: what it counts in the training sentences, which are ids
        without end tokens, or what somebody else did. The package keeps it."""

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
            UserFile(),
        ] = None,
    ) -> None:
        self.order, self.texts = order, texts

    def fit(self, sentences: Iterable[Sequence[int]], vocabulary: Vocabulary) -> State:
        """See `NGram.fit`."""
        lines = [] if self.texts is None else read_text(Path(self.texts)).splitlines()
        more = [vocabulary.encode(line) for line in lines if line.strip()]
        return NGram.fit([*sentences, *more], len(vocabulary), self.order).to_state()

    def decoder(self, state: State, vocabulary: int, width: int, max_words: int) -> Decoder:
        """It learns nothing more."""
        return NGramDecoder(NGram.from_state(state))


@register("language", "arpa")
class ArpaLanguage(Language):
    """An n-gram model that another tool counted (KenLM, SRILM, MITLM), of the same units."""

    def __init__(
        self,
        *,
        file: Annotated[
            str, Field(description="an ARPA file of the output's units; .gz too"), UserFile()
        ],
    ) -> None:
        self.file = file

    def fit(self, sentences: Iterable[Sequence[int]], vocabulary: Vocabulary) -> State:
        """See `read_arpa`; it counts no sentences of its own."""
        return read_arpa(Path(self.file), vocabulary.units()).to_state()

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
        scores, context = [], state.past["context"].cpu().numpy()
        for word in words.cpu().numpy().T:
            context = self.model.step(context, word)
            scores.append(self.model.scores(context))
        hidden = torch.from_numpy(np.stack(scores, axis=1)).to(words.device)
        after = torch.from_numpy(context).to(words.device)
        return hidden, None, DecoderState({}, {"context": after})

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
            # A language model learns word by word, and brings nothing of its own to a package.
            Nested("decoder", but=("ctc", "hub")),
        ] = {"kind": "gru-attention", "units": 256},  # noqa: B006 - never changed
    ) -> None:
        self.settings = decoder

    def fit(self, sentences: Iterable[Sequence[int]], vocabulary: Vocabulary) -> State:
        """Nothing before training."""
        return {}

    def decoder(self, state: State, vocabulary: int, width: int, max_words: int) -> Decoder:
        """The decoder, blindfolded."""
        made = registry.build(
            "decoder", self.settings, vocabulary=vocabulary, width=width, max_words=max_words
        )
        return BlindDecoder(made)


class BlindDecoder(Decoder):
    """A decoder to which every input is one token of zeros."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def start(self, fused: Fused) -> DecoderState:
        """The decoder's own."""
        pooled = torch.zeros_like(fused.pooled)
        nothing = Tokens(pooled[:, None], torch.ones_like(pooled[:, :1], dtype=torch.bool))
        return self.decoder.start(Fused(pooled, nothing, {}))

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
