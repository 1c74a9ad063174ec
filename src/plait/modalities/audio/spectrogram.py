"""`spectrogram`: log-mel frames, convolutions and a sequence encoder."""

from __future__ import annotations

from pydantic import Field

from plait.config.registry import register
from plait.modalities.audio.base import MelSound, SequenceDropout, SequenceLayers, Token
from plait.modalities.base import SequenceEncoderKind, Width


@register("audio", "spectrogram")
class Spectrogram(MelSound):
    """Log-mel frames through convolutions, then a sequence encoder (GRU, CNN or transformer).

    A frame is 25 ms long, one begins each 10 ms."""

    encoder_class = "plait.modalities.audio.networks.SpectrogramEncoder"
    strides = {20: (1, 2, 1, 1), 40: (1, 2, 1, 2)}

    bands: int = Field(64, ge=16, le=256, description="mel bands")
    channels: int = Field(64, ge=4, le=512, description="channels of the last layer")
    token: Token = 40
    width: Width = 128
    sequence_encoder: SequenceEncoderKind = "gru"
    layers: SequenceLayers = 1
    dropout: SequenceDropout = 0.0
    normalise: bool = Field(True, description="standardise each band within a recording")
    mask_bands: int = Field(8, ge=0, description="maximum masked in training (SpecAugment)")
    mask_frames: int = Field(10, ge=0, description="maximum masked in training (SpecAugment)")
