"""`cnn`: the feature map of an ImageNet-pretrained network, one token for each place."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from plait.components import Encoder, freeze, present_tokens
from plait.modalities.image import lite0_net
from plait.modalities.image.photo import Fit, Photo, to_channels
from plait.registry import register
from plait.types import State, Tokens

Train = Literal["frozen", "last-blocks", "all"]
STRIDE = 32  # pixels a token, each way


@register("image", "cnn")
class Cnn(Photo):
    """EfficientNet-Lite0's feature map (ImageNet weights): a token for each 32×32 pixels."""

    def __init__(
        self,
        *,
        train: Annotated[
            Train, Field(description="which layers learn: none, the last blocks, or all")
        ] = "frozen",
        blocks: Annotated[
            int, Field(ge=1, le=lite0_net.BLOCKS, description="how many blocks are 'last-blocks'")
        ] = 5,
        layer: Annotated[
            Literal["block", "head"],
            Field(description="features of the last block (320 wide) or of the head (1280 wide)"),
        ] = "head",
        size: Annotated[int, Field(ge=32, le=1024, description="pixels a side")] = 224,
        fit: Annotated[Fit, Field(description="squash the photo to a square, or crop it")] = (
            "squash"
        ),
        views: Annotated[
            int, Field(ge=1, le=16, description="augmented versions (mirrored, cropped) to cache")
        ] = 1,
    ) -> None:
        super().__init__(size, fit, views)
        self.trained, self.blocks, self.layer = train, blocks, layer

    def encoder(self, state: State, pretrained: bool) -> Encoder:
        """The network, with its ImageNet weights if ``pretrained``."""
        return CnnEncoder(self.trained, self.blocks, self.layer, self.size, pretrained)


class CnnEncoder(Encoder):
    """(B, size, size, 3) uint8 -> Tokens (B, (size/32)², 320 or 1280)."""

    pretrained = True

    def __init__(
        self, trained: Train, blocks: int, layer: str, size: int, pretrained: bool
    ) -> None:
        super().__init__()
        layers = lite0_net.layers()
        if pretrained:
            lite0_net.load_imagenet(layers)
        # Frozen statistics in all layers: batches are too small and too alike to learn them.
        net = list(lite0_net.fold(layers))
        if layer == "block":
            del net[-1]
        split = {"frozen": len(net), "last-blocks": lite0_net.BLOCKS + 1 - blocks, "all": 0}
        self.trunk = freeze(nn.Sequential(*net[: split[trained]]))
        self.top = nn.Sequential(*net[split[trained] :]).requires_grad_(True)
        side = -(-size // STRIDE)
        self.grid, self.length = (side, side), side * side
        self.width = lite0_net.HEAD_WIDTH if layer == "head" else lite0_net.STAGES[-1][3]

    def prepare(self, batch: Tensor) -> Tensor:
        """(B, size, size, 3) uint8 -> (B, C, H, W) float of the frozen layers; pixels if none."""
        with torch.no_grad():
            x: Tensor = self.trunk(to_channels(batch, lite0_net.MEAN, lite0_net.STD))
        return x

    def forward(self, prepared: Tensor, present: Tensor) -> Tokens:
        """(B, C, H, W) -> Tokens (B, H'·W', D), row by row from the top left."""
        x: Tensor = self.top(prepared)  # (B, D, H', W')
        return present_tokens(x.flatten(2).transpose(1, 2), present)
