"""Tiny audio models in transformers' format, with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

AUDIO_MODELS = ("wav2vec2", "whisper", "ast")
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
STACK = {
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
    "vocab_size": 8,
}


def save_audio_model(name: str, folder: Path) -> None:
    """Write a model and its feature extractor; Whisper's and AST's hear a second."""
    import transformers as t

    torch.manual_seed(0)
    extractor: Any = t.Wav2Vec2FeatureExtractor()
    if name == "wav2vec2":  # its first norm is over time
        model = t.Wav2Vec2Model(t.Wav2Vec2Config(**SMALL, **STACK))
    elif name == "hubert":
        options = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
        model = t.HubertModel(t.HubertConfig(**SMALL, **STACK, **options))
    elif name == "whisper":
        extractor = t.WhisperFeatureExtractor(feature_size=16, chunk_length=1)
        model = t.WhisperModel(
            t.WhisperConfig(
                d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
                decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32,
                num_mel_bins=16, max_source_positions=50, vocab_size=60, pad_token_id=0,
                bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
            )
        )  # fmt: skip
    else:
        extractor = t.ASTFeatureExtractor(num_mel_bins=32, max_length=100)
        model = t.ASTModel(t.ASTConfig(**SMALL, num_mel_bins=32, max_length=100))
    extractor.save_pretrained(folder)
    model.save_pretrained(folder)
