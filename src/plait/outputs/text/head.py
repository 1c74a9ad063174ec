"""Says sentences: the loss of both stages, and the search, around any decoder.

Shapes: B records, N sentences, L words, T tokens, M real words, D width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from plait.data.vocabulary import BOS, EOS, Vocabulary
from plait.nn.blocks import token_cross_entropy
from plait.nn.branches import of_branch
from plait.outputs.base import Graph, Head
from plait.outputs.text.decoders.base import Decoder, DecoderState, log_scores, under
from plait.outputs.text.decoders.ctc import CtcDecoder, align
from plait.outputs.text.decoders.guided import Guide, GuidedDecoder
from plait.outputs.text.decoders.teaching import real_words
from plait.outputs.text.decoding import (
    CTC,
    DECODER,
    DETECTED,
    GUIDES,
    LANGUAGE,
    MEMORY,
    NEVER_SAID,
    NEXT,
    PAST,
    PROBABLE,
    SCORES,
    TEXT,
    WORDS,
    Decoding,
    Limits,
    detected_words,
    guides,
    spoken,
)
from plait.outputs.text.detector import Detected, WordDetector, bags_of_words
from plait.outputs.text.lm.language import NGramDecoder
from plait.outputs.text.metrics.base import TextMetrics
from plait.outputs.text.metrics.cider import CiderReward
from plait.outputs.text.search import Sentences, beam_search, sample
from plait.types import Alternative, Fused, Prediction, State, UsageError

SPACE = "␣"  # how a space is shown, and what can't be read
# Of a language model, tried on so many validation records at the least.
WEIGHTS, BONUSES, TUNED = (0.0, 0.15, 0.3, 0.5, 0.8), (0.0, 1.0, 2.0), 128


@dataclass(frozen=True, eq=False)
class Sentence:
    """A record's target: one or several sentences as ids, without their start.

    A sentence ends with the end token, unless it was cut: then there is nothing to learn of where
    it ends.
    """

    ids: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Lessons:
    """How sentences are learned from: the settings of `TextOutput`."""

    longest: int
    smoothing: float
    word_dropout: float
    consensus: float
    at_a_time: int | None
    detection: float
    ctc: float


class TextHead(Head):
    """A decoder, its vocabulary and the ways of decoding."""

    def __init__(
        self,
        decoder: Decoder,
        vocabulary: Vocabulary,
        inputs: tuple[str, ...],
        lessons: Lessons,
        decoding: Decoding,
        *,
        text_metrics: type[TextMetrics],
        detector: WordDetector | None = None,
        ctc: CtcDecoder | None = None,
        language: Decoder | None = None,
    ) -> None:
        """``inputs`` in the order of their tokens; ``ctc`` and ``language`` learn and search beside
        the decoder, ``text_metrics`` say how much the language model counts."""
        super().__init__()
        self.decoder, self.vocabulary, self.inputs = decoder, vocabulary, inputs
        self.lessons, self.decoding, self.detector = lessons, decoding, detector
        self.ctc, self.language, self.text_metrics = ctc, language, text_metrics
        if language is not None:
            self.found: Tensor  # on validation records: the language model's weight, and the bonus
            self.register_buffer("found", torch.zeros(2))
        self.lacking = GUIDES.keys() - set(guides(ctc is not None, language is not None))
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
        ids = [target.ids for target in self._targets]
        return self._reward.consensus(ids, self.lessons.consensus)

    def _decoder(self, branch: str | None) -> Decoder:
        decoder = of_branch(self.decoder, branch)
        assert isinstance(decoder, Decoder)
        return decoder

    def loss(self, fused: Fused, targets: Sequence[Sentence], branch: str | None = None) -> Tensor:
        """The decoder's loss: its own, or word by word; with the shares of CTC and detected words.

        With CTC beside the decoder the two are weighed as Kim et al. 2017 do (arXiv:1609.06773).
        """
        decoder = self._decoder(branch)
        fused, detected = self._detect(fused)
        chosen = [(row, n) for row, t in enumerate(targets) for n in self._choose(len(t.ids))]
        owners = [row for row, _ in chosen]
        sentences = [targets[row].ids[n] for row, n in chosen]
        loss = decoder.own_loss(fused, owners, sentences)
        if loss is None:
            loss = self._word_loss(decoder, fused, targets, chosen, sentences)
        if self.ctc is not None:
            timed = self.ctc.own_loss(fused, owners, sentences)
            loss = (1 - self.lessons.ctc) * loss + self.lessons.ctc * timed
        if self.language is not None:
            said = self.language.own_loss(fused, owners, sentences)
            loss = loss if said is None else loss + said
        if detected is not None:
            bags = bags_of_words([target.ids for target in targets], len(self.vocabulary))
            found = WordDetector.loss(detected.logits, bags.to(loss.device))
            loss = loss + self.lessons.detection * found
        return loss

    def _word_loss(
        self,
        decoder: Decoder,
        fused: Fused,
        targets: Sequence[Sentence],
        chosen: Sequence[tuple[int, int]],
        sentences: Sequence[Sequence[int]],
    ) -> Tensor:
        """Mean cross-entropy over the real words of all sentences, end tokens included.

        With ``consensus`` the sentences of a record are weighted, as in consensus-based training
        (Phan et al. 2017, arXiv:1712.09532). With ``word_dropout`` some of the words said so far
        are unknown to the decoder (Bowman et al. 2016, arXiv:1511.06349).
        """
        owners = [row for row, _ in chosen]
        start = decoder.start(fused)
        hidden, labels, numbers = real_words(
            decoder, start, owners, sentences, self.lessons.word_dropout if self.training else 0.0
        )
        logits = decoder.logits(hidden).float()
        weights = None
        if self.lessons.consensus:
            each = [self._weights[self._row[targets[row]]][n] for row, n in chosen]
            weights = torch.tensor(each, device=logits.device)[numbers]
        return token_cross_entropy(logits, labels, self.lessons.smoothing, weights)

    def _choose(self, count: int) -> list[int]:
        """Which of a record's texts this step learns from."""
        most = self.lessons.at_a_time
        if most is None or not self.training or count <= most:
            return list(range(count))
        return torch.randperm(count)[:most].tolist()

    def reinforce(
        self, fused: Fused, targets: Sequence[Sentence], samples: int, branch: str | None = None
    ) -> Tensor:
        """Self-critical loss: - (reward - mean reward of the other samples) · log p(sample).

        Rennie et al. 2017 (arXiv:1612.00563) with the baseline of Luo 2020 (arXiv:2003.09971):
        the mean CIDEr-D of the record's other samples.
        """
        decoder = self._decoder(branch)
        start = decoder.start(self._detect(fused)[0])
        limits = Limits(min_words=0, max_words=self.decoding.limits.max_words, no_repeat=0)
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
        hidden, labels, numbers = real_words(decoder, start, owners, sentences)
        # The probabilities are those that were drawn from: without what is never said.
        logits = decoder.logits(hidden).float()
        logits[:, list(NEVER_SAID)] = float("-inf")
        nll = cross_entropy(logits, labels, reduction="none")
        return (advantage[numbers] * nll).mean()

    def calibrate(self, fused: Iterable[Fused], targets: Sequence[Sentence]) -> None:
        """The weight of the language model and the bonus that score best, by the first metric, on
        some of the records; each is encoded once. A sentence's score is no probability of being
        right: there is nothing else to fit."""
        if self.language is None:
            return
        starts: list[DecoderState] = []  # the same for all weights
        count, guides = 0, [*self._guides(self.decoding), Guide(self.language, 0.0)]
        for part in fused:
            if count < TUNED:
                starts.append(GuidedDecoder(guides).start(self._detect(part)[0]))
                count += len(part.pooled)
        wanted = [[self.vocabulary.decode(ids) for ids in t.ids] for t in targets[:count]]
        best = -math.inf
        for weight, bonus in product(WEIGHTS, BONUSES):
            if weight == 0 and bonus:
                continue
            search = GuidedDecoder([*guides[:-1], Guide(self.language, weight)], bonus)
            found = [self._find(search, start, self.decoding) for start in starts]
            said = [self._sentence(ids) for part in found for ids in part.ids[:, 0].tolist()]
            scores = self.text_metrics(said, wanted)(np.arange(len(said)))
            if scores[self.text_metrics.best_metrics[0]] > best:
                best = scores[self.text_metrics.best_metrics[0]]
                self.found.copy_(torch.tensor([weight, bonus]))

    @torch.no_grad()
    def decode(self, fused: Fused, **options: Any) -> list[Prediction]:
        """A sentence a record (``num`` with alternatives), with the attention of each word."""
        decoding = self.decoding_options(**options)
        fused, detected = self._detect(fused)
        guides = self._guides(decoding)
        answering = self.decoder if len(guides) == 1 else GuidedDecoder(guides)
        search = self._with_language(guides, decoding) or answering
        start = self.decoder.start(fused)

        def begun(decoder: Decoder) -> DecoderState:
            return start if decoder is self.decoder else decoder.start(fused)

        found = self._find(search, begun(search), decoding).first(decoding.num)
        if search is not answering:
            found = _without_language(answering, begun(answering), found)
        attention = self._attention(start, found.ids[:, 0])
        return list(self._predictions(fused, found, attention, detected))

    def _find(self, search: Decoder, start: DecoderState, decoding: Decoding) -> Sentences:
        """Drawn or searched sentences of every record."""
        if decoding.sample:
            generator = torch.Generator().manual_seed(decoding.seed)
            return sample(
                search, start, decoding.num, decoding.limits, decoding.temperature,
                decoding.top_k, decoding.top_p, generator,
            )  # fmt: skip
        beams = max(decoding.beam, decoding.num)
        return beam_search(search, start, beams, decoding.length_penalty, decoding.limits)

    def _guides(self, decoding: Decoding) -> list[Guide]:
        """What says how probable a sentence is, given the input."""
        if self.ctc is None:
            return [Guide(self.decoder, 1.0)]
        share = self.lessons.ctc if decoding.ctc is None else decoding.ctc
        return [Guide(self.decoder, 1 - share), Guide(self.ctc, share)]

    def _with_language(self, guides: Sequence[Guide], decoding: Decoding) -> Decoder | None:
        """The guides, the language model and the bonus; None where they count nothing."""
        if self.language is None:
            return None
        weight, bonus = self.found.tolist()
        weight = weight if decoding.language is None else decoding.language
        bonus = bonus if decoding.bonus is None else decoding.bonus
        if not (weight or bonus):
            return None
        return GuidedDecoder([*guides, Guide(self.language, weight)], bonus)

    def support(self, fused: Fused, answers: Sequence[Any]) -> Tensor:
        """(B,) the sentences' mean log-probability a word, end tokens included."""
        sentences = [self._said(answer) for answer in answers]
        start = self.decoder.start(self._detect(fused)[0])
        rows = range(len(sentences))
        hidden, labels, numbers = real_words(self.decoder, start, rows, sentences)
        scores = log_scores(self.decoder, hidden).gather(1, labels[:, None])[:, 0]  # (M,)
        total = scores.new_zeros(len(sentences)).index_add(0, numbers, scores)
        words = torch.bincount(numbers, minlength=len(sentences))
        return (total / words).cpu()

    def _said(self, answer: Any) -> tuple[int, ...]:
        """A sentence's words with their end, as it was said."""
        return (*self.vocabulary.encode(answer), EOS)[: self.lessons.longest]

    def _step_scores(self, fused: Fused, said: Sequence[int]) -> Tensor:
        """(B, L, V) log-probabilities of what each word might have been, to each record."""
        start = self.decoder.start(self._detect(fused)[0])
        rows = range(len(start))
        # All are of one length, and so in their order.
        hidden, _, _ = real_words(self.decoder, start, rows, [said] * len(start))
        return log_scores(self.decoder, hidden).view(len(start), len(said), -1)

    def steps(self, fused: Fused, answer: Any) -> tuple[Tensor, Tensor]:
        """The mean log-probability a word, and each word's; the end is a word of the mean alone."""
        said = self._said(answer)
        each = self._step_scores(fused, said)[:, range(len(said)), said].cpu()
        return each.mean(dim=1), each[:, : len(self.vocabulary.encode(answer))]

    def alternatives(self, fused: Fused, answer: Any, count: int) -> list[tuple[Alternative, ...]]:
        """The word that was said, and the likeliest others in its place; "(end)" is the
        sentence's end."""
        said = self._said(answer)
        scores = self._step_scores(fused, said)[0]  # (L, V)
        scores[:, list(NEVER_SAID)] = float("-inf")
        found = []
        for word, row in zip(self.vocabulary.encode(answer), scores.exp(), strict=False):
            others = [w for w in row.topk(min(count + 1, len(row))).indices.tolist() if w != word]
            chosen = [word, *others[:count]]
            found.append(tuple(Alternative(self._piece(w), float(row[w])) for w in chosen))
        return found

    def looks(self, fused: Fused, answer: Any) -> dict[str, Tensor]:
        """The decoder's attention, where the fusion keeps the inputs' tokens apart."""
        ids = torch.tensor([self.vocabulary.encode(answer)[: self.lessons.longest]])
        fused, _ = self._detect(fused)
        start = self.decoder.start(fused)
        (attention,) = self._attention(start, ids.to(start.device))
        return {name: attention[:, cut] for name, cut in self._part_slices(fused).items()}

    def _piece(self, word: int) -> str:
        piece = "(end)" if word == EOS else "".join(self.vocabulary.pieces([word]))
        return piece if piece.strip() else SPACE

    def decoding_options(self, **options: Any) -> Decoding:
        """The recipe's with ``options`` changed, within what the decoder's positions allow, and of
        what the model has."""
        has = GUIDES.keys() - self.lacking
        return self.decoding.within(self.lessons.longest, has, **options)

    def numbers(self, fused: Fused) -> dict[str, Tensor]:
        """The decoder's state before the first word, and the detected words."""
        fused, detected = self._detect(fused)
        start = DecoderState.together({n: part.start(fused) for n, part in self._steps().items()})
        found = {f"{MEMORY}{name}": value for name, value in start.memory.items()}
        found |= {f"{PAST}{name}": value for name, value in start.past.items()}
        if detected is not None:
            found |= {DETECTED: detected.words, PROBABLE: detected.probable}
        return found

    def _steps(self) -> dict[str, Decoder]:
        """All that says a word more, but for n-grams, which are numpy's work."""
        found = {DECODER: self.decoder}
        if self.ctc is not None:
            found[CTC] = self.ctc
        if self.language is not None and not isinstance(self.language, NGramDecoder):
            found[LANGUAGE] = self.language
        return found

    def _say(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Words (N,) that follow a memory and a past -> everybody's scores (N, V), and the next
        past."""
        state = DecoderState(under(MEMORY, tensors), under(PAST, tensors))
        scores, after = {}, {}
        for name, decoder in self._steps().items():
            hidden, _, after[name] = decoder(tensors[WORDS][:, None], state.of(name))
            scores[f"{SCORES}{name}"] = log_scores(decoder, hidden[:, 0])
        past = DecoderState.together(after).past
        return scores | {f"{NEXT}{PAST}{name}": value for name, value in past.items()}

    def answers(self) -> State:
        """The vocabulary, the recipe's way of decoding, and what guides it."""
        for part in self.decoder.modules():
            if isinstance(part, Decoder) and not part.exported:
                raise UsageError(
                    f"the decoder {type(part).__name__} can't be exported",
                    expected="transformer, gru-attention or ctc",
                )
        language = None
        if self.language is not None:
            grams = self.language.model if isinstance(self.language, NGramDecoder) else None
            language = {"found": self.found.tolist(), "ngram": grams and grams.to_state()}
        return {
            "kind": TEXT, "vocabulary": self.vocabulary.to_state(), "longest": self.lessons.longest,
            "decoding": self.decoding.model_dump(), "final": self.decoder.final_scores,
            "ctc": None if self.ctc is None else self.lessons.ctc, "language": language,
        }  # fmt: skip

    def graph(self, examples: Sequence[Mapping[str, Tensor]]) -> Graph:
        """A step: a word more, after one word and after two."""
        steps = []
        for words, example in enumerate(examples, start=1):
            step = under(MEMORY, example, MEMORY) | under(PAST, example, PAST)
            count = len(next(iter(step.values())))
            step = {WORDS: torch.full((count,), BOS)} | step
            for _ in range(words):
                step |= under(NEXT, self._say(step))
            steps.append(step)
        return Graph(nn.ModuleDict(self._steps()), self._say, steps)

    def _predictions(
        self,
        fused: Fused,
        found: Sentences,
        attention: Tensor,
        detected: Detected | None,
    ) -> Iterator[Prediction]:
        """``attention`` (B, L, T) is that of the best sentences."""
        timed = self.decoder if isinstance(self.decoder, CtcDecoder) else self.ctc
        emissions = None if timed is None else timed.emissions(fused).cpu().numpy()
        parts = self._part_slices(fused)
        means = (found.scores / found.lengths.clamp(min=1)).tolist()
        for b, sentences in enumerate(found.ids.tolist()):
            best, said = spoken(self.vocabulary, sentences, means[b])
            yield replace(
                said,
                moments=() if emissions is None else _moments(emissions[b], best),
                detected=self._detected_words(detected, b),
                attention={
                    name: attention[b, : len(best), cut].numpy() for name, cut in parts.items()
                },
            )

    def _sentence(self, ids: Sequence[int]) -> str:
        """Where units are characters, spaces may stand at its ends."""
        return self.vocabulary.decode(ids).strip()

    def _detected_words(self, detected: Detected | None, row: int) -> dict[str, float]:
        if detected is None:
            return {}
        words, probable = detected.words[row].tolist(), detected.probable[row].tolist()
        return detected_words(self.vocabulary, words, probable)

    def _attention(self, start: DecoderState, ids: Tensor) -> Tensor:
        """Where each word of ``ids`` (B, L) was looked for: (B, L, T)."""
        _, attention, _ = self.decoder(_before(ids), start, attend=True)
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


def _before(said: Tensor) -> Tensor:
    """Words (N, L) -> what a decoder has heard before each of them."""
    return torch.cat([torch.full_like(said[:, :1], BOS), said[:, :-1]], dim=1)


def _without_language(answering: Decoder, start: DecoderState, found: Sentences) -> Sentences:
    """The same sentences in the same order, with how probable they are by the input alone: a sum
    with a language model and a bonus is no probability.

    Args:
        answering: what says so.
        start: its state, a row a record.
        found: where a sentence's score is -inf there is none, and it stays so.
    """
    count, each, length = found.ids.shape
    rows = torch.arange(count, device=start.device).repeat_interleave(each)
    said = found.ids.flatten(0, 1)  # (N, L)
    hidden, _, _ = answering(_before(said), start.select(rows))
    scores = log_scores(answering, hidden).gather(2, said[..., None]).view(count, each, length)
    real = torch.arange(length, device=scores.device) < found.lengths[..., None]
    total = torch.where(real, scores, 0.0).sum(dim=-1)
    return replace(found, scores=torch.where(found.scores.isfinite(), total, found.scores))


def _moments(emissions: NDArray[np.float32], said: Sequence[int]) -> tuple[tuple[int, int], ...]:
    return tuple((tokens.start, tokens.stop) for tokens in align(emissions, said))
