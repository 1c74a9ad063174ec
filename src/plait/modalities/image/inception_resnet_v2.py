"""`inception-resnet-v2`: the encoder of the well-known Keras captioning program."""

from __future__ import annotations

from pydantic import Field

from plait.config.registry import register
from plait.data.images import Fit
from plait.modalities.image.base import Photo, Resize

SIZE = 299  # pixels a side


@register("image", "inception-resnet-v2")
class InceptionResNetV2(Photo):
    """Inception-ResNet-v2's feature map (299 px in, 8×8 tokens of 1536), frozen."""

    encoder_class = "plait.modalities.image.networks.InceptionEncoder"

    weights: str = Field("", description="Keras' published ..._notop.h5 file, or .safetensors")
    resize: Resize = "squash"

    @property
    def shape(self) -> tuple[int, Fit]:
        """The network's own size."""
        return SIZE, self.resize
