"""`text`: a sentence, said word by word; captions, transcripts, translations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle, islice
from typing import Annotated, Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from plait import registry
from plait.blocks import token_cross_entropy
from plait.components import Head, Output
from plait.outputs.text.cider import CiderReward
from plait.outputs.text.decoder import Decoder, select
from plait.outputs.text.detector import Detected, WordDetector, bags_of_words, word_shares
from plait.outputs.text.scores import CaptionScores, caption_scores
from plait.outputs.text.search import NEVER_SAID, Limits, Sentences, beam_search, sample
from plait.outputs.text.vocabulary import (
    BOS,
    EOS,
    PAD,
    Unit,
    Vocabulary,
    from_state,
    hub_vocabulary,
    learn_vocabulary,
)
from plait.recipe import Nested
from plait.registry import register
from plait.types import Alternative, BadCell, Fused, PlaitError, Prediction, State, UsageError

GROUPS, LEAST_GROUP = 4, 32  # sentences of like length run together
SAMPLED_WORDS, SAMPLE = 20_000, 12  # made-up words for a summary, words of a made-up sentence


class Decoding(BaseModel):
    """How a sentence is found. ``samples`` above 0 draws at random; else beam search."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    beam: Annotated[int, Field(ge=1, le=64, description="beams; 1 is greedy")] = 3
    length_penalty: Annotated[
        float, Field(ge=0, le=4, description="0 favours short sentences, 1 the mean a word")
    ] = 0.8
    min_words: Annotated[int, Field(ge=0, description="fewest words")] = 3
    max_words: Annotated[int, Field(ge=1, le=512, description="most words")] = 24
    no_repeat: Annotated[
        int, Field(ge=0, description="no n-gram of this length twice; 0 allows all")
    ] = 3
    num: Annotated[int, Field(ge=1, le=64, description="sentences a record")] = 1
    sample: Annotated[bool, Field(description="draw at random instead of searching")] = False
    temperature: Annotated[float, Field(gt=0, description="of the random draw")] = 1.0
    top_k: Annotated[int, Field(ge=0, description="draw from the k likeliest words; 0: all")] = 0
    top_p: Annotated[
        float, Field(gt=0, le=1, description="draw from this share of the probability")
    ] = 1.0
    seed: Annotated[int, Field(ge=0, description="of the random draw")] = 0

    @model_validator(mode="after")
    def _lengths_fit(self) -> Decoding:
        if self.min_words > self.max_words:
            raise ValueError(f"min_words {self.min_words} is above max_words {self.max_words}")
        return self

    @property
    def limits(self) -> Limits:
        """The part that the search functions know."""
        return Limits(self.min_words, self.max_words, self.no_repeat)


@dataclass(frozen=True, eq=False)
class Sentence:
    """A record's target: one or several sentences as ids, without their start.

    A sentence ends with the end token, unless it was cut: then there is nothing to learn of where
    it ends.
    """

    ids: tuple[tuple[int, ...], ...]


