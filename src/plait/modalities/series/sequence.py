"""`sequence`: the steps through a small network, read in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from plait.config.registry import register
from plait.modalities.base import Dropout, Layers, SequenceEncoderKind, Width
from plait.modalities.series.base import Sensor

if TYPE_CHECKING:
    from plait.modalities.series.networks import SequenceEncoder

Stride = Annotated[int, Field(ge=1, le=16)]


@register("series", "sequence")
class SeriesSequence(Sensor):
    """Strided convolutions over the steps, then a GRU, a CNN or a transformer in order."""

    differences: Annotated[
        bool, Field(description="each channel's change from the step before, as a channel too")
    ] = True
    strides: Annotated[
        tuple[Stride, ...],
        Field(min_length=1, max_length=8, description="of the convolutions, one layer each"),
    ] = (2, 2)
    sequence_encoder: SequenceEncoderKind = "gru"
    layers: Layers = 1
    width: Width = 128
    dropout: Dropout = 0.2
    channel_dropout: Annotated[
        float, Field(ge=0, lt=1, description="share of the channels hidden while learning")
    ] = 0.1

    def encoder(self, pretrained: bool) -> SequenceEncoder:
        """The network; nothing is pretrained."""
        from plait.modalities.series.networks import SequenceEncoder

        return SequenceEncoder(self)
