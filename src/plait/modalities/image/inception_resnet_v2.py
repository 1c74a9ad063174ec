"""`inception-resnet-v2`: the encoder of the well-known Keras captioning program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from plait.config.registry import register
from plait.data.images import Fit
from plait.modalities.image.base import Photo, Resize

if TYPE_CHECKING:
    from plait.modalities.image.networks import InceptionEncoder

SIZE = 299  # pixels a side


@register("image", "inception-resnet-v2")
class InceptionResNetV2(Photo):
    """Inception-ResNet-v2's feature map (299 px in, 8×8 tokens of 1536), frozen."""

    weights: Annotated[
        str, Field(description="Keras' published ..._notop.h5 file, or the same as .safetensors")
    ] = ""
    resize: Resize = "squash"

    @property
    def shape(self) -> tuple[int, Fit]:
        """The network's own size."""
        return SIZE, self.resize

    def encoder(self, pretrained: bool) -> InceptionEncoder:
        """The network, with the user's weights unless a package will bring others."""
        from plait.modalities.image.networks import InceptionEncoder

        return InceptionEncoder(self.weights, pretrained)
