"""`waveform`: the samples themselves through a stack of strided convolutions.

As the feature encoders of wav2vec 2.0 (Baevski et al. 2020, arXiv:2006.11477), smaller, and with
norms over the channels alone, so that a record doesn't depend on its batch.
"""

from __future__ import annotations

import math

from pydantic import Field

from plait.config.registry import register
from plait.modalities.audio.base import Sound
from plait.modalities.base import Width

TOKEN = 0.04  # most seconds of a token; it lasts at least half of that


@register("audio", "waveform")
class Waveform(Sound):
    """The samples themselves, encoded by strided convolutions."""

    encoder_class = "plait.modalities.audio.networks.WaveformEncoder"

    channels: int = Field(128, ge=8, le=1024, description="channels of the last layer")
    layers: int = Field(2, ge=0, le=12, description="convolutions after the strided ones")
    width: Width = 128
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout")
    normalise: bool = Field(True, description="standardise the samples of a recording")

    def pace(self) -> float:
        """The product of the strides."""
        return math.prod(token_strides(self.rate)) / self.rate


def token_strides(rate: int) -> list[int]:
    """Strides of 4, and one of 2 if need be, whose product is 20 to 40 ms of samples."""
    halvings = int(math.log2(TOKEN * rate))
    return [4] * (halvings // 2) + [2] * (halvings % 2)
