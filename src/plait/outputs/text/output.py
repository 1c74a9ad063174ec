"""`text`: a text, generated token by token: captions, transcripts, translations, answers."""

from __future__ import annotations

import logging
import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from plait.config import registry
from plait.config.registry import Nested, register
from plait.data.vocabulary import (
    EOS,
    SPECIALS,
    UNK,
    Unit,
    Vocabulary,
    fit_vocabulary,
    load_vocabulary,
)
from plait.outputs.base import Output, RawOutputs, Steps, rounded
from plait.outputs.text.confidence import UNDETECTED, confidence, evidence
from plait.outputs.text.decoders.base import Decoder
from plait.outputs.text.decoders.ctc import align
from plait.outputs.text.fluency import Fluency, fit_fluency
from plait.outputs.text.lm.base import LanguageModel
from plait.outputs.text.lm.ngram import NGram
from plait.outputs.text.metrics.base import TextMetrics
from plait.outputs.text.search import (
    CTC,
    DECODER,
    LANGUAGE,
    Decoding,
    Hypotheses,
    Mixture,
    generate,
    unavailable,
)
from plait.types import (
    Alternative,
    BadCell,
    Branches,
    EmptyTarget,
    PlaitError,
    Prediction,
    State,
    UsageError,
)
from plait.util.imports import needed

if TYPE_CHECKING:
    from plait.nn.base import Head

log = logging.getLogger("plait")

# Raw outputs of a text beside its decoder's: detected words, their probabilities, those of all
# words for the confidence, CTC's emissions; the tags as token ids, and their weights.
DETECTED, PROBABILITIES, EMISSIONS = "detected", "probabilities", "emissions"
CHANCES = "chances"
TAGS, TAG_WEIGHTS = "tags", "tag weights"  # of a pointer
REPORTED = (DETECTED, PROBABILITIES, EMISSIONS, CHANCES, TAGS, TAG_WEIGHTS)
SPACE = "␣"  # how a space is shown, and what can't be read
SAMPLE_WORDS, SAMPLE = 20_000, 12  # made-up words for a summary, words of a made-up text


@dataclass(frozen=True)
class TextTarget:
    """A record's right texts.

    Attributes:
        token_ids: of each text, without the start token. It ends with the end token unless it was
            cut: then there is nothing to learn about where it ends.
    """

    token_ids: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class TextDetails:
    """How a text was generated.

    Attributes:
        words: its tokens, readable.
        moments: for each of ``words`` the first token of the input that it was heard in and the one
            after the last, for texts that go along with their input in time (CTC).
        attention: input -> (words, input tokens) float, how much each word attended to each token.
        detected: the words that the input calls for and how probable each is, those that stand out
            most first, for models that detect words.
        likely: all words that are at all likely by the detectors, and how probable each is, for
            models that are calibrated.
        tags: the words that the inputs give, and their weights, for models with a pointer.
        confidence: how probable it is that the text is right, for models that were calibrated.
        token_ids: the ids of ``words``.
    """

    words: tuple[str, ...] = ()
    moments: tuple[tuple[int, int], ...] = ()
    attention: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    detected: Mapping[str, float] = field(default_factory=dict)
    likely: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, float] = field(default_factory=dict)
    confidence: float | None = None
    token_ids: tuple[int, ...] = ()


