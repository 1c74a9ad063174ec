"""Says sentences: the loss of both stages, and the search, around any decoder.

Shapes: B records, N sentences, L words, T tokens, M real words, D width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from plait.blocks import token_cross_entropy
from plait.branches import of_branch
from plait.components import Head
from plait.data.vocabulary import BOS, EOS, PAD, UNK, Vocabulary
from plait.outputs.text.cider import CiderReward
from plait.outputs.text.decoder import Decoder, DecoderState
from plait.outputs.text.decoding import Decoding
from plait.outputs.text.detector import Detected, WordDetector, bags_of_words
from plait.outputs.text.search import NEVER_SAID, Limits, Sentences, beam_search, sample
from plait.types import Alternative, Fused, Prediction, UsageError

GROUPS, LEAST_GROUP = 4, 32  # sentences of like length run together


@dataclass(frozen=True, eq=False)
class Sentence:
    """A record's target: one or several sentences as ids, without their start.

    A sentence ends with the end token, unless it was cut: then there is nothing to learn of where
    it ends.
    """

    ids: tuple[tuple[int, ...], ...]


class TextHead(Head):
    """A decoder, its vocabulary and the ways of decoding."""

    def __init__(
        self,
        decoder: Decoder,
        vocabulary: Vocabulary,
        inputs: tuple[str, ...],
        detector: WordDetector | None,
        *,
        decoding: Decoding,
        longest: int,
        smoothing: float,
        word_dropout: float,
        consensus: float,
        at_a_time: int | None,
        detection: float,
    ) -> None:
        """The settings are those of `TextOutput`; ``inputs`` in the order of their tokens."""
        super().__init__()
        self.decoder, self.vocabulary, self.inputs = decoder, vocabulary, inputs
        self.detector, self.detection = detector, detection
        self.decoding, self.longest = decoding, longest
        self.smoothing, self.consensus, self.at_a_time = smoothing, consensus, at_a_time
        self.word_dropout = word_dropout
        self._targets: Sequence[Sentence] = ()

    def begin(self, targets: Sequence[Sentence]) -> None:
        """Remembers all training sentences: for the reward of the second stage, and for how well
        each sentence agrees with its record's others."""
        self._targets = targets

    def _detect(self, fused: Fused) -> tuple[Fused, Detected | None]:
        """With the detected words among the tokens, and what was detected."""
        return (fused, None) if self.detector is None else self.detector(fused)

    @cached_property
    def _row(self) -> dict[Sentence, int]:
        return {target: row for row, target in enumerate(self._targets)}

    @cached_property
    def _reward(self) -> CiderReward:
        return CiderReward([target.ids for target in self._targets])

    @cached_property
    def _weights(self) -> list[list[float]]:
        return self._reward.consensus([target.ids for target in self._targets], self.consensus)

    def _decoder(self, branch: str | None) -> Decoder:
        decoder = of_branch(self.decoder, branch)
        assert isinstance(decoder, Decoder)
        return decoder

    def loss(self, fused: Fused, targets: Sequence[Sentence], branch: str | None = None) -> Tensor:
        """Mean cross-entropy over the real words of all sentences, end tokens included.

        With ``consensus`` the sentences of a record are weighted, as in consensus-based training
        (Phan et al. 2017, arXiv:1712.09532). With ``word_dropout`` some of the words said so far
        are unknown to the decoder (Bowman et al. 2016, arXiv:1511.06349).
        """
        decoder = self._decoder(branch)
        fused, detected = self._detect(fused)
        chosen = [(row, n) for row, t in enumerate(targets) for n in self._choose(len(t.ids))]
        owners = [row for row, _ in chosen]
        sentences = [targets[row].ids[n] for row, n in chosen]
        start = decoder.start(fused)
        hidden, labels, numbers = self._real_words(decoder, start, owners, sentences)
        logits = decoder.logits(hidden).float()
        weights = None
        if self.consensus:
            each = [self._weights[self._row[targets[row]]][n] for row, n in chosen]
            weights = torch.tensor(each, device=logits.device)[numbers]
        loss = token_cross_entropy(logits, labels, self.smoothing, weights)
        if detected is None:
            return loss
        bags = bags_of_words([target.ids for target in targets], len(self.vocabulary))
        return loss + self.detection * WordDetector.loss(detected.logits, bags.to(loss.device))

    def _choose(self, count: int) -> list[int]:
        """Which of a record's texts this step learns from."""
        if self.at_a_time is None or not self.training or count <= self.at_a_time:
            return list(range(count))
        return torch.randperm(count)[: self.at_a_time].tolist()

    def _real_words(
        self,
        decoder: Decoder,
        start: DecoderState,
        owners: Sequence[int],
        sentences: Sequence[Sequence[int]],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Hidden vectors (M, D) that predict a real word, those words (M,), their sentences (M,).

        Sentences of like length run together, so that little is computed for padding.
        """
        device = start.device
        by_length = sorted(range(len(sentences)), key=lambda n: len(sentences[n]))
        size = max(LEAST_GROUP, -(-len(by_length) // GROUPS))
        found = []
        for at in range(0, len(by_length), size):
            group = by_length[at : at + size]
            state = start.select(torch.tensor([owners[n] for n in group], device=device))
            inputs = _padded([[BOS, *sentences[n][:-1]] for n in group], device)  # (N, L)
            if self.training and self.word_dropout:
                hidden_words = torch.rand(inputs.shape, device=device) < self.word_dropout
                inputs = torch.where(hidden_words & (inputs > EOS), UNK, inputs)
            labels = _padded([sentences[n] for n in group], device)
            hidden, _, _ = decoder(inputs, state)  # (N, L, D)
            real = labels != PAD
            numbers = torch.tensor(group, device=device)[:, None].expand_as(labels)
            found.append((hidden[real], labels[real], numbers[real]))
        hidden, labels, numbers = (torch.cat(part) for part in zip(*found, strict=True))
        return hidden, labels, numbers

    def reinforce(
        self, fused: Fused, targets: Sequence[Sentence], samples: int, branch: str | None = None
    ) -> Tensor:
        """Self-critical loss: - (reward - mean reward of the other samples) · log p(sample).

        Rennie et al. 2017 (arXiv:1612.00563) with the baseline of Luo 2020 (arXiv:2003.09971):
        the mean CIDEr-D of the record's other samples.
        """
        decoder = self._decoder(branch)
        start = decoder.start(self._detect(fused)[0])
        limits = Limits(min_words=0, max_words=self.decoding.max_words, no_repeat=0)
        with torch.no_grad():
            drawn = sample(decoder, start, samples, limits)
        # Autocast may keep the copies that it made of the weights, which know no gradient.
        torch.clear_autocast_cache()
        sentences = [
            row[: min(length, limits.max_words)]  # an end that was forced was not chosen
            for row, length in zip(
                drawn.ids.flatten(0, 1).tolist(),
                drawn.lengths.flatten().int().tolist(),
                strict=True,
            )
        ]
        rows = [self._row[target] for target in targets for _ in range(samples)]
        reward = torch.from_numpy(self._reward.scores(rows, sentences)).float()
        reward = reward.view(len(targets), samples).to(start.device)
        others = (reward.sum(1, keepdim=True) - reward) / (samples - 1)
        advantage = (reward - others).flatten()  # (N,)
        owners = [n // samples for n in range(len(sentences))]
        hidden, labels, numbers = self._real_words(decoder, start, owners, sentences)
        # The probabilities are those that were drawn from: without what is never said.
        logits = decoder.logits(hidden).float()
        logits[:, list(NEVER_SAID)] = float("-inf")
        nll = cross_entropy(logits, labels, reduction="none")
        return (advantage[numbers] * nll).mean()

    def calibrate(self, fused: Iterable[Fused], targets: Sequence[Sentence]) -> None:
        """Nothing: a sentence's score is no probability of being right."""

    @torch.no_grad()
    def decode(self, fused: Fused, **options: Any) -> list[Prediction]:
        """A sentence a record (``num`` with alternatives), with the attention of each word."""
        decoding = self.decoding_options(**options)
        limits = decoding.limits
        fused, detected = self._detect(fused)
        start = self.decoder.start(fused)
        if decoding.sample:
            generator = torch.Generator().manual_seed(decoding.seed)
            found = sample(
                self.decoder, start, decoding.num, limits, decoding.temperature,
                decoding.top_k, decoding.top_p, generator,
            )  # fmt: skip
        else:
            beams = max(decoding.beam, decoding.num)
            found = beam_search(self.decoder, start, beams, decoding.length_penalty, limits)
        return list(self._predictions(fused, start, found, detected, decoding.num))

    def support(self, fused: Fused, answers: Sequence[Any]) -> Tensor:
        """(B,) the sentences' mean log-probability a word, end tokens included."""
        sentences = [(*self.vocabulary.encode(said), EOS)[: self.longest] for said in answers]
        start = self.decoder.start(self._detect(fused)[0])
        rows = range(len(sentences))
        hidden, labels, numbers = self._real_words(self.decoder, start, rows, sentences)
        logits = self.decoder.logits(hidden).float()
        nll = cross_entropy(logits, labels, reduction="none")  # (M,)
        total = nll.new_zeros(len(sentences)).index_add(0, numbers, nll)
        words = torch.bincount(numbers, minlength=len(sentences))
        return -(total / words).cpu()

    def decoding_options(self, **options: Any) -> Decoding:
        """The recipe's with ``options`` changed, within what the decoder's positions allow."""
        decoding = self.decoding.changed(**options)
        if decoding.max_words > self.longest:
            raise UsageError(
                f"max_words is {decoding.max_words}", expected=f"{self.longest} at the most"
            )
        return decoding

    def _predictions(
        self,
        fused: Fused,
        start: DecoderState,
        found: Sentences,
        detected: Detected | None,
        num: int,
    ) -> Iterator[Prediction]:
        attention = self._attention(start, found.ids[:, 0])  # (B, L, T)
        parts = self._part_slices(fused)
        means = (found.scores / found.lengths.clamp(min=1)).tolist()
        for b, sentences in enumerate(found.ids.tolist()):
            # A narrow vocabulary may have fewer sentences than beams; those left over are at -inf.
            said = [
                ([w for w in ids if w > EOS], score)
                for ids, score in zip(sentences[:num], means[b], strict=False)
                if math.isfinite(score)
            ]
            (best, score), *others = said
            yield Prediction(
                value=self.vocabulary.decode(best),
                score=score,
                alternatives=tuple(
                    Alternative(self.vocabulary.decode(ids), value) for ids, value in others
                ),
                words=tuple(self.vocabulary.pieces(best)),
                detected=self._detected_words(detected, b),
                attention={
                    name: attention[b, : len(best), cut].numpy() for name, cut in parts.items()
                },
            )

    def _detected_words(self, detected: Detected | None, row: int) -> dict[str, float]:
        if detected is None:
            return {}
        words = self.vocabulary.pieces(detected.words[row].tolist())
        found: dict[str, float] = {}
        for word, probable in zip(words, detected.probable[row].tolist(), strict=True):
            found.setdefault(word, probable)  # subwords may look alike; the first stands out more
        return found

    def _attention(self, start: DecoderState, ids: Tensor) -> Tensor:
        """Where each word of ``ids`` (B, L) was looked for: (B, L, T)."""
        before = torch.cat([torch.full_like(ids[:, :1], BOS), ids[:, :-1]], dim=1)
        _, attention, _ = self.decoder(before, start, attend=True)
        assert attention is not None
        return attention.float().cpu()

    def _part_slices(self, fused: Fused) -> dict[str, slice]:
        """Each input's place among the fused tokens, where fusion kept them side by side; the
        detected words' come after them."""
        detected = self.detector.count if self.detector is not None else 0
        slices, at = {}, 0
        for name in self.inputs:
            length = fused.parts[name].values.shape[1]
            slices[name] = slice(at, at + length)
            at += length
        return slices if at + detected == fused.tokens.values.shape[1] else {}


def _padded(rows: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    tensors = [torch.tensor(row) for row in rows]
    return pad_sequence(tensors, batch_first=True, padding_value=PAD).to(device)
