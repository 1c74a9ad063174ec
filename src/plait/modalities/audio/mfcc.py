"""`mfcc`: mel-frequency cepstral coefficients through a small network of convolutions and a GRU."""

from __future__ import annotations

from pydantic import Field, model_validator

from plait.config.registry import register
from plait.modalities.audio.base import MelSound, Token
from plait.modalities.base import Dropout, Width


@register("audio", "mfcc")
class Mfcc(MelSound):
    """Mel-frequency cepstral coefficients, encoded by convolutions and a GRU."""

    encoder_class = "plait.modalities.audio.networks.MfccEncoder"
    vector_class = "plait.modalities.audio.networks.MfccVectors"
    classical = True
    strides = {20: (1, 2), 40: (2, 2)}

    bands: int = Field(40, ge=16, le=256, description="mel bands")
    coefficients: int = Field(20, ge=2, le=256, description="coefficients kept, the 0th included")
    differences: int = Field(2, ge=0, le=2, description="orders of differences that are added")
    normalise: bool = Field(True, description="standardise each coefficient within a recording")
    token: Token = 40
    channels: int = Field(96, ge=8, le=1024, description="channels of the convolutions")
    layers: int = Field(1, ge=1, le=4, description="layers of the GRU")
    width: Width = 128
    dropout: Dropout = 0.2

    @model_validator(mode="after")
    def _has_enough_bands(self) -> Mfcc:
        if self.coefficients > self.bands:
            raise ValueError(
                f"{self.coefficients} coefficients can't be made of {self.bands} mel bands; "
                "expected no more coefficients than bands"
            )
        return self