@register("output", "text")
class TextOutput(Output):
    """A sentence, said word by word by a decoder that looks at the inputs."""

    # CIDEr of a single record is always 0.
    best_metrics: ClassVar[Mapping[str, str]] = {"cider": "CIDEr-D", "bleu4": "BLEU-4"}
    several = True

    def __init__(
        self,
        *,
        unit: Annotated[Unit, Field(description="what is said at a time")] = "words",
        min_count: Annotated[
            int, Field(ge=1, description="rarer words are unknown to the vocabulary")
        ] = 5,
        vocabulary: Annotated[
            int, Field(ge=10, le=1_000_000, description="entries of the vocabulary at the most")
        ] = 10_000,
        punctuation: Annotated[bool, Field(description="keep punctuation as words")] = True,
        longest: Annotated[
            int, Field(ge=1, le=4096, description="training texts are cut to this many words")
        ] = 64,
        decoder: Annotated[
            dict[str, Any],
            Field(description="the decoder: kind and its settings"),
            Nested("decoder"),
        ] = {"kind": "transformer"},  # noqa: B006 - never changed
        at_a_time: Annotated[
            int | None,
            Field(ge=1, description="texts of a record to learn from in a step; null: all"),
        ] = None,
        smoothing: Annotated[float, Field(ge=0, lt=1, description="label smoothing")] = 0.1,
        consensus: Annotated[
            float,
            Field(
                ge=0,
                description="how much more a text weighs that agrees with the record's "
                "others; 0: all alike",
            ),
        ] = 0.0,
        detect: Annotated[
            int,
            Field(
                ge=0,
                le=256,
                description="words that the input calls for, detected first and shown to the "
                "decoder; 0: none",
            ),
        ] = 0,
        detection: Annotated[
            float, Field(gt=0, description="weight of the detected words' loss")
        ] = 0.3,
        decoding: Annotated[
            Decoding, Field(description="how a sentence is found when predicting")
        ] = Decoding(),  # noqa: B008 - frozen
    ) -> None:
        self.unit, self.min_count, self.size = unit, min_count, vocabulary
        self.punctuation, self.smoothing, self.consensus = punctuation, smoothing, consensus
        self.decoder = registry.canonical("decoder", decoder)
        if (unit == "hub") != (self.decoder["kind"] == "hub"):
            raise UsageError(
                f"unit {unit!r} doesn't go with the decoder {self.decoder['kind']!r}",
                expected="unit hub with a hub:NAME decoder, another unit with any other",
            )
        self.decoding, self.longest = Decoding.model_validate(decoding), longest
        self.at_a_time, self.detect, self.detection = at_a_time, detect, detection
        if self.decoding.max_words > longest:
            raise UsageError(
                f"decoding.max_words is {self.decoding.max_words}, longest is {longest}",
                expected="sentences to say no longer than those learned from",
            )

    def learn(self, cells: Iterable[Any]) -> State:
        """The vocabulary of all training sentences, and what the decoder brings with it."""
        decoder: Any = registry.find("decoder", self.decoder["kind"]).cls
        own: State = decoder.learn(self.decoder)
        texts = [sentences for cell in cells if (sentences := as_sentences(cell))]
        vocabulary = self._vocabulary(texts)
        state = vocabulary.to_state()
        if own:
            state["decoder"] = own
        if self.detect:
            records = [[vocabulary.encode(s)[: self.longest] for s in text] for text in texts]
            state["shares"] = word_shares(records, len(vocabulary))
        return state

    def samples(self) -> list[Any]:
        """Sentences with as many words as the vocabulary takes, each as often as it must be
        seen."""
        words = [f"w{number}" for number in range(min(self.size, SAMPLED_WORDS))]
        starts = range(0, max(len(words), 2 * SAMPLE), SAMPLE)
        cells = [" ".join(islice(cycle(words), at, at + SAMPLE)) for at in starts]
        return cells * self.min_count

    def _vocabulary(self, texts: Sequence[Sequence[str]]) -> Vocabulary:
        if self.unit == "hub":
            return hub_vocabulary(self.decoder["name"])
        sentences = [sentence for text in texts for sentence in text]
        if not sentences:
            raise PlaitError("all training texts are empty", expected="at least one sentence")
        return learn_vocabulary(sentences, self.unit, self.min_count, self.size, self.punctuation)

    def reader(self, state: State) -> Callable[[Any], Sentence]:
        """Reads the ids of a cell's sentences, the long ones cut."""
        vocabulary = from_state(state)

        def read(cell: Any) -> Sentence:
            sentences = as_sentences(cell)
            if not sentences:
                raise BadCell("the text is empty", expected="at least one sentence")
            encoded = ((*vocabulary.encode(s), EOS)[: self.longest] for s in sentences)
            return Sentence(tuple(encoded))

        return read

    def reference(self, cell: Any) -> list[str]:
        """All of the record's sentences."""
        return as_sentences(cell)

    def head(self, state: State, width: int, inputs: Sequence[str], pretrained: bool) -> Head:
        """The decoder with its search."""
        vocabulary = from_state(state)
        own = {"state": state["decoder"], "pretrained": pretrained} if "decoder" in state else {}
        decoder = registry.build(
            "decoder",
            self.decoder,
            vocabulary=len(vocabulary),
            width=width,
            max_words=self.longest,
            **own,
        )
        detector = WordDetector(state["shares"], width, self.detect) if self.detect else None
        return TextHead(decoder, vocabulary, self, tuple(inputs), detector)

    def quick_metrics(
        self, predictions: Sequence[Prediction], references: Sequence[Any]
    ) -> dict[str, float]:
        """BLEU, ROUGE-L, CIDEr-D and diversity, without intervals."""
        scores = caption_scores(
            [p.value for p in predictions], references, intervals=0, meteor=False
        ).to_json()
        return {name: float(v) for name, v in scores.items() if isinstance(v, (int, float))}

    def metrics(
        self, predictions: Sequence[Prediction], references: Sequence[Any]
    ) -> CaptionScores:
        """BLEU, ROUGE-L, CIDEr-D and diversity of the predicted sentences."""
        return caption_scores([p.value for p in predictions], references)


