"""`waveform`: the samples themselves through a stack of strided convolutions.

As the feature encoders of wav2vec 2.0 (Baevski et al. 2020, arXiv:2006.11477), smaller, and with
norms over the channels alone, so that a record doesn't depend on its batch.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from plait.config.registry import register
from plait.modalities.audio.base import Sound
from plait.modalities.base import Width

if TYPE_CHECKING:
    from plait.modalities.audio.networks.convolutional import WaveformEncoder

TOKEN = 0.04  # most seconds of a token; it lasts at least half of that


@register("audio", "waveform")
class Waveform(Sound):
    """The samples themselves through a stack of strided convolutions."""

    channels: Annotated[int, Field(ge=8, le=1024, description="of the last layer")] = 128
    layers: Annotated[
        int, Field(ge=0, le=12, description="layers after the strided ones, each over 3 tokens")
    ] = 2
    width: Width = 128
    dropout: Annotated[float, Field(ge=0, lt=1, description="dropout")] = 0.1
    normalise: Annotated[
        bool, Field(description="bring the samples of each sound to mean 0 and deviation 1")
    ] = True

    def pace(self) -> float:
        """The product of the strides."""
        return math.prod(token_strides(self.rate)) / self.rate

    def encoder(self, pretrained: bool) -> WaveformEncoder:
        """The network; it has no pretrained weights."""
        from plait.modalities.audio.networks.convolutional import WaveformEncoder

        return WaveformEncoder(self)


def token_strides(rate: int) -> list[int]:
    """Strides of 4, and one of 2 if need be, whose product is 20 to 40 ms of samples."""
    halvings = int(math.log2(TOKEN * rate))
    return [4] * (halvings // 2) + [2] * (halvings % 2)