class Texts(Output):
    """What outputs share whose answers are texts, however these are generated."""

    mixup = False
    several_answers = True
    answer_type = "text"

    metrics: Annotated[str, registry.Named("metric")] = Field(
        default="captions", description="what the texts are, which decides how they are scored"
    )
    calibrate: bool = Field(
        default=False,
        description="fit to the validation records how probable it is that a text is right; for "
        "captions, that it names the main subject",
    )

    @property
    def _silence_is_text(self) -> bool:
        """Whether a record without a text has an empty one, as nothing is said in a recording."""
        return self.scored_by.limits.min_words == 0

    def reference(self, cell: Any, root: Path) -> list[str]:
        """All texts of the record; an empty one if nothing is said in a recording."""
        return as_texts(cell) or [""] * self._silence_is_text

    def decode(
        self, raw: RawOutputs, fitted: State, options: Any, steps: Any = None
    ) -> list[Prediction]:
        """A text for each record (and alternatives, with ``num``). Their confidence was fitted to
        answers of the recipe's own search; those of another have none."""
        chosen = {*options.calibrated_with}
        usual = options.model_dump(include=chosen) == self.options().model_dump(include=chosen)
        calibrated = fitted.get("confidence") if usual else None
        predictions = []
        for answers, words in self.answers(raw, fitted, options, steps):
            if calibrated and words:
                sure = [confidence(calibrated, found) for found in self.evidence(answers, words)]
                answers = [
                    replace(answer, details=replace(answer.details, confidence=p))
                    for answer, p in zip(answers, sure, strict=True)
                ]
            best, *others = answers
            details = best.details
            predictions.append(Prediction(best.value, best.score, tuple(others), details=details))
        return predictions

    @abstractmethod
    def answers(
        self, raw: RawOutputs, fitted: State, options: Any, steps: Any
    ) -> Iterator[tuple[list[Alternative], Sequence[Sequence[str]]]]:
        """For each record its answers without their confidence, the best first, and what `evidence`
        compares if the output is to be calibrated: the words of all texts that the search found,
        those of the answers first; nothing where there was no search."""

    def evidence(
        self, answers: Sequence[Alternative], words: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """What speaks for each of a record's `answers` being right: see
        `plait.outputs.text.confidence.evidence`."""
        return [
            evidence(answer, own, [*words[:rank], *words[rank + 1 :]], self.scored_by)
            for rank, (answer, own) in enumerate(zip(answers, words, strict=False))
        ]

    def details_json(self, prediction: Prediction, digits: int | None) -> dict[str, Any]:
        """The confidence, if it was calibrated."""
        sure = self.calibrated(prediction)
        return {} if sure is None else {"confidence": rounded(sure, digits)}

    def extra_cells(self, prediction: Prediction) -> dict[str, Any]:
        """The confidence, if it was calibrated."""
        sure = self.calibrated(prediction)
        return {} if sure is None else {"confidence": round(sure, 4)}

    def confidence(self, prediction: Prediction) -> float:
        """The calibrated probability that the text is right; without one, the geometric mean of the
        tokens' probabilities."""
        sure = self.calibrated(prediction)
        return math.exp(prediction.score) if sure is None else sure

    def calibrated(self, prediction: Prediction) -> float | None:
        """For captions, the probability that the main subject is right."""
        return (prediction.details or TextDetails()).confidence

    def is_calibrated(self, fitted: State) -> bool:
        """Whether the confidence was fitted to validation records."""
        return bool(fitted.get("confidence"))

    def store(self, prediction: Prediction) -> dict[str, Any]:
        """With the calibrated confidence."""
        sure = self.calibrated(prediction)
        return super().store(prediction) | ({} if sure is None else {"confidence": sure})

    def restore(self, raw: Mapping[str, Any]) -> Prediction:
        """With the calibrated confidence."""
        details = TextDetails(confidence=raw["confidence"]) if "confidence" in raw else None
        return replace(super().restore(raw), details=details)

    def words(self, prediction: Prediction) -> Sequence[str]:
        """The tokens, readable; none of stored predictions."""
        return (prediction.details or TextDetails()).words

    def attention(self, prediction: Prediction) -> Mapping[str, NDArray[np.float32]]:
        """How much each word attended to each token of the inputs."""
        return (prediction.details or TextDetails()).attention

    # Scores ----------------------------------------------------------------------------------

    @property
    def scored_by(self) -> type[TextMetrics]:  # type: ignore[override]
        """The class of its metrics."""
        return registry.find("metric", self.metrics).cls

    def scorer(self, predictions: Sequence[Prediction], references: Sequence[Any]) -> TextMetrics:
        """See `Output.scorer`."""
        metrics = self.scored_by([prediction.value for prediction in predictions], references)
        sure = [self.calibrated(prediction) for prediction in predictions]
        metrics.confidences = [p for p in sure if p is not None] if None not in sure else None
        return metrics


@register("output", "text")
class TextOutput(Texts):
    """Text, generated token by token by a decoder that attends to the inputs."""

    head_class = "plait.outputs.text.networks.TextHead"

    unit: Unit = Field(default="words", description="what a token is")
    lower: bool = Field(
        default=True, description="lower-case the texts; models of the Hub ignore this"
    )
    min_count: int = Field(default=5, ge=1, description="rarer words become unknown")
    vocabulary: int = Field(
        default=10_000, ge=10, le=1_000_000, description="maximum size of the vocabulary"
    )
    punctuation: bool = Field(default=True, description="keep punctuation as words")
    max_length: int = Field(
        default=64, ge=1, le=4096, description="training texts are cut to this many tokens"
    )
    decoder: Annotated[dict[str, Any], Nested("decoder")] = Field(
        default={"kind": "transformer"}, description="the decoder: kind and its settings"
    )
    texts_per_step: int | None = Field(
        default=None, ge=1, description="texts of a record in one training step; null: all"
    )
    label_smoothing: float = Field(default=0.1, ge=0, lt=1, description="label smoothing")
    word_dropout: float = Field(
        default=0.0, ge=0, lt=1, description="share of previous words hidden in training"
    )
    consensus: float = Field(
        default=0.0,
        ge=0,
        description="extra weight of texts that agree with the record's other texts",
    )
    ctc_weight: float = Field(
        default=0.0, ge=0, lt=1, description="weight of a CTC loss, for speech; 0: none"
    )
    language_model: Annotated[dict[str, Any] | None, Nested("language-model")] = Field(
        default=None, description="a language model of the texts: kind and its settings; null: none"
    )
    detected_words: int = Field(
        default=0, ge=0, le=256, description="words to detect and show to the decoder; 0: none"
    )
    detection_weight: float = Field(
        default=0.3, gt=0, description="weight of the word detection loss"
    )
    pointer: bool = Field(
        default=False,
        description="let the decoder see, and say, words that inputs give: what a photo's classes "
        "are called, the words of a text",
    )
    fluency: bool = Field(
        default=False,
        description="never generate what the training texts avoid: certain pairs of words, certain "
        "last words, repeated words",
    )
    decoding: Decoding = Field(default=Decoding(), description="how texts are generated")

    # Settings --------------------------------------------------------------------------------

    @field_validator("decoder")
    @classmethod
    def _named(cls, decoder: dict[str, Any]) -> dict[str, Any]:
        """``hub:NAME`` written out. An unknown decoder is reported with its own settings."""
        try:
            return registry.canonical("decoder", decoder)
        except (UsageError, KeyError):
            return decoder

    @model_validator(mode="after")
    def _settings_agree(self) -> TextOutput:
        kind = self.decoder.get("kind")
        if (self.unit == "hub") != (kind == "hub"):
            raise ValueError(
                f"unit {self.unit!r} doesn't go with the decoder {kind!r}; expected unit hub "
                "with a hub:NAME decoder, another unit with any other"
            )
        if (self.ctc_weight or kind == CTC) and self.detected_words:
            raise ValueError("CTC can't use detected words; expected detected_words: 0")
        if self.ctc_weight and kind == CTC:
            raise ValueError("the decoder is CTC already; expected ctc_weight: 0")
        for name in ("pointer", "fluency"):
            if getattr(self, name) and self.unit != "words":
                raise ValueError(f"{name} needs words; expected unit: words, or {name}: false")
        if self.pointer and not registry.find("decoder", str(kind)).cls.embeds_words:
            raise ValueError(f"the decoder {kind} can't have a pointer; expected pointer: false")
        language = (self.language_model or {}).get("kind")
        if self.pointer and language and language != "neural":
            raise ValueError(
                f"the language model {language} knows the training texts' words alone; expected "
                "kind: neural, or pointer: false"
            )
        try:
            most = self._default_decoding.limits.max_words
        except UsageError as error:  # its limits contradict each other
            raise ValueError(str(error)) from None
        if most > self.max_length:
            raise ValueError(
                f"decoding.max_words is {most}, max_length is {self.max_length}; expected texts no "
                "longer than those in training"
            )
        return self

    @cached_property
    def _default_decoding(self) -> Decoding:
        return self.decoding.settled(self.scored_by.limits, self.max_length)

    @cached_property
    def decoder_settings(self) -> Decoder:
        """The decoder, fitted where the output is."""
        decoder: Decoder = registry.build("decoder", self.decoder)
        return decoder.with_state(self.state.get("decoder", {}))

    @cached_property
    def language_model_settings(self) -> LanguageModel | None:
        """The language model, fitted where the output is."""
        if self.language_model is None:
            return None
        model: LanguageModel = registry.build("language-model", self.language_model)
        return model.with_state(self.state.get("language", {}))

    @property
    def ngram(self) -> NGram | None:
        """The language model, where it is an n-gram model."""
        model = self.language_model_settings
        return None if model is None else model.ngram

    @cached_property
    def tokenizer(self) -> Vocabulary:
        """The vocabulary of the state."""
        return load_vocabulary(self.state)

    @cached_property
    def avoided(self) -> Fluency | None:
        """What generated texts are kept from, if they are."""
        return Fluency(self.state["fluency"], self.tokenizer.units()) if self.fluency else None

    @property
    def models(self) -> list[str]:
        """Which models score the next token."""
        ctc, language = self.ctc_weight > 0, self.language_model is not None
        return [DECODER, *[CTC] * ctc, *[LANGUAGE] * language]

    # Targets ---------------------------------------------------------------------------------

    def fit(self, cells: Iterable[Any], root: Path) -> State:
        """The vocabulary of all training texts, and what decoder and language model need."""
        if self.scored_by.library is not None:
            needed(*self.scored_by.library)
        decoder = self.decoder_settings.fit()
        all_texts = list(map(as_texts, cells))
        records = [texts for texts in all_texts if texts]
        silent = len(all_texts) - len(records)
        if silent and self._silence_is_text:
            log.warning(
                "%d of %d training texts are empty, which means silence",
                silent, len(all_texts),
            )  # fmt: skip
        vocabulary = self.decoder_settings.vocabulary()
        if vocabulary is None:
            if not records:
                raise PlaitError("all training texts are empty", expected="at least one text")
            texts, size = list(chain.from_iterable(records)), self.vocabulary
            vocabulary = fit_vocabulary(
                texts, self.unit, self.min_count, size, self.punctuation, self.lower
            )
        state = vocabulary.to_state() | ({"decoder": decoder} if decoder else {})
        if self.language_model or self.detected_words or self.fluency:
            whole = [[vocabulary.encode(text) for text in texts] for texts in records]
            encoded = [[ids[: self.max_length] for ids in texts] for texts in whole]
            if self.language_model_settings is not None:
                every = list(chain.from_iterable(encoded))
                state["language"] = self.language_model_settings.fit(every, vocabulary)
            if self.detected_words:
                state["shares"] = word_shares(encoded, len(vocabulary))
            if self.fluency:
                every = list(chain.from_iterable(whole))
                state["fluency"] = fit_fluency(every, vocabulary.units(), self.max_length)
        return state

    def fit_inputs(self, state: State, tag_names: Mapping[str, Sequence[str]]) -> State:
        """With a pointer, the token id of each input's tag names, and those words in the
        vocabulary, as far as there is room.

        Raises:
            UsageError: no input gives words.
        """
        if not self.pointer:
            return state
        if not tag_names:
            raise UsageError(
                "pointer: true, but no input gives words to point at",
                expected="an input with tags, such as an image's cnn with classes: 8, a text's "
                "word-sequence with unit: words, or a table with a category",
            )
        vocabulary = load_vocabulary(state)
        names = [name for own in tag_names.values() for name in own]
        state = state | vocabulary.with_words(names, self.vocabulary).to_state()
        vocabulary = load_vocabulary(state)
        encoded = {name: vocabulary.encode(name) for name in dict.fromkeys(names)}
        ids = {name: found[0] if len(found) == 1 else UNK for name, found in encoded.items()}
        if len(vocabulary) >= self.vocabulary and UNK in ids.values():
            log.warning(
                "%d of the %d words that inputs give have no place in the vocabulary, and are not "
                "said; raise the setting vocabulary above %d",
                list(ids.values()).count(UNK), len(ids), self.vocabulary,
            )  # fmt: skip
        state["tags"] = {n: [ids[name] for name in own] for n, own in tag_names.items()}
        shares = state.get("shares")
        if shares is not None:  # no training text has the new words
            state["shares"] = shares + [0.0] * (len(vocabulary) - len(shares))
        return state

    def read(self, cell: Any, root: Path) -> TextTarget:
        """The token ids of a cell's texts, long ones cut."""
        texts = self.reference(cell, root)
        if not texts:
            raise EmptyTarget("the text is empty", expected="at least one sentence")
        encoded = ((*self.tokenizer.encode(t), EOS)[: self.max_length] for t in texts)
        return TextTarget(tuple(encoded))

    def samples(self) -> list[Any]:
        """Texts with as many words as the vocabulary takes, each often enough to be in it."""
        words = [f"w{number}" for number in range(min(self.vocabulary, SAMPLE_WORDS))]
        starts = range(0, max(len(words), 2 * SAMPLE), SAMPLE)
        cells = [" ".join(islice(cycle(words), at, at + SAMPLE)) for at in starts]
        return cells * self.min_count

    def example(self) -> TextTarget:
        """A dozen words."""
        return self.read(self.samples()[0], Path())

    # Answers ---------------------------------------------------------------------------------

    def options(self, **options: Any) -> Decoding:
        """The recipe's decoding with ``options`` changed."""
        return self._default_decoding.within(self.max_length, self.models, **options)

    @property
    def unused_options(self) -> set[str]:  # type: ignore[override]
        """Options of models that this output lacks."""
        return set(unavailable(self.models))

    def answers(
        self, raw: RawOutputs, fitted: State, options: Decoding, steps: Steps
    ) -> Iterator[tuple[list[Alternative], Sequence[Sequence[str]]]]:
        """See `Texts.answers`."""
        found = self.search(raw, fitted, options, steps)
        attention = steps.attention(raw, found.token_ids[:, 0])
        means = found.scores / np.maximum(found.lengths, 1)
        raw = {name: raw[name] for name in REPORTED if name in raw}  # from the device once
        for row, every in enumerate(zip(found.token_ids.tolist(), means.tolist(), strict=True)):
            # A small vocabulary may have fewer texts than asked for: the others score -inf.
            rated = [pair for pair in zip(*every, strict=True) if math.isfinite(pair[1])]
            texts = [[i for i in ids if i > EOS] for ids, _ in rated]
            words = [self.tokenizer.pieces(ids) for ids in texts if self.calibrate]
            looks = {name: weights[row, : len(texts[0])] for name, weights in attention.items()}
            seen, answers = self._seen(raw, row), list[Alternative]()
            for ids, (_, score) in zip(texts[: options.num], rated, strict=False):
                places = align(raw[EMISSIONS][row], ids) if EMISSIONS in raw else ()
                details = replace(
                    seen,
                    words=tuple(self.tokenizer.pieces(ids)),
                    moments=tuple((place.start, place.stop) for place in places),
                    attention={} if answers else looks,
                    token_ids=tuple(ids),
                )
                answers.append(Alternative(self.text(ids), score, details))
            yield answers, words

    def _seen(self, raw: RawOutputs, row: int) -> TextDetails:
        """What is the same for all answers to one of the records with these raw outputs."""
        detected, tags = (
            self._weighted(raw[words][row], raw[weights][row]) if words in raw else {}
            for words, weights in ((DETECTED, PROBABILITIES), (TAGS, TAG_WEIGHTS))
        )
        likely = {}
        if CHANCES in raw:
            chances = raw[CHANCES][row]
            at = np.flatnonzero(chances > UNDETECTED)
            likely = self._weighted(at, chances[at])
        return TextDetails(detected=detected, likely=likely, tags=tags)

    def with_attention(
        self, prediction: Prediction, raw: RawOutputs, steps: Steps | None
    ) -> Prediction:
        """See `Output.with_attention`."""
        details = prediction.details
        if steps is None or details is None or not details.token_ids:
            return prediction
        found = steps.attention(raw, np.array([details.token_ids]))
        attention = {name: weights[0] for name, weights in found.items()}
        return replace(prediction, details=replace(details, attention=attention))

    def _weighted(self, ids: NDArray[Any], weights: NDArray[Any]) -> dict[str, float]:
        """Words by their ids, with the sum of each one's weights, at most 1: several classes of a
        photo may have one word. Those without a weight are left out."""
        found: dict[str, float] = {}
        for token, weight in zip(ids.tolist(), weights.tolist(), strict=True):
            if weight > 0 and token > EOS:
                for piece in self.tokenizer.pieces([token]):  # subwords may look alike
                    found[piece] = min(1.0, found.get(piece, 0.0) + weight)
        return found

    def search(self, raw: RawOutputs, fitted: State, options: Decoding, steps: Steps) -> Hypotheses:
        """The best token sequences of each record, ``num`` or more; arguments as of `decode`."""
        language, bonus = fitted.get("language", (0.0, 0.0))
        ctc = self.ctc_weight if options.ctc is None else options.ctc
        language = language if options.language is None else options.language
        bonus = bonus if options.bonus is None else options.bonus
        weights = {DECODER: 1 - ctc, CTC: ctc, LANGUAGE: language}
        summed = self.ctc_weight or language or bonus or self.decoder_settings.final_scores
        mixture = Mixture(
            {model: weight for model, weight in weights.items() if weight},
            bonus,
            self.ngram if language else None,
            normalise=not summed,
            fluency=self.avoided,
        )
        return generate(steps, raw, mixture, options)

    def text(self, token_ids: Sequence[int]) -> str:
        """The text of token ids. Where units are characters, it may begin or end with spaces: these
        are left out."""
        return self.tokenizer.decode(token_ids).strip()

    def clues(self, prediction: Prediction) -> dict[str, Mapping[str, float]]:
        """The tags, those with most weight first, and the detected words."""
        details = prediction.details or TextDetails()
        tags = dict(sorted(details.tags.items(), key=lambda tag: -tag[1]))
        return {"tags": tags, "detected": details.detected}

    def expected_words(self, prediction: Prediction) -> Mapping[str, float]:
        """Those that the detectors or the tags make likely."""
        details = prediction.details or TextDetails()
        return {**details.tags, **details.likely} if details.likely else {}

    # Networks --------------------------------------------------------------------------------

    def check_exportable(self) -> None:
        """Raises UsageError for a decoder whose step needs torch."""
        if not self.decoder_settings.exportable:
            raise UsageError(
                f"the decoder {self.decoder['kind']} can't be exported",
                expected="transformer, gru-attention or ctc",
            )

    def ngrams(self) -> tuple[NGram, Sequence[str]] | None:
        """See `Output.ngrams`."""
        return None if self.ngram is None else (self.ngram, self.tokenizer.units())

    def head(
        self, width: int, inputs: Sequence[str], pretrained: bool, branches: Branches | None = None
    ) -> Head:
        """See `Output.head`; the decoders of branches are blended token by token."""
        if self.fluency and "fluency" not in self.state:
            raise UsageError(
                "fluency: true, but the model to start from did not count what its texts avoid",
                expected="fluency: false, or a training without training.start",
            )
        if branches and self.detected_words:
            raise UsageError(
                "words can't be detected with a fusion that has branches",
                expected="the text output's detected_words: 0, or fusion none or early",
            )
        if branches and self.pointer:
            raise UsageError(
                "a pointer can't be combined with a fusion that has branches",
                expected="the text output's pointer: false, or fusion none or early",
            )
        if (self.ctc_weight or self.decoder_settings.aligned) and len(inputs) > 1:
            raise UsageError(
                f"CTC reads one input, not {', '.join(inputs)}",
                expected="one input, or another decoder and ctc_weight: 0",
            )
        return super().head(width, inputs, pretrained, branches)


def as_texts(cell: Any) -> list[str]:
    """A cell's texts: it holds one string or a list of them; empty ones are left out.

    Raises:
        BadCell: something else is among them.
    """
    values = [cell] if isinstance(cell, str) else list(cell or [])
    for value in values:
        if value is not None and not isinstance(value, str):
            raise BadCell(f"{value!r} is not a text", expected="a string or a list of strings")
    return [v.strip() for v in values if v and v.strip()]


def bags_of_words(
    records: Sequence[Sequence[Sequence[int]]], vocabulary: int
) -> NDArray[np.float32]:
    """(R, V): the share of each record's texts, given as token ids, that have the word."""
    bags = np.zeros((len(records), vocabulary), np.float32)
    for row, texts in enumerate(records):
        for token_ids in texts:
            bags[row, sorted(set(token_ids))] += 1 / len(texts)
    bags[:, : len(SPECIALS)] = 0
    return bags


def word_shares(records: Sequence[Sequence[Sequence[int]]], vocabulary: int) -> list[float]:
    """(V): how probable each word is whatever the input, the mean of the records' bags."""
    total = np.zeros(vocabulary, np.float32)
    for record in records:  # one bag at a time, to save memory
        total += bags_of_words([record], vocabulary)[0]
    return [round(share, 6) for share in (total / np.float32(len(records))).tolist()]