class TextHead(Head):
    """A decoder, its vocabulary and the ways of decoding."""

    def __init__(
        self,
        decoder: Decoder,
        vocabulary: Vocabulary,
        output: TextOutput,
        inputs: tuple[str, ...],
        detector: WordDetector | None = None,
    ) -> None:
        super().__init__()
        self.detector = detector
        self.decoder, self.vocabulary, self.inputs = decoder, vocabulary, inputs
        self.decoding, self.longest = output.decoding, output.longest
        self.smoothing, self.consensus = output.smoothing, output.consensus
        self.at_a_time, self.detection = output.at_a_time, output.detection
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
        references = [target.ids for target in self._targets]
        return _agreement(self._reward, references, self.consensus)

    def loss(self, fused: Fused, targets: Sequence[Sentence]) -> Tensor:
        """Mean cross-entropy over the real words of all sentences, end tokens included.

        With ``consensus`` the sentences of a record are weighted, as in consensus-based training
        (Phan et al. 2017, arXiv:1712.09532).
        """
        fused, detected = self._detect(fused)
        chosen = [(row, n) for row, t in enumerate(targets) for n in self._choose(len(t.ids))]
        owners = [row for row, _ in chosen]
        sentences = [targets[row].ids[n] for row, n in chosen]
        hidden, labels, numbers = self._real_words(fused, owners, sentences)
        logits = self.decoder.logits(hidden).float()
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
        self, fused: Fused, owners: Sequence[int], sentences: Sequence[Sequence[int]]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Hidden vectors (M, D) that predict a real word, those words (M,), their sentences (M,).

        Sentences of like length run together, so that little is computed for padding.
        """
        start, device = self.decoder.start(fused), fused.pooled.device
        by_length = sorted(range(len(sentences)), key=lambda n: len(sentences[n]))
        size = max(LEAST_GROUP, -(-len(by_length) // GROUPS))
        found = []
        for at in range(0, len(by_length), size):
            group = by_length[at : at + size]
            state = select(start, torch.tensor([owners[n] for n in group], device=device))
            inputs = _padded([[BOS, *sentences[n][:-1]] for n in group], device)  # (N, L)
            labels = _padded([sentences[n] for n in group], device)
            hidden, _, _ = self.decoder(inputs, state)  # (N, L, D)
            real = labels != PAD
            numbers = torch.tensor(group, device=device)[:, None].expand_as(labels)
            found.append((hidden[real], labels[real], numbers[real]))
        hidden, labels, numbers = (torch.cat(part) for part in zip(*found, strict=True))
        return hidden, labels, numbers

    def reinforce(self, fused: Fused, targets: Sequence[Sentence], samples: int) -> Tensor:
        """Self-critical loss: - (reward - mean reward of the other samples) · log p(sample).

        Rennie et al. 2017 (arXiv:1612.00563) with the baseline of Luo 2020 (arXiv:2003.09971):
        the mean CIDEr-D of the record's other samples.
        """
        fused, _ = self._detect(fused)
        limits = Limits(min_words=0, max_words=self.decoding.max_words, no_repeat=0)
        with torch.no_grad():
            drawn = sample(self.decoder, fused, samples, limits)
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
        reward = reward.view(len(targets), samples).to(fused.pooled.device)
        others = (reward.sum(1, keepdim=True) - reward) / (samples - 1)
        advantage = (reward - others).flatten()  # (N,)
        owners = [n // samples for n in range(len(sentences))]
        hidden, labels, numbers = self._real_words(fused, owners, sentences)
        # The probabilities are those that were drawn from: without what is never said.
        logits = self.decoder.logits(hidden).float()
        logits[:, list(NEVER_SAID)] = float("-inf")
        nll = cross_entropy(logits, labels, reduction="none")
        return (advantage[numbers] * nll).mean()

    @torch.no_grad()
    def decode(self, fused: Fused, **options: Any) -> list[Prediction]:
        """A sentence a record (``num`` with alternatives), with the attention of each word."""
        decoding = self.decoding_options(**options)
        limits = decoding.limits
        fused, detected = self._detect(fused)
        if decoding.sample:
            generator = torch.Generator().manual_seed(decoding.seed)
            found = sample(
                self.decoder, fused, decoding.num, limits, decoding.temperature,
                decoding.top_k, decoding.top_p, generator,
            )  # fmt: skip
        else:
            beams = max(decoding.beam, decoding.num)
            found = beam_search(self.decoder, fused, beams, decoding.length_penalty, limits)
        return list(self._predictions(fused, found, detected, decoding.num))

    def decoding_options(self, **options: Any) -> Decoding:
        """Checked against the recipe's limits."""
        try:
            decoding = Decoding.model_validate({**self.decoding.model_dump(), **options})
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            hint = registry.did_you_mean(name, Decoding.model_fields)
            what = f"decoding option {name}".rstrip()
            raise UsageError(f"{what}: {first['msg'].lower()}", mend=hint) from None
        if decoding.max_words > self.longest:
            raise UsageError(
                f"max_words is {decoding.max_words}", expected=f"{self.longest} at the most"
            )
        return decoding

    def _predictions(
        self, fused: Fused, found: Sentences, detected: Detected | None, num: int
    ) -> Iterator[Prediction]:
        attention = self._attention(fused, found.ids[:, 0])  # (B, L, T)
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
        return dict(zip(words, detected.probable[row].tolist(), strict=True))

    def _attention(self, fused: Fused, ids: Tensor) -> Tensor:
        """Where each word of ``ids`` (B, L) was looked for: (B, L, T)."""
        before = torch.cat([torch.full_like(ids[:, :1], BOS), ids[:, :-1]], dim=1)
        _, attention, _ = self.decoder(before, self.decoder.start(fused), attend=True)
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


