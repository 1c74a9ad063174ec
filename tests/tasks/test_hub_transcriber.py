"""Whole speech models of the transformers library: tiny ones with random weights and tokenizers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from audio_models import SMALL, STACK, save_audio_model

import plait
from plait.data.speech import Piece
from plait.tasks.speech_models import HubTranscriber
from plait.tasks.transcribers import open_transcriber
from plait.types import PlaitError, UsageError

LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", "A", "B", "C"]


@pytest.fixture(scope="module")
def wav2vec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import transformers as t

    folder = tmp_path_factory.mktemp("wav2vec")
    torch.manual_seed(0)
    t.Wav2Vec2ForCTC(t.Wav2Vec2Config(**SMALL, **STACK)).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(LETTERS)}))
    tokenizer = t.Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    t.Wav2Vec2Processor(t.Wav2Vec2FeatureExtractor(), tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import transformers as t

    folder = tmp_path_factory.mktemp("whisper")
    torch.manual_seed(0)
    words = {"<|endoftext|>": 0, "<|startoftranscript|>": 1, **{f"w{i}": i for i in range(2, 60)}}
    (folder / "vocab.json").write_text(json.dumps(words))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = t.WhisperTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), bos_token="<|startoftranscript|>"
    )
    extractor = t.WhisperFeatureExtractor(feature_size=16, chunk_length=1)
    t.WhisperProcessor(extractor, tokenizer).save_pretrained(folder)
    config = t.WhisperConfig(
        d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, num_mel_bins=16,
        max_source_positions=50, max_target_positions=12, vocab_size=60, pad_token_id=0,
        bos_token_id=1, eos_token_id=0, decoder_start_token_id=1,
    )  # fmt: skip
    t.WhisperForConditionalGeneration(config).save_pretrained(folder)
    return folder


def parts(rate: int) -> list[Piece]:
    rng = np.random.default_rng(0)
    return [
        Piece(start, rng.normal(size=round(seconds * rate)).astype(np.float32) * 0.1)
        for start, seconds in ((1.0, 0.5), (2.0, 0.9))
    ]


def test_wav2vec_says_what_its_tokens_say(wav2vec: Path) -> None:
    import transformers as t

    transcriber = open_transcriber(f"hub:{wav2vec}")
    assert isinstance(transcriber, HubTranscriber)
    assert (transcriber.rate, transcriber.longest) == (16000, 30.0)
    pieces = parts(16000)
    found = transcriber.transcribe(pieces, {})
    assert [segment.start for segment in found] == [1.0, 2.0]
    assert [segment.end for segment in found] == pytest.approx([1.5, 2.9])
    model = t.Wav2Vec2ForCTC.from_pretrained(wav2vec).eval()
    processor = t.Wav2Vec2Processor.from_pretrained(wav2vec)
    for piece, segment in zip(pieces, found, strict=True):
        inputs = processor(piece.samples, sampling_rate=16000, return_tensors="pt")
        with torch.no_grad():
            logits = model(inputs.input_values).logits
        raw = processor.batch_decode(logits.argmax(-1))[0]
        assert re.search("<unk>|</?s>", raw)  # so that it is seen whether they are left out
        assert segment.text == re.sub("<unk>|</?s>", "", raw).strip() != ""
        path = float(logits.log_softmax(-1).amax(-1).sum())
        assert segment.score == pytest.approx(path / len(segment.text), abs=1e-3)
        assert all(segment.start <= w.start < w.end <= segment.end + 0.05 for w in segment.words)
        assert " ".join(word.text for word in segment.words) == segment.text


def test_a_piece_ignores_its_batch(wav2vec: Path) -> None:
    transcriber = open_transcriber(f"hub:{wav2vec}")
    together = transcriber.transcribe(parts(16000), {})
    alone = [transcriber.transcribe([part], {})[0] for part in parts(16000)]
    assert together == alone


def test_a_blink_is_heard(wav2vec: Path) -> None:
    blink = Piece(0.0, np.zeros(100, np.float32))
    (found,) = open_transcriber(f"hub:{wav2vec}").transcribe([blink], {})
    assert found.end == pytest.approx(100 / 16000)


@torch.no_grad()
def test_whisper_writes_as_its_decoder_does(whisper: Path) -> None:
    import transformers as t

    transcriber = open_transcriber(f"hub:{whisper}")
    assert transcriber.longest == 1.0
    found = transcriber.transcribe(parts(16000), {"beam": 2})
    model = t.WhisperForConditionalGeneration.from_pretrained(whisper).eval()
    processor = t.WhisperProcessor.from_pretrained(whisper)
    for piece, segment in zip(parts(16000), found, strict=True):
        inputs = processor(piece.samples, sampling_rate=16000, return_tensors="pt",
                           return_attention_mask=True)  # fmt: skip
        said = model.generate(**inputs, num_beams=2, return_dict_in_generate=True).sequences
        (text,) = processor.batch_decode(said, skip_special_tokens=True)
        assert segment.text == text.strip() != ""
        logp = model(**inputs, decoder_input_ids=said[:, :-1]).logits.log_softmax(-1)
        each = [float(logp[0, place, unit]) for place, unit in enumerate(said[0, 1:])]
        assert segment.score == pytest.approx(sum(each) / len(each), abs=1e-4)
        assert segment.words == ()


@pytest.mark.parametrize("beam", [1, 3])
def test_whisper_hears_a_batch_once_and_says_nothing_of_its_calls(
    whisper: Path, beam: int, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    transcriber = open_transcriber(f"hub:{whisper}")
    assert isinstance(transcriber, HubTranscriber)
    runs: list[int] = []
    transcriber.network.get_encoder().register_forward_hook(lambda *_: runs.append(1))
    transcriber.transcribe(parts(16000), {"beam": beam})
    assert len(runs) == 1
    assert "Passing" not in caplog.text + capfd.readouterr().err


def test_the_score_of_a_text_is_without_its_prompt_and_its_filling(whisper: Path) -> None:
    transcriber = open_transcriber(f"hub:{whisper}")
    assert isinstance(transcriber, HubTranscriber)
    said = torch.tensor([[1, 7, 8, 0, 0], [1, 0, 0, 0, 0], [1, 7, 8, 9, 7]])
    assert transcriber._counted(said).int().tolist() == [
        [0, 1, 1, 1, 0], [0, 1, 0, 0, 0], [0, 1, 1, 1, 1]
    ]  # fmt: skip


def test_a_recording(wav2vec: Path, tmp_path: Path) -> None:
    import soundfile

    silence = np.zeros(16000, np.float32)
    sound = np.concatenate([silence, parts(16000)[0].samples, silence, parts(16000)[1].samples])
    soundfile.write(tmp_path / "talk.wav", sound, 16000)
    found = list(plait.transcribe(open_transcriber(f"hub:{wav2vec}"), tmp_path / "talk.wav"))
    assert len(found) == 2


def test_what_they_can_not_do(wav2vec: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no decoding option 'beam'"):
        open_transcriber(f"hub:{wav2vec}").check({"beam": 4})
    save_audio_model("ast", tmp_path)
    with pytest.raises((UsageError, PlaitError)):
        open_transcriber(f"hub:{tmp_path}")
    with pytest.raises(PlaitError, match="nowhere"):
        open_transcriber("hub:/nowhere/at-all")
