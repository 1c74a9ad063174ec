"""`cnn`: the feature map of an ImageNet-pretrained network, one token for each place."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from plait.config.registry import register
from plait.data.images import Fit
from plait.modalities.image.base import Photo, Resize

NetworkName = Literal["lite0", "lite1", "lite2"]
Train = Literal["frozen", "last-blocks", "all"]
SIZES = {"lite0": 224, "lite1": 240, "lite2": 260}  # pixels a side, as each was trained


@register("image", "cnn")
class Cnn(Photo):
    """EfficientNet-Lite's feature map (ImageNet weights): a token for each 32×32 pixels."""

    encoder_class = "plait.modalities.image.networks.CnnEncoder"

    network: NetworkName = Field("lite0", description="EfficientNet-Lite: larger, better, slower")
    train: Train = Field("frozen", description="which layers learn: none, the last blocks, or all")
    blocks: int = Field(5, ge=1, le=16, description="how many blocks are 'last-blocks'")
    layer: Literal["block", "head"] = Field("head", description="whose features: the head has 1280")
    size: int | None = Field(None, ge=32, le=1024, description="pixels a side; null: its own")

    resize: Resize = "squash"

    @property
    def shape(self) -> tuple[int, Fit]:
        """By default the size that the network was trained on."""
        return self.size or SIZES[self.network], self.resize
