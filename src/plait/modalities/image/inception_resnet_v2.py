"""`inception-resnet-v2`: the encoder of the well-known Keras captioning program."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from plait.config.registry import register
from plait.modalities.base import Encoder
from plait.modalities.image.base import Fitted, Photo, PhotoEncoder, Views
from plait.nn import inception_resnet_v2 as inception_net
from plait.nn.blocks import freeze, present_tokens
from plait.types import PlaitError, State, Tokens

MEAN, STD = (127.5,) * 3, (127.5,) * 3  # 0..255 -> [-1, 1]


@register("image", "inception-resnet-v2")
class InceptionResNetV2(Photo):
    """Inception-ResNet-v2's feature map (299 px in, 8×8 tokens of 1536), frozen."""

    def __init__(
        self,
        *,
        weights: Annotated[
            str,
            Field(description="Keras' published ..._notop.h5 file, or the same as .safetensors"),
        ] = "",
        fit: Fitted = "squash",
        views: Views = 1,
    ) -> None:
        super().__init__(inception_net.INPUT_SIZE, fit, views)
        self.weights = weights

    def encoder(self, state: State, pretrained: bool) -> Encoder:
        """The network; with the user's weights unless a package will bring them."""
        encoder = InceptionEncoder()
        if pretrained:
            if not self.weights:
                raise PlaitError(
                    "inception-resnet-v2 has no weights",
                    expected=f"Keras' file {inception_net.KERAS_FILE}, or a .safetensors file",
                    hint="name it with --set inputs.NAME.representation.weights=FILE",
                )
            inception_net.load_weights(encoder.trunk, self.weights)
        return encoder


class InceptionEncoder(PhotoEncoder):
    """(B, 299, 299, 3) uint8 -> Tokens (B, 64, 1536)."""

    trunk: inception_net.InceptionResNetV2
    mean, std = MEAN, STD

    def __init__(self) -> None:
        super().__init__()
        self.trunk = inception_net.InceptionResNetV2()
        freeze(self.trunk)
        side = inception_net.GRID
        self.grid, self.length, self.width = (side, side), side * side, inception_net.CHANNELS

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, 1536, 8, 8) -> Tokens (B, 64, 1536), row by row from the top left."""
        return present_tokens(prepared.flatten(2).transpose(1, 2), lengths > 0)
