"""`sequence`: convolutions over the steps, and a sequence encoder."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from plait.config.registry import register
from plait.modalities.base import Dropout, Layers, SequenceEncoderKind, Width
from plait.modalities.series.base import Sensor

Stride = Annotated[int, Field(ge=1, le=16)]


@register("series", "sequence")
class SeriesSequence(Sensor):
    """Strided convolutions over the steps, then a sequence encoder (GRU, CNN or transformer)."""

    encoder_class = "plait.modalities.series.networks.SeriesEncoder"

    differences: bool = Field(True, description="add the change of each channel as another channel")
    strides: tuple[Stride, ...] = Field(
        (2, 2),
        min_length=1,
        max_length=8,
        description="stride of each convolution",
    )
    sequence_encoder: SequenceEncoderKind = "gru"
    layers: Layers = 1
    width: Width = 128
    dropout: Dropout = 0.2
    channel_dropout: float = Field(0.1, ge=0, lt=1, description="share hidden in training")