def _agreement(
    reward: CiderReward, references: Sequence[Sequence[Sequence[int]]], strength: float
) -> list[list[float]]:
    """A weight for each sentence: exp(strength · its CIDEr-D against the record's others), scaled
    so that a record's weights have mean 1."""
    rows = [row for row, sentences in enumerate(references) for _ in sentences]
    flat = [sentence for sentences in references for sentence in sentences]
    scores = iter(reward.scores(rows, flat))
    weights = []
    for sentences in references:
        count = len(sentences)
        # The score is the mean over all, itself among them; against itself it is 10 (less for
        # sentences too short to have all n-grams).
        own = [10 * min(len(sentence), 4) / 4 for sentence in sentences]
        others = [(count * float(next(scores)) - o) / max(count - 1, 1) for o in own]
        found = [math.exp(strength * value) if count > 1 else 1.0 for value in others]
        weights.append([w * count / sum(found) for w in found])
    return weights


def as_sentences(cell: Any) -> list[str]:
    """A cell's sentences: it may hold one string or a list of them; empty ones are left out."""
    values = [cell] if isinstance(cell, str) else list(cell or [])
    for value in values:
        if value is not None and not isinstance(value, str):
            raise BadCell(f"{value!r} is no text", expected="a string or a list of strings")
    return [v.strip() for v in values if v and v.strip()]


def _padded(rows: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    tensors = [torch.tensor(row) for row in rows]
    return pad_sequence(tensors, batch_first=True, padding_value=PAD).to(device)
