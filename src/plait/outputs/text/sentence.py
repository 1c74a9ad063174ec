"""`text`: a sentence, said word by word; captions, transcripts, translations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import cycle, islice
from typing import Annotated, Any

from pydantic import Field

from plait import registry
from plait.bootstrap import Scorer
from plait.branches import Branches
from plait.components import Head, Output
from plait.data.vocabulary import (
    EOS,
    Unit,
    Vocabulary,
    from_state,
    hub_vocabulary,
    learn_vocabulary,
)
from plait.outputs.text.blended import BlendedDecoder
from plait.outputs.text.decoder import Decoder
from plait.outputs.text.decoding import Decoding
from plait.outputs.text.detector import WordDetector, word_shares
from plait.outputs.text.head import Sentence, TextHead
from plait.outputs.text.scores import TITLES, CaptionScores, caption_scorer, caption_scores
from plait.recipe import Nested
from plait.registry import register
from plait.types import BadCell, PlaitError, Prediction, State, UsageError

SAMPLED_WORDS, SAMPLE = 20_000, 12  # made-up words for a summary, words of a made-up sentence


@register("output", "text")
class TextOutput(Output):
    """A sentence, said word by word by a decoder that looks at the inputs."""

    # CIDEr of a single record is always 0.
    titles = TITLES
    best_metrics = ("cider", "bleu4")
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
        self.word_dropout = word_dropout
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

    def head(
        self, state: State, width: int, inputs: Sequence[str], pretrained: bool,
        branches: Branches | None = None,
    ) -> Head:  # fmt: skip
        """The decoder with its search; branches' decoders are blended word by word."""
        vocabulary = from_state(state)
        own = {"state": state["decoder"], "pretrained": pretrained} if "decoder" in state else {}

        def make() -> Decoder:
            return registry.build(
                "decoder",
                self.decoder,
                vocabulary=len(vocabulary),
                width=width,
                max_words=self.longest,
                **own,
            )

        if branches and self.detect:
            raise UsageError(
                "words can't be detected where the fusion has branches",
                expected="the text output's detect: 0, or fusion none or early",
            )
        decoder = BlendedDecoder(branches, len(vocabulary), make) if branches else make()
        detector = WordDetector(state["shares"], width, self.detect) if self.detect else None
        return TextHead(
            decoder,
            vocabulary,
            tuple(inputs),
            detector,
            decoding=self.decoding,
            longest=self.longest,
            smoothing=self.smoothing,
            word_dropout=self.word_dropout,
            consensus=self.consensus,
            at_a_time=self.at_a_time,
            detection=self.detection,
        )

    def scorer(self, predictions: Sequence[Prediction], references: Sequence[Any]) -> Scorer:
        """BLEU, ROUGE-L, CIDEr-D and the captions' lengths and diversity."""
        return caption_scorer([p.value for p in predictions], references)

    def metrics(
        self, predictions: Sequence[Prediction], references: Sequence[Any]
    ) -> CaptionScores:
        """BLEU, ROUGE-L, CIDEr-D and diversity of the predicted sentences."""
        return caption_scores([p.value for p in predictions], references)


def as_sentences(cell: Any) -> list[str]:
    """A cell's sentences: it may hold one string or a list of them; empty ones are left out."""
    values = [cell] if isinstance(cell, str) else list(cell or [])
    for value in values:
        if value is not None and not isinstance(value, str):
            raise BadCell(f"{value!r} is no text", expected="a string or a list of strings")
    return [v.strip() for v in values if v and v.strip()]
