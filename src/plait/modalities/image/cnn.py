"""`cnn`: the feature map of an ImageNet-pretrained network, one token for each place."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from plait.config.registry import register
from plait.modalities.base import Encoder
from plait.modalities.image import efficientnet_lite as lite
from plait.modalities.image.base import Fitted, Photo, PhotoEncoder, Views
from plait.nn.blocks import freeze, present_tokens
from plait.types import State, Tokens

Train = Literal["frozen", "last-blocks", "all"]
STRIDE = 32  # pixels a token, each way


@register("image", "cnn")
class Cnn(Photo):
    """EfficientNet-Lite's feature map (ImageNet weights): a token for each 32×32 pixels."""

    def __init__(
        self,
        *,
        network: Annotated[
            lite.Name, Field(description="EfficientNet-Lite 0, 1 or 2: larger, better, slower")
        ] = "lite0",
        train: Annotated[
            Train, Field(description="which layers learn: none, the last blocks, or all")
        ] = "frozen",
        blocks: Annotated[
            int, Field(ge=1, le=16, description="how many blocks are 'last-blocks'")
        ] = 5,
        layer: Annotated[
            Literal["block", "head"],
            Field(description="features of the last block or of the head (1280 wide)"),
        ] = "head",
        size: Annotated[
            int | None,
            Field(ge=32, le=1024, description="pixels a side; the network's own when null"),
        ] = None,
        fit: Fitted = "squash",
        views: Views = 1,
    ) -> None:
        super().__init__(size or lite.VARIANTS[network].size, fit, views)
        self.network: lite.Name = network
        self.trained, self.blocks, self.layer = train, blocks, layer

    def encoder(self, state: State, pretrained: bool) -> Encoder:
        """The network, with its ImageNet weights unless a package will bring others."""
        layers = lite.layers(self.network)
        if pretrained:
            lite.load_imagenet(layers, self.network)
        # Frozen statistics in all layers: batches are too small and too alike to learn them.
        net = lite.fold(layers)
        if self.layer == "block":
            del net[-1]
        learning = {"frozen": 0, "last-blocks": self.blocks + (self.layer == "head"),
                    "all": len(net)}[self.trained]  # fmt: skip
        return CnnEncoder(net, len(net) - learning, self)


class CnnEncoder(PhotoEncoder):
    """(B, size, size, 3) uint8 -> Tokens (B, (size/32)², width)."""

    pretrained = True
    mean, std = lite.MEAN, lite.STD

    def __init__(self, layers: nn.Sequential, frozen: int, cnn: Cnn) -> None:
        super().__init__()
        # One row of layers, wherever the frozen ones end: weights keep their names.
        self.layers, self.frozen = layers.requires_grad_(True), frozen
        freeze(self.trunk)
        side = -(-cnn.size // STRIDE)
        self.grid, self.length = (side, side), side * side
        last_block = lite.VARIANTS[cnn.network].stages()[-1][3]
        self.width = lite.HEAD_WIDTH if cnn.layer == "head" else last_block

    @property
    def trunk(self) -> nn.Module:  # type: ignore[override]  # a view, not a module of its own
        """The first layers, which stay as they are."""
        return self.layers[: self.frozen].eval()

    def forward(self, prepared: Tensor, lengths: Tensor) -> Tokens:
        """(B, C, H, W) -> Tokens (B, H'·W', D), row by row from the top left."""
        x: Tensor = self.layers[self.frozen :](prepared)  # (B, D, H', W')
        return present_tokens(x.flatten(2).transpose(1, 2), lengths > 0)
