"""`spectrogram`: log-mel frames through a small convolutional network, then read in order."""

from __future__ import annotations

import math

from pydantic import Field

from plait.config.registry import register
from plait.modalities.audio.base import SequenceDropout, SequenceLayers, Sound, Token
from plait.modalities.audio.mel import frame_samples, hop_seconds
from plait.modalities.base import SequenceEncoderKind, Width

TIME_STRIDES = {20: (1, 2, 1, 1), 40: (1, 2, 1, 2)}  # milliseconds of a token -> of the layers


@register("audio", "spectrogram")
class Spectrogram(Sound):
    """Log-mel frames through convolutions, then read in order (GRU, CNN or transformer).

    A frame is 25 ms long, one begins each 10 ms."""

    encoder_class = "plait.modalities.audio.networks.SpectrogramEncoder"

    bands: int = Field(64, ge=16, le=256, description="mel bands")
    channels: int = Field(64, ge=4, le=512, description="of the last layer")
    token: Token = 40
    width: Width = 128
    sequence_encoder: SequenceEncoderKind = "gru"
    layers: SequenceLayers = 1
    dropout: SequenceDropout = 0.0
    normalise: bool = Field(True, description="each band to mean 0 and deviation 1 in each sound")
    mask_bands: int = Field(8, ge=0, description="most bands hidden in learning (SpecAugment)")
    mask_frames: int = Field(10, ge=0, description="most frames hidden in learning (SpecAugment)")

    @property
    def min_samples(self) -> int:
        """More than one frame."""
        return frame_samples(self.rate) + 1

    def pace(self) -> float:
        """As many frames as the strides make one of."""
        return math.prod(TIME_STRIDES[self.token]) * hop_seconds(self.rate)
