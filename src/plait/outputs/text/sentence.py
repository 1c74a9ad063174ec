"""`text`: a sentence, said word by word; captions, transcripts, translations, answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle, islice
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from plait.config import registry
from plait.config.component import Nested
from plait.config.registry import register
from plait.data.vocabulary import (
    EOS,
    Unit,
    Vocabulary,
    from_state,
    learn_vocabulary,
)
from plait.nn.branches import Branches
from plait.outputs.base import Head, Output
from plait.outputs.scores import Scores
from plait.outputs.text.decoders.blended import BlendedDecoder
from plait.outputs.text.decoders.hub import hub_vocabulary
from plait.outputs.text.decoding import Decoding
from plait.outputs.text.detector import WordDetector, word_shares
from plait.outputs.text.head import Lessons, Sentence, TextHead
from plait.outputs.text.lm.language import Language
from plait.outputs.text.metrics.answers import AnswerMetrics
from plait.outputs.text.metrics.base import TextMetrics
from plait.outputs.text.metrics.captions import CaptionMetrics
from plait.outputs.text.metrics.transcripts import TranscriptMetrics
from plait.outputs.text.metrics.translations import TranslationMetrics
from plait.types import BadCell, PlaitError, Prediction, State, UsageError

CTC = "ctc"
SAMPLED_WORDS, SAMPLE = 20_000, 12  # made-up words for a summary, words of a made-up sentence
METRICS: dict[str, type[TextMetrics]] = {
    "captions": CaptionMetrics,
    "transcripts": TranscriptMetrics,
    "translations": TranslationMetrics,
    "answers": AnswerMetrics,
}


@register("output", "text")
class TextOutput(Output):
    """A sentence, said word by word by a decoder that looks at the inputs."""

    several = True
    linear = False

    def __init__(
        self,
        *,
        scores: Annotated[
            Literal["captions", "transcripts", "translations", "answers"],
            Field(description="what the texts are, and so how they are scored"),
        ] = "captions",
        unit: Annotated[Unit, Field(description="what is said at a time")] = "words",
        lower: Annotated[
            bool, Field(description="lower-case the texts; hub models keep to their own way")
        ] = True,
        min_count: Annotated[
            int, Field(ge=1, description="rarer words are unknown to the vocabulary")
        ] = 5,
        vocabulary: Annotated[
            int, Field(ge=10, le=1_000_000, description="entries of the vocabulary at the most")
        ] = 10_000,
        punctuation: Annotated[bool, Field(description="keep punctuation as words")] = True,
        longest: Annotated[
            int,
            Field(
                ge=1,
                le=4096,
                description="training texts are cut to this many words or other units",
            ),
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
        word_dropout: Annotated[
            float,
            Field(
                ge=0,
                lt=1,
                description="share of the words said so far that are hidden while learning, so "
                "that the input must be looked at",
            ),
        ] = 0.0,
        consensus: Annotated[
            float,
            Field(
                ge=0,
                description="how much more a text weighs that agrees with the record's "
                "others; 0: all alike",
            ),
        ] = 0.0,
        ctc: Annotated[
            float,
            Field(
                ge=0,
                lt=1,
                description="weight of CTC's loss beside the decoder's, for text that goes along "
                "with its input in time; 0: none",
            ),
        ] = 0.0,
        language: Annotated[
            dict[str, Any] | None,
            Field(description="a language model of the texts: kind and its settings; null: none"),
            Nested("language"),
        ] = None,
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
        self.text_metrics = METRICS[scores]
        self.titles, self.best_metrics = self.text_metrics.titles, self.text_metrics.best_metrics
        self.least, self.most = self.text_metrics.lowest, self.text_metrics.highest
        self.unit, self.min_count, self.size, self.lower = unit, min_count, vocabulary, lower
        self.punctuation = punctuation
        self.lessons = Lessons(
            longest, smoothing, word_dropout, consensus, at_a_time, detection, ctc
        )
        self.decoder = registry.canonical("decoder", decoder)
        if (unit == "hub") != (self.decoder["kind"] == "hub"):
            raise UsageError(
                f"unit {unit!r} doesn't go with the decoder {self.decoder['kind']!r}",
                expected="unit hub with a hub:NAME decoder, another unit with any other",
            )
        self.decoding = Decoding.model_validate(decoding).settled(self.text_metrics.limits, longest)
        self.longest = longest
        self.language: Language | None = None
        if language is not None:
            self.language = registry.build("language", language)
        self.detect, self.in_time = detect, ctc > 0 or self.decoder["kind"] == CTC
        if self.in_time and (detect or (ctc and self.decoder["kind"] == CTC)):
            raise UsageError(
                "CTC goes with no detected words, and with no second CTC",
                expected="detect: 0, and ctc: 0 with the decoder ctc",
            )
        if self.decoding.limits.max_words > longest:
            raise UsageError(
                f"decoding.max_words is {self.decoding.max_words}, longest is {longest}",
                expected="sentences to say no longer than those learned from",
            )

    def fit(self, cells: Iterable[Any]) -> State:
        """The vocabulary of all training sentences, and what the decoder brings with it."""
        self.text_metrics.require()
        decoder: Any = registry.find("decoder", self.decoder["kind"]).cls
        own: State = decoder.fit(self.decoder)
        texts = [sentences for cell in cells if (sentences := as_sentences(cell))]
        vocabulary = self._vocabulary(texts)
        state = vocabulary.to_state()
        if own:
            state["decoder"] = own
        if self.language is not None:
            said = [vocabulary.encode(s)[: self.longest] for text in texts for s in text]
            state["language"] = self.language.fit(said, vocabulary)
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
        return learn_vocabulary(
            sentences, self.unit, self.min_count, self.size, self.punctuation, self.lower
        )

    def example(self, state: State) -> Sentence:
        """A dozen words."""
        return self.reader(state)(self.samples()[0])

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

    def cell(self, value: str) -> str:
        """The sentence."""
        return value

    def confidence(self, prediction: Prediction) -> float:
        """The geometric mean of its words' probabilities."""
        return math.exp(prediction.score)

    def head(
        self, state: State, width: int, inputs: Sequence[str], pretrained: bool,
        branches: Branches | None = None,
    ) -> Head:  # fmt: skip
        """The decoder with its search; branches' decoders are blended word by word."""
        vocabulary = from_state(state)
        own = {"state": state["decoder"], "pretrained": pretrained} if "decoder" in state else {}

        def make(settings: Mapping[str, Any] = self.decoder) -> Any:
            return registry.build(
                "decoder",
                settings,
                vocabulary=len(vocabulary),
                width=width,
                max_words=self.longest,
                **(own if settings is self.decoder else {}),
            )

        if branches and self.detect:
            raise UsageError(
                "words can't be detected where the fusion has branches",
                expected="the text output's detect: 0, or fusion none or early",
            )
        if self.in_time and len(inputs) > 1:
            raise UsageError(
                f"CTC reads one input in time, not {', '.join(inputs)}",
                expected="one input, or another decoder without ctc",
            )
        decoder = BlendedDecoder(branches, len(vocabulary), make) if branches else make()
        detector = WordDetector(state["shares"], width, self.detect) if self.detect else None
        ctc = make({"kind": CTC}) if self.lessons.ctc else None
        language = None
        if self.language is not None:
            own_state = state["language"]
            language = self.language.decoder(own_state, len(vocabulary), width, self.longest)
        return TextHead(
            decoder,
            vocabulary,
            tuple(inputs),
            self.lessons,
            self.decoding,
            text_metrics=self.text_metrics,
            detector=detector,
            ctc=ctc,
            language=language,
        )

    def scorer(self, predictions: Sequence[Prediction], references: Sequence[Any]) -> TextMetrics:
        """As `metrics`, of any choice of the records and without intervals."""
        return self.text_metrics([p.value for p in predictions], references)

    def rightness(
        self, predictions: Sequence[Prediction], references: Sequence[Any]
    ) -> tuple[str, NDArray[np.float64]]:
        """The first of the best metrics, of each sentence alone."""
        return self.titles[self.best_metrics[0]], self.scorer(predictions, references).rightness()

    def metrics(self, predictions: Sequence[Prediction], references: Sequence[Any]) -> Scores:
        """The predicted sentences' scores: CIDEr-D and the like of captions, error rates of
        transcripts, BLEU and chrF of translations, accuracy of answers."""
        return self.scorer(predictions, references).scores()


def as_sentences(cell: Any) -> list[str]:
    """A cell's sentences: it may hold one string or a list of them; empty ones are left out."""
    values = [cell] if isinstance(cell, str) else list(cell or [])
    for value in values:
        if value is not None and not isinstance(value, str):
            raise BadCell(f"{value!r} is no text", expected="a string or a list of strings")
    return [v.strip() for v in values if v and v.strip()]
